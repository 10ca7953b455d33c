"""Pretraining from the command line: every method, what is held out, resuming, and what comes of it downstream."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from pretraining_data import QUICK, planned, write_data

from autoseg import plugins
from autoseg.cli.main import run
from autoseg.run_state import read_metrics
from autoseg.tasks.pretraining.report.section import MEASURES
from autoseg.tasks.pretraining.trainer.adaptation import Adaptation
from autoseg.tasks.pretraining.trainer.sources import Sources, sources_file
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run

pytestmark = pytest.mark.usefixtures("fresh_logging")

NAME = "3d_fullres"
# heads as narrow as the network
NARROW = {
    "dino": ("prototypes=16", "hidden=8", "bottleneck=4", "local_views=1"),
    "jepa": ("width=8", "layers=1"),
    "masked-autoencoder": ("decoder=network",),
    "restoration": ("decoder_width=4",),
    "rotation": ("hidden=8",),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def target(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned(data, tmp_path_factory.mktemp("target") / "run")


@pytest.fixture(scope="module")
def held_out(data: Path, target: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps of BYOL without the validation images of the fold of v3."""
    out = tmp_path_factory.mktemp("held_out") / "run"
    fold = fold_of(target, "v3")
    assert pretrain(data, out, "byol", "--for", str(target), "--hold-out", f"{Run(target).splits}:{fold}") == 0
    return out


def fold_of(target: Path, case: str) -> int:
    splits = json.loads(Run(target).splits.read_text(encoding="utf-8"))
    return next(number for number, split in enumerate(splits) if case in split["val"])


def pretrain(data: Path, out: Path, method: str, *more: str, steps: int = 6) -> int:
    narrow = NARROW.get(method, ("hidden=8", "outputs=4"))
    options = [word for text in narrow for word in ("--set", f"training.options.parameters.{text}")]
    words = ["pretrain", str(data), "--out", str(out), "--method", method, "--steps", str(steps)]
    return run([*words, *QUICK, *options, *more])


def encoder(folder: Path, name: str = NAME) -> dict[str, torch.Tensor]:
    weights = load_checkpoint(Run(folder).fold(name, "all").final)["network"]
    return {key: tensor for key, tensor in weights.items() if key.startswith("encoder.")}


@pytest.mark.parametrize("method", plugins.names("pretraining"))
def test_each_method_gives_an_encoder_that_says_how_to_adapt_it(
    method: str, data: Path, target: Path, tmp_path: Path
) -> None:
    assert pretrain(data, tmp_path / "run", method, "--for", str(target), steps=2) == 0
    fold = Run(tmp_path / "run").fold(NAME, "all")
    content = load_checkpoint(fold.final)
    assert content["trainer"] == "pretraining"
    adaptation = Adaptation.from_mapping(content["adaptation"])
    assert adaptation.method == method
    assert set(adaptation.encoder) == set(encoder(tmp_path / "run"))
    assert content["network"][adaptation.stem].shape[1] == len(adaptation.channels) == 1
    assert set(adaptation.images) == set(Sources.load(sources_file(Run(tmp_path / "run"))).digests.values())
    page = Run(tmp_path / "run").report.read_text(encoding="utf-8")
    assert page.count("data:image/png") == (3 if method in ("masked-autoencoder", "restoration") else 2)
    assert f"by the method <b>{method}</b>" in page
    row = read_metrics(fold.metrics)[-1]
    assert row["measures"]["deviation"] > 0
    for measure, title in MEASURES.items():
        assert (f"{title.lower()} at last" in page) == (row["measures"].get(measure) is not None), measure
    assert (row["measures"].get("information") is not None) == (method == "dino")
    assert 0 <= row["waiting_for_data"] <= 1


@pytest.mark.parametrize("method", ["dino", "masked-autoencoder", "rotation"])
def test_planes_are_pretrained_by_their_own_plan(method: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "planes", (1, 32, 40))
    shutil.rmtree(data / "labels")
    more = ["--planner", "default", "--set", "training.options.batch_size=3"]
    assert pretrain(data, tmp_path / "run", method, *more, steps=2) == 0
    assert Run(tmp_path / "run").fold("2d", "all").final.exists()


def test_a_fold_is_held_out_with_every_copy(data: Path, target: Path, held_out: Path) -> None:
    fold = json.loads(Run(target).splits.read_text(encoding="utf-8"))[fold_of(target, "v3")]
    (source,) = Sources.load(sources_file(Run(held_out))).sources
    assert set(source.held_out) == set(fold["val"])
    assert source.copies == ("copy",)
    assert set(source.cases) == {*fold["train"], "t6", "t7"}
    store = Run(held_out).preprocessed(NAME)
    assert {path.name.removesuffix(".case.json") for path in store.glob("*.case.json")} == set(source.cases)


