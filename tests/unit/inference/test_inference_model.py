"""How a run's networks are loaded and slid over images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from random_runs import LABELS, REGIONS, configuration, random_run
from torch import nn

from autoseg.data.dataset import Case
from autoseg.data.files import write_image
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.inference import model as model_module
from autoseg.inference.predictor import Predictor
from autoseg.pipeline.prediction import predict
from autoseg.training.checkpoint import load_checkpoint

GEOMETRY = Geometry(spacing=(1.0, 1.0, 1.0))


def _half_empty(shape: tuple[int, int, int] = (8, 8, 32)) -> np.ndarray:
    """Tissue in the first half along x, air in the other; not 0, which would be cropped."""
    image = np.full((1, *shape), -1000, np.float32)
    half = shape[2] // 2
    image[..., :half] = np.random.default_rng(0).normal(100, 20, (*shape[:2], half))
    return image


@contextmanager
def _tiles_of(network: nn.Module) -> Iterator[list[int]]:
    """How many samples each forward pass of the network's first convolution has."""
    seen: list[int] = []
    first = next(part for part in network.modules() if isinstance(part, nn.Conv3d))
    handle = first.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    yield seen
    handle.remove()


@pytest.mark.parametrize("scheme", [LABELS, REGIONS])
def test_skipped_tiles_are_background_and_cost_nothing(tmp_path: Path, scheme: LabelScheme) -> None:
    run = random_run(tmp_path, {"3d": configuration(3)}, {"3d": ("0",)}, labels=scheme)
    image = _half_empty()
    labels, tiles = {}, {}
    for skip in (False, True):
        predictor = Predictor.load(run.root, device="cpu", skip_empty=skip)
        (network,) = predictor.models[0].networks
        with _tiles_of(network) as seen:
            labels[skip] = predictor.predict(image, spacing=GEOMETRY.spacing)
        tiles[skip] = sum(seen)
    assert tiles == {False: 7, True: 4}  # starts 0, 4, ..., 24; those from 16 on see air alone
    assert np.array_equal(labels[True][..., :16], labels[False][..., :16])  # no skipped tile reaches these
    assert not labels[True][..., 20:].any()  # and only skipped ones reach these
    assert labels[False][..., 20:].any(), "random weights call air something"


def test_skip_empty_reaches_the_first_stage_of_a_cascade(tmp_path: Path) -> None:
    two = {"low": configuration(3), "high": configuration(3, previous_stage="low")}
    run = random_run(tmp_path, two, {"low": ("0",), "high": ("0",)})
    (model,) = Predictor.load(run.root, configuration="high", device="cpu", skip_empty=True).models
    assert model.previous is not None
    assert model.sliding.skip_empty
    assert model.previous.sliding.skip_empty


def test_a_cpu_computes_as_many_copies_as_its_allocator_keeps(tmp_path: Path) -> None:
    patches = {"small": (8, 8, 8), "middle": (64, 64, 64), "large": (128, 128, 128)}
    run = random_run(
        tmp_path,
        {name: configuration(3, patch_size=patch) for name, patch in patches.items()},
        dict.fromkeys(patches, ("0",)),
    )
    found = {}
    for name in patches:
        (model,) = Predictor.load(run.root, configuration=name, device="cpu").models
        found[name] = model.sliding.batch
    joined = 2 * model.configuration.features_per_stage[0] * 4  # bytes a voxel where a skip connection joins
    assert found == {"small": 8, "middle": 2**25 // (joined * prod(patches["middle"])), "large": 2}


def test_each_network_is_read_once_for_any_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = random_run(tmp_path / "run", {"3d": configuration(3)}, {"3d": ("0", "1", "2")})
    read: list[str] = []

    def counted(path: Path) -> dict:
        read.append(path.parent.name)
        return load_checkpoint(path)

    monkeypatch.setattr(model_module, "load_checkpoint", counted)
    predictor = Predictor.load(run.root, device="cpu")
    rng = np.random.default_rng(0)
    cases = []
    for name in "abc":
        path = tmp_path / f"{name}.nii.gz"
        write_image(path, Image(rng.normal(0, 1, (1, 8, 8, 8)).astype(np.float32), GEOMETRY))
        cases.append(Case(id=name, images=(path,)))
    done = predictor.predict_files(cases, tmp_path / "out")
    assert sorted(done.files) == list("abc")
    assert read == ["fold_0", "fold_1", "fold_2"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_predicts_in_the_precision_it_was_trained_in(tmp_path: Path, precision: str) -> None:
    run = random_run(tmp_path, {"3d": configuration(3)}, {"3d": ("0",)})
    path = run.fold("3d", "0").final
    content = load_checkpoint(path)
    content["runtime"] = {**content["runtime"], "precision": precision}
    torch.save(content, path)
    assert Predictor.load(run.root, device="cpu").runtime.precision == precision


def test_an_image_of_one_value_is_all_background_if_empty_tiles_are_skipped(tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", {"3d": configuration(3)}, {"3d": ("0",)})
    file = tmp_path / "images" / "a_0000.nii.gz"
    file.parent.mkdir()
    write_image(file, Image(np.full((1, 8, 8, 8), 5, np.float32), GEOMETRY))
    out = tmp_path / "out"
    assert predict(run.root, [file.parent], out, device="cpu", skip_empty=True) == []
    labels = Predictor.load(run.root, device="cpu", skip_empty=True).predict(file)
    assert not labels.any(), "an image of one value has no tissue"
