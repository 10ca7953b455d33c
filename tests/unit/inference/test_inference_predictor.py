"""A run's networks from images to files, against the same arithmetic on whole volumes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from random_runs import LABELS, REGIONS, configuration, random_run
from skimage.transform import resize

from autoseg.data.dataset import Case
from autoseg.data.files import read_image, read_labels, write_image
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.inference.model import Model
from autoseg.inference.predictor import NextStage, Predictor
from autoseg.inference.probabilities import SavedProbabilities
from autoseg.inference.rows import in_memory
from autoseg.networks.build import build_network
from autoseg.plan.record import Plan
from autoseg.preprocessing.prepare import preprocess_case
from autoseg.preprocessing.previous_stage import PreviousStage, previous_stage_channels
from autoseg.preprocessing.store import Store, StoreInfo, claim, write_case
from autoseg.training.checkpoint import load_checkpoint, save_checkpoint
from autoseg.workspace import Run

SPACING = (1.0, 1.0, 1.0)


def _image(shape: tuple[int, ...] = (8, 8, 8), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, shape).astype(np.float32)


def _logits(
    run: Run, name: str, folds: tuple[str, ...], data: torch.Tensor, axes: tuple[int, ...] = ()
) -> torch.Tensor:
    """Mean over networks and flips on one tile, in the plainest way."""
    plan = Plan.load(run.plan)
    total, count = torch.zeros(plan.labels.outputs, *data.shape[1:]), 0
    for fold in folds:
        state = load_checkpoint(run.fold(name, fold).final)["network"]
        network = build_network(plan.configurations[name], len(data), plan.labels.outputs)
        network.load_state_dict(state)
        for flips in itertools.chain(*(itertools.combinations(axes, n) for n in range(len(axes) + 1))):
            dims = [axis + 2 for axis in flips]
            with torch.no_grad():
                total += network.eval()(data[None].flip(dims)).flip(dims)[0]
            count += 1
    return total / count


def _prepared(run: Run, name: str, image: np.ndarray) -> torch.Tensor:
    plan = Plan.load(run.plan)
    whole = Image(image[None], Geometry(spacing=SPACING))
    return torch.from_numpy(preprocess_case(whole, None, plan, plan.configurations[name]).data)


@pytest.mark.parametrize("axes", [(), (0, 2)])
def test_one_configuration_is_the_mean_of_logits_over_folds_and_flips(tmp_path: Path, axes: tuple[int, ...]) -> None:
    run = random_run(tmp_path, {"3d": configuration(3, mirror_axes=axes)}, {"3d": ("0", "1", "all")})
    image = _image()
    expected = _logits(run, "3d", ("0", "1"), _prepared(run, "3d", image), axes).argmax(0).numpy()
    assert np.array_equal(Predictor.load(run.root, device="cpu").predict(image, spacing=SPACING), expected)


@pytest.mark.parametrize("scheme", [LABELS, REGIONS])
def test_an_ensemble_is_the_mean_of_probabilities_on_the_original_voxels(tmp_path: Path, scheme: LabelScheme) -> None:
    two = {"fine": configuration(3), "coarse": configuration(3, spacing=(1.4, 1.4, 1.4))}
    run = random_run(tmp_path, two, {"fine": ("0", "1"), "coarse": ("0",)}, labels=scheme)
    image = _image((11, 11, 11))
    parts = []
    for model in Predictor.load(run.root, configuration="fine+coarse", device="cpu").models:
        prepared = model.prepare(Image(image[None], Geometry(spacing=SPACING)))
        assert prepared.data.shape == (1, *((11, 11, 11) if model.name == "fine" else (8, 8, 8)))
        logits = in_memory(model.logits(prepared)).logits.double().numpy()
        large = np.stack([resize(one, (11, 11, 11), 1, mode="edge", anti_aliasing=False) for one in logits])
        parts.append(1 / (1 + np.exp(-large)) if scheme.regions else np.exp(large) / np.exp(large).sum(0))
    mean = (parts[0] + parts[1]) / 2
    if scheme.regions:  # painted 2 for the whole, then 1 for the core
        expected = np.where(mean[1] > 0.5, 1, np.where(mean[0] > 0.5, 2, 0))
        clear = (np.abs(mean - 0.5) > 1e-5).all(0)
    else:
        expected, best = mean.argmax(0), np.sort(mean, axis=0)
        clear = best[-1] - best[-2] > 1e-5
    predictor = Predictor.load(run.root, configuration="coarse+fine", device="cpu")
    assert predictor.configuration_name == "coarse+fine"
    found = predictor.predict(image, spacing=SPACING)
    assert np.array_equal(found[clear], expected[clear])
    assert clear.mean() > 0.99


def test_flips_are_those_that_every_network_was_trained_with(tmp_path: Path) -> None:
    run = random_run(tmp_path, {"3d": configuration(3, mirror_axes=(0, 1, 2))}, {"3d": ("0", "1", "2")})
    for fold, letters in (("0", "zy"), ("1", "yx")):
        state = load_checkpoint(run.fold("3d", fold).final)
        del state["format"]
        save_checkpoint(run.fold("3d", fold).final, {**state, "config": {"mirror_axes": letters, "steps": 5}})
    assert Model.load(run, "3d", ("2",)).sliding.mirror_axes == (0, 1, 2)  # a checkpoint without it: as planned
    assert Model.load(run, "3d", ("0", "2")).sliding.mirror_axes == (0, 1)
    assert Model.load(run, "3d").sliding.mirror_axes == (1,)
    assert Model.load(run, "3d", mirroring=False).sliding.mirror_axes == ()


def test_folds_without_a_name_are_the_numbered_ones_else_the_model_of_all_data(tmp_path: Path) -> None:
    two = {"3d": configuration(3), "2d": configuration(2)}
    run = random_run(tmp_path, two, {"3d": ("0", "2", "all"), "2d": ("all",)})
    assert Model.load(run, "3d").folds == ("0", "2")
    assert Model.load(run, "3d", ("all",)).folds == ("all",)
    assert Model.load(run, "2d").folds == ("all",)
    with pytest.raises(WorkspaceError, match="no trained fold 1"):
        Model.load(run, "3d", ("0", "1"))


def test_the_summary_decides_and_names_can_be_given(tmp_path: Path) -> None:
    two = {"3d": configuration(3), "2d": configuration(2)}
    run = random_run(tmp_path, two, {"3d": ("0",), "2d": ("0",)}, best=("2d", "3d"))
    assert Predictor.load(run.root).configurations == ("2d", "3d")
    assert Predictor.load(run.root, configuration="3d").configurations == ("3d",)
    with pytest.raises(ConfigurationError, match="did you mean '3d'"):
        Predictor.load(run.root, configuration="2d+3dd")
    with pytest.raises(ConfigurationError, match="different configurations"):
        Predictor.load(run.root, configuration="3d+3d")
    run.summary.unlink()
    with pytest.raises(WorkspaceError, match="autoseg choose"):
        Predictor.load(run.root)


def _cascade(root: Path) -> Run:
    two = {
        "low": configuration(3, spacing=(1.5, 1.5, 1.5), next_stage="high"),
        "high": configuration(3, previous_stage="low"),
    }
    return random_run(root, two, {"low": ("0", "1"), "high": ("0", "1")})


def test_a_cascade_sees_the_labels_that_its_first_stage_predicts(tmp_path: Path) -> None:
    run, image = _cascade(tmp_path), _image((8, 8, 8))
    low = Model.load(run, "low")
    coarse = in_memory(low.logits(low.prepare(Image(image[None], Geometry(spacing=SPACING))))).logits.double().numpy()
    large = np.stack([resize(one, (8, 8, 8), 1, mode="edge", anti_aliasing=False) for one in coarse])
    channels = torch.from_numpy(previous_stage_channels(large.argmax(0), LABELS))
    data = torch.cat([_prepared(run, "high", image), channels])
    expected = _logits(run, "high", ("0", "1"), data).argmax(0).numpy()
    predictor = Predictor.load(run.root, configuration="high", device="cpu")
    assert predictor.models[0].previous is not None
    assert predictor.models[0].previous.folds == ("0", "1")
    assert np.array_equal(predictor.predict(image, spacing=SPACING), expected)


def test_a_second_stage_of_all_data_takes_all_folds_of_the_first(tmp_path: Path) -> None:
    run = _cascade(tmp_path)
    run.fold("high", "0").root.rename(run.fold("high", "all").root)
    previous = Model.load(run, "high", ("all",)).previous
    assert previous is not None
    assert previous.folds == ("0", "1")


def _store(run: Run, name: str, image: np.ndarray) -> Store:
    plan, folder = Plan.load(run.plan), run.preprocessed(name)
    claim(folder, StoreInfo(digest=""))
    whole = Image(image[None], Geometry(spacing=SPACING))
    case = preprocess_case(whole, np.zeros(image.shape, np.int16), plan, plan.configurations[name])
    write_case(folder, "a", case, {}, patch_size=(8, 8, 8), source="")
    return Store(folder)


def test_the_validation_of_both_stages_of_a_cascade(tmp_path: Path) -> None:
    run, image = _cascade(tmp_path / "run"), _image((11, 10, 9))
    low, high = (_store(run, name, image) for name in ("low", "high"))
    case, fold = Case(id="a", images=()), run.fold("low", "0")
    first = Predictor.load(run.root, configuration="low", folds=("0",), device="cpu")
    following = NextStage(high, fold.next_stage, (8, 8, 8))
    files = first.predict_stored(low, [case], fold.validation, keep_probabilities=True, next_stage=following)
    assert files == {"a": fold.validation / "a.nii.gz"}
    written = read_labels(files["a"]).array[0]
    assert np.array_equal(written, first.predict(image, spacing=SPACING))

    saved = SavedProbabilities.open(fold.probabilities / "a.b2nd").rows(slice(None)).astype(float) / 255
    assert (saved.argmax(0) == written).mean() > 0.99
    expected = json.loads(fold.expected_dice.read_text(encoding="utf-8"))["a"]
    for value, name in ((1, "liver"), (2, "tumour")):
        inside = written == value
        dice = 2 * saved[value][inside].sum() / (inside.sum() + saved[value].sum())
        assert expected[name] == pytest.approx(dice, abs=5e-3)

    labels = PreviousStage({"a": fold.next_stage / "a.b2nd"}, LABELS)
    assert labels.shape("a") == high.shape("a")[1:]
    assert np.array_equal(labels.read("a"), written)  # both lie on the original voxels here
    second = Predictor.load(run.root, configuration="high", folds=("0",), device="cpu", previous=False)
    assert second.models[0].previous is None
    target = run.fold("high", "0")
    files = second.predict_stored(high, [case], target.validation, previous=labels.read)
    both = Predictor.load(run.root, configuration="high", folds=("0",), device="cpu")
    assert np.array_equal(read_labels(files["a"]).array[0], both.predict(image, spacing=SPACING))
    assert not target.probabilities.exists()


def test_maps_and_estimates_come_with_the_files(tmp_path: Path) -> None:
    two = {"fine": configuration(3), "coarse": configuration(3, spacing=(1.4, 1.4, 1.4))}
    run = random_run(tmp_path / "run", two, {"fine": ("0", "1"), "coarse": ("0",)}, best=("fine", "coarse"))
    geometry = Geometry(spacing=SPACING, origin=(1.0, 2.0, 3.0))
    write_image(tmp_path / "a.nii.gz", Image(_image((11, 10, 9))[None], geometry))
    cases = [Case(id=name, images=(tmp_path / f"{name}.nii.gz",)) for name in ("missing", "a")]
    done = Predictor.load(run.root, device="cpu").predict_files(cases, tmp_path / "out", uncertainty=True)
    assert list(done.files) == list(done.estimates) == ["a"]
    assert len(done.failures) == 1
    assert "missing" in done.failures[0]
    values = done.estimates["a"].labels["liver"]
    assert values.expected_dice is None or 0 < values.expected_dice < 1
    assert (values.estimate, values.flagged) == (None, None)  # the run knows nothing of its reliability
    found = read_image(tmp_path / "out" / "a_uncertainty.nii.gz")
    assert found.geometry == geometry
    assert found.array.dtype == np.float32
    assert found.array.min() >= 0
    assert 0 < found.array.max() <= np.log(3)


def test_an_ensemble_prepares_an_image_once_for_equal_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = {"one": configuration(3), "two": configuration(3), "other": configuration(3, spacing=(1.4, 1.4, 1.4))}
    run = random_run(tmp_path, three, dict.fromkeys(three, ("0",)))
    calls = []

    def counted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return preprocess_case(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("autoseg.inference.model.preprocess_case", counted)
    Predictor.load(run.root, configuration="one+two+other").predict(_image(), spacing=SPACING)
    assert len(calls) == 2