@pytest.mark.parametrize("kind", ["data set", "images alone", "list"])
def test_copies_in_another_source_are_held_out_too(data: Path, target: Path, tmp_path: Path, kind: str) -> None:
    fold = fold_of(target, "v3")
    victim = json.loads(Run(target).splits.read_text(encoding="utf-8"))[fold]["val"][0]
    other = tmp_path / "other"
    images = other / "images" if kind == "data set" else other
    images.mkdir(parents=True)
    shutil.copy(data / "images" / f"{victim}.nii.gz", images / "anonymous.nii.gz")
    shutil.copy(data / "imagesTs" / "t6.nii.gz", images / "fine.nii.gz")
    if kind == "list":
        other = tmp_path / "scans.txt"
        other.write_text("other/fine.nii.gz\nother/anonymous.nii.gz\n", encoding="utf-8")
    words = ["pretrain", f"{data}=3", f"{other}=2", "--out", str(tmp_path / "run"), "--method", "rotation"]
    more = ["--steps", "1", "--for", str(target), "--hold-out", f"{Run(target).splits}:{fold}"]
    assert run([*words, *QUICK, *more]) == 0
    first, second = Sources.load(sources_file(Run(tmp_path / "run"))).sources
    assert (first.weight, second.weight) == (3, 2)
    assert second.copies == ("anonymous",)
    assert second.cases == (f"{other.name}.fine",)
    assert run([*words, *QUICK, *more, "--resume"]) == 0


def test_a_run_that_was_stopped_ends_with_the_same_weights(
    data: Path, target: Path, held_out: Path, tmp_path: Path
) -> None:
    """The teacher's weights, the optimiser and the views all go on."""
    more = ["--for", str(target), "--hold-out", f"{Run(target).splits}:{fold_of(target, 'v3')}"]
    out = tmp_path / "again"
    assert pretrain(data, out, "byol", *more, "--set", "training.stop_after=3") == 0
    assert not Run(out).fold(NAME, "all").final.exists()
    assert load_checkpoint(Run(out).fold(NAME, "all").last)["step"] == 3
    assert pretrain(data, out, "byol", *more, "--resume") == 0
    expected = load_checkpoint(Run(held_out).fold(NAME, "all").last)
    found = load_checkpoint(Run(out).fold(NAME, "all").last)
    for part, own in (("network", found["network"]), ("teacher", found["follower"]["teacher"])):
        wanted = expected["network"] if part == "network" else expected["follower"]["teacher"]
        assert own.keys() == wanted.keys()
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in own.items())


def test_a_segmentation_starts_from_the_encoder_and_takes_the_plan(
    data: Path, target: Path, held_out: Path, tmp_path: Path
) -> None:
    out, fold = tmp_path / "run", fold_of(target, "v3")
    words = ["plan-and-train", str(data), "--out", str(out), "--folds", str(fold), "--pretrained", str(held_out)]
    # a rate of nearly nothing leaves the weights as they were loaded
    slow = ["--set", "training.optimizer.learning_rate=1e-30", "--set", "training.optimizer.weight_decay=0"]
    assert run([*words, "--steps", "1", *QUICK, *slow]) == 0
    content = load_checkpoint(Run(out).fold(NAME, fold).final)
    assert content["trainer"] == "segmentation"
    assert all(torch.equal(content["network"][name], tensor) for name, tensor in encoder(held_out).items())
    ours, theirs = (json.loads(Run(folder).plan.read_text(encoding="utf-8")) for folder in (out, held_out))
    assert (ours["task"], theirs["task"]) == ("segmentation", "pretraining")
    assert ours["configurations"] == theirs["configurations"]


def test_a_fold_that_the_pretraining_saw_is_refused(
    data: Path, target: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = next(number for number in range(5) if number != fold_of(target, "v3"))
    words = ["plan-and-train", str(data), "--out", str(tmp_path / "run"), "--pretrained", str(held_out)]
    assert run([*words, "--folds", str(other), "--steps", "1", *QUICK]) == 2
    said = capsys.readouterr().err
    assert "has seen images that are to be validated on" in said
    assert "--hold-out" in said


def test_a_checkpoint_alone_says_what_its_pretraining_saw(
    data: Path, target: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(shutil.copy(Run(held_out).fold(NAME, "all").final, tmp_path / "sent.pt"))
    unseen = fold_of(target, "v3")
    words = [str(data), "--out", str(tmp_path / "run"), "--pretrained", str(file), "--steps", "1", *QUICK]
    assert run(["plan-and-train", *words, "--folds", str((unseen + 1) % 5)]) == 2
    assert "has seen images that are to be validated on" in capsys.readouterr().err
    run(["plan-and-train", *words, "--folds", str(unseen), "--resume"])
    assert "has seen images" not in capsys.readouterr().err


def test_images_with_other_channels_are_planned_by_themselves_and_the_stem_is_adapted(
    data: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two"
    for part, role in (("images", "imagesTr"), ("labels", "labelsTr")):
        (two / role).mkdir(parents=True)
        for seed in range(5):
            file = data / part / f"v{seed}.nii.gz"
            for channel in (0, 1) if part == "images" else (None,):
                ending = "" if channel is None else f"_{channel:04d}"
                shutil.copy(file, two / role / f"v{seed}{ending}.nii.gz")
    description = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "shell": 1, "core": 2},
                   "file_ending": ".nii.gz", "numTraining": 5}  # fmt: skip
    (two / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    words = ["plan-and-train", str(two), "--out", str(tmp_path / "run"), "--pretrained", str(held_out)]
    assert run([*words, "--folds", "all-data", "--steps", "1", *QUICK, "--planner", "default"]) == 2
    assert "not one pretrained weight fits" in capsys.readouterr().err  # the planned network is wider
    plan = Run(tmp_path / "run").plan
    content = json.loads(plan.read_text(encoding="utf-8"))
    assert list(content["configurations"]) == [NAME]
    theirs = json.loads(Run(held_out).plan.read_text(encoding="utf-8"))["configurations"][NAME]
    content["configurations"][NAME]["features_per_stage"] = theirs["features_per_stage"]
    plan.write_text(json.dumps(content), encoding="utf-8")
    assert run([*words, "--folds", "all-data", "--steps", "1", *QUICK, "--resume"]) == 0
    assert "1 image channel made 2" in capsys.readouterr().err


def test_a_probe_reads_out_the_frozen_encoder(data: Path, target: Path, held_out: Path, tmp_path: Path) -> None:
    out, fold = tmp_path / "probe", fold_of(target, "v3")
    words = ["probe", str(data), "--pretrained", str(held_out), "--out", str(out), "--fold", str(fold)]
    assert run([*words, "--steps", "30", *QUICK, "--set", "training.round_steps=30"]) == 0
    weights = load_checkpoint(Run(out).fold(NAME, fold).final)["network"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in encoder(held_out).items())
    assert {name.partition(".")[0] for name in weights} == {"encoder", "readouts"}
    summary = json.loads(Run(out).fold(NAME, fold).validation_summary.read_text(encoding="utf-8"))
    assert summary["mean"]["1"]["dice"] > 0.3  # bright on dark: even a few features read out linearly tell
    assert Run(out).report.exists()


def test_a_sawtooth_leaves_the_encoder_alone_at_first_and_resumes(
    data: Path, target: Path, held_out: Path, tmp_path: Path
) -> None:
    fold = str(fold_of(target, "v3"))
    words = ["plan-and-train", str(data), "--folds", fold, "--pretrained", str(held_out), *QUICK, "--steps", "4"]
    words += ["--set", "training.fine_tuning=sawtooth", "--set", "training.fine_tuning.decoder_first=0.5"]
    first, again = tmp_path / "first", tmp_path / "again"
    assert run([*words, "--out", str(first)]) == 0
    assert run([*words, "--out", str(again), "--set", "training.stop_after=2"]) == 0
    stopped = load_checkpoint(Run(again).fold(NAME, fold).last)
    assert all(torch.equal(stopped["network"][name], tensor) for name, tensor in encoder(held_out).items())
    assert run([*words, "--out", str(again), "--resume"]) == 0
    one, other = (load_checkpoint(Run(folder).fold(NAME, fold).final)["network"] for folder in (first, again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert not any(torch.equal(one[name], tensor) for name, tensor in encoder(held_out).items() if tensor.ndim > 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("pretrain DATA --out OUT --method mae", "unknown pretraining 'mae'"),
        ("pretrain DATA --out OUT --hold-out SPLITS", "names no fold to hold out"),
        ("pretrain DATA --out OUT --hold-out SPLITS:9", "there is no fold 9"),
        ("pretrain DATA --out OUT --hold-out OTHERS:0", "names cases that the data set lacks"),
        ("pretrain DATA=0 --out OUT", "is no weight"),
        ("pretrain DATA DATA --out OUT", "a folder is given twice"),
        ("pretrain DATA --out OUT --steps 1 --planner default --set training.options.parameters.chare=0.7",
         "did you mean 'share'"),
        ("train PRETRAINED --configuration 3d_fullres --fold all-data --trainer segmentation", "does not fit the plan"),
        ("probe DATA --pretrained TARGET --out OUT", "is no run of a pretraining"),
        ("pretrain DATA --out PRETRAINED", "the run folder is in use"),
        ("pretrain DATA --out PRETRAINED --method byol --resume", "begun with other images"),
        ("train TARGET --configuration 3d_fullres --fold 0 --trainer pretraining", "autoseg pretrain DATASET..."),
        ("predict PRETRAINED DATA/images --out OUT", "is not applied to single images"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(
    arguments: str,
    message: str,
    data: Path,
    target: Path,
    held_out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "others.json").write_text(json.dumps([{"train": ["x"], "val": ["y"]}]), encoding="utf-8")
    places = {"DATA": data, "OUT": tmp_path / "out", "PRETRAINED": held_out, "SPLITS": Run(target).splits,
              "TARGET": target}  # fmt: skip
    for name, place in {**places, "OTHERS": tmp_path / "others.json"}.items():
        arguments = arguments.replace(name, str(place))
    assert run(arguments.split()) == 2
    assert message in capsys.readouterr().err
