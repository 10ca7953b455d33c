"""Learned registration from the command line: trained, interrupted, resumed, and used for new pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from autoseg.cli.main import run
from autoseg.data.files import read_image, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.tasks.registration.pipeline.learned import LearnedRegistration
from autoseg.tasks.registration.record import RegistrationRecord
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run

pytestmark = pytest.mark.usefixtures("fresh_logging")

SMALL = ("--device", "cpu", "--workers", "0", "--set", "training.options.features=[4,4]", "--set",
         "training.options.levels=2", "--set", "training.round_steps=3")  # fmt: skip


def blobs(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipse with a core, (Z, Y, X), and its labels; a plane has Z = 1."""
    rng = np.random.default_rng(seed)
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    place = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), axis=-1)[..., axes]
    away = (place - rng.normal(0, 1, len(axes))) / (np.array(shape)[axes] * rng.uniform(0.27, 0.35, len(axes)))
    distance = np.linalg.norm(away, axis=-1)
    labels = (distance < 1).astype(np.uint8) + (distance < 0.5)
    return (20 + 80 * labels + rng.normal(0, 3, shape)).astype(np.float32), labels


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six labelled volumes."""
    folder = tmp_path_factory.mktemp("volumes")
    for seed in range(6):
        array, labels = blobs(seed, (15, 16, 18))
        place = Geometry(origin=(4.0, -3.0, 2.0 * seed))
        write_image(folder / "images" / f"v{seed}.nii.gz", Image(array[None], place))
        write_labels(folder / "labels" / f"v{seed}.nii.gz", labels, place)
    return folder


@pytest.fixture(scope="module")
def trained(volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six steps of fold 0, without interruption."""
    folder = tmp_path_factory.mktemp("run") / "run"
    assert train(volumes, folder, "--steps", "6") == 0
    return Run(folder)


def train(data: Path, out: Path, *more: str) -> int:
    return run(
        ["plan-and-train", str(data), "--trainer", "registration", "--out", str(out), "--folds", "0", *SMALL, *more]
    )


def weights(folder: Run) -> dict[str, torch.Tensor]:
    content = load_checkpoint(folder.fold("3d_fullres", 0).final)
    assert content["trainer"] == "registration"
    found: dict[str, torch.Tensor] = content["network"]
    return found


def test_a_run_is_planned_validated_and_reported_like_any_other(trained: Run) -> None:
    plan = json.loads(trained.plan.read_text(encoding="utf-8"))
    assert (plan["planner"], plan["task"]) == ("registration", "registration")
    config = load_checkpoint(trained.fold("3d_fullres", 0).final)["config"]
    assert (config["optimizer"]["name"], config["schedule"]["name"]) == ("adamw", "cosine")
    summary = json.loads(trained.fold("3d_fullres", 0).validation_summary.read_text(encoding="utf-8"))
    pairs = json.loads(trained.fold("3d_fullres", 0).pairs.read_text(encoding="utf-8"))
    assert set(summary["cases"]) == set(pairs["moving"])
    assert all(moving in summary["cases"] for moving in pairs["moving"].values())
    assert {"dice", "hd95", "dice_before", "hd95_before"} <= summary["mean"]["1"].keys()
    assert {"folded_percent", "log_jacobian_std", "seconds"} <= summary["mean"]["deformation"].keys()
    best = json.loads(trained.summary.read_text(encoding="utf-8"))["best"]
    assert best["predict"] == f"autoseg register FIXED MOVING --model {trained.root} --out DIR"
    assert "postprocessing" not in best
    assert not trained.postprocessing.exists()
    page = trained.report.read_text(encoding="utf-8")
    assert "Registered pairs" in page
    assert "Trust in new cases" not in page


def test_an_interrupted_training_ends_with_the_same_weights(volumes: Path, trained: Run, tmp_path: Path) -> None:
    again = Run(tmp_path / "again")
    for part in ("fingerprint", "plan", "preprocess"):
        more = ["--out", str(again.root), "--trainer", "registration"] if part == "fingerprint" else []
        more += ["--planner", "registration"] if part == "plan" else []
        assert run([part, str(volumes if part == "fingerprint" else again.root), *more]) == 0
    fold = ["train", str(again.root), "--configuration", "3d_fullres", "--fold", "0", *SMALL, "--steps", "6"]
    # the trainer is the plan's; stopped within a round, and gone on in this process with a worker
    assert run([*fold, "--set", "training.stop_after=2"]) == 0
    assert not again.fold("3d_fullres", 0).final.exists()
    assert run([*fold, "--resume", "--workers", "1"]) == 0
    expected = weights(trained)
    assert all(torch.equal(one, expected[name]) for name, one in weights(again).items())


def test_a_new_pair_on_other_grids_is_registered(volumes: Path, trained: Run, tmp_path: Path) -> None:
    array, labels = blobs(11, (20, 12, 22))
    place = Geometry(spacing=(0.75, 1.5, 0.8), origin=(6.0, -5.0, 3.0))
    moving, moving_labels = tmp_path / "m.nii.gz", tmp_path / "ml.nii.gz"
    write_image(moving, Image(array[None], place))
    write_labels(moving_labels, labels, place)
    fixed, out = volumes / "images" / "v1.nii.gz", tmp_path / "out"
    given = ["--fixed-labels", str(volumes / "labels" / "v1.nii.gz"), "--moving-labels", str(moving_labels)]
    used = ["--model", str(trained.root), "--instance-optimisation", "2", "--device", "cpu"]
    assert run(["register", str(fixed), str(moving), "--out", str(out), *given, *used]) == 0
    record = RegistrationRecord.load(out / "metrics.json")
    assert (record.method, [stage.name for stage in record.stages]) == ("learned", ["network", "instance"])
    assert record.options["fold"] == "0"
    assert record.quality.dice[1] > record.quality.dice[0]

    still, mover = sitk.ReadImage(str(fixed)), sitk.ReadImage(str(moving))
    warped = sitk.Resample(mover, still, sitk.ReadTransform(str(out / "transform.h5")), sitk.sitkLinear, record.outside)
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "warped.nii.gz")))
    assert np.abs(sitk.GetArrayFromImage(warped) - ours).mean() < 0.05
    field = sitk.ReadImage(str(out / "displacement.nii.gz"), sitk.sitkVectorFloat64)
    by_field = sitk.Resample(mover, still, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, record.outside)
    assert np.abs(sitk.GetArrayFromImage(by_field) - ours).mean() < 0.05


def test_a_model_loaded_once_registers_many_pairs(volumes: Path, trained: Run) -> None:
    model = LearnedRegistration.load(trained.root, device="cpu")
    images = [read_image(volumes / "images" / f"v{seed}.nii.gz") for seed in range(3)]
    found = [model.register(images[0], moving).transform for moving in images[1:]]
    points = torch.tensor([[10.0, 5.0, 8.0]], dtype=torch.float64)
    assert not torch.equal(found[0](points), found[1](points))
    assert torch.equal(found[1](points), model.register(images[0], images[2]).transform(points))


def test_linear_stages_run_before_the_network(volumes: Path, trained: Run, tmp_path: Path) -> None:
    sides = [str(volumes / "images" / f"v{seed}.nii.gz") for seed in (0, 1)]
    used = ["--out", str(tmp_path), "--model", str(trained.root), "--device", "cpu", "--stages"]
    assert run(["register", *sides, *used, "center,translation", "--iterations", "5"]) == 0
    stages = RegistrationRecord.load(tmp_path / "metrics.json").stages
    assert [stage.name for stage in stages] == ["center", "translation", "network", "instance"]
    assert run(["register", *sides, *used, "affine,deformable"]) == 2


def test_planes_without_labels_and_a_weight_that_is_chosen_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(5):
        write_image(
            tmp_path / "data" / "images" / f"p{seed}.nii.gz", Image(blobs(seed, (1, 30, 34))[0][None], Geometry.plane())
        )
    assert (
        train(tmp_path / "data", tmp_path / "run", "--steps", "3", "--set", "training.options.hyper_range=[0.1,10]")
        == 0
    )
    folder = Run(tmp_path / "run")
    fold = folder.fold("2d", 0)
    assert json.loads(fold.metrics.read_text(encoding="utf-8").splitlines()[-1])["validation_dice"].keys() == {
        "agreement"
    }
    assert json.loads(folder.summary.read_text(encoding="utf-8"))["best"]["foreground_mean_dice"] is None
    assert "Registered pairs" in folder.report.read_text(encoding="utf-8")
    chosen = json.loads(fold.regularization.read_text(encoding="utf-8"))
    assert str(chosen["weight"]) in {str(float(weight)) for weight in chosen["tried"]}
    sides = [str(tmp_path / "data" / "images" / f"p{seed}.nii.gz") for seed in (0, 1)]
    used = ["--model", str(folder.root), "--device", "cpu", "--regularization"]
    assert run(["register", *sides, "--out", str(tmp_path / "out"), *used, "2.5"]) == 0
    assert RegistrationRecord.load(tmp_path / "out" / "metrics.json").options["regularization"] == 2.5
    capsys.readouterr()
    assert run(["register", *sides, "--out", str(tmp_path / "out"), *used, "99"]) == 2
    assert "trained for other weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("predict RUN DATA/images --out OUT", "is not applied to single images"),
        ("export RUN --format zip --out OUT/x.zip", "autoseg register FIXED MOVING --model"),
        ("train RUN --configuration 3d_fullres --fold 1 --trainer segmentation", "autoseg plan RUN --planner default"),
        ("register DATA/images/v0.nii.gz DATA/images/v1.nii.gz --out OUT --regularization 1", "need --model"),
        (
            "register DATA/images/v0.nii.gz DATA/images/v1.nii.gz --out OUT --model RUN --regularization 1",
            "one regularisation",
        ),
        (
            "plan-and-train DATA --out OUT --trainer registration --set training.options.level=2 --steps 1",
            "did you mean 'levels'",
        ),
    ],
)
def test_what_does_not_fit_is_said(
    arguments: str, message: str, volumes: Path, trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUN": str(trained.root), "DATA": str(volumes), "OUT": str(tmp_path / "out")}
    words = [word.split("/") for word in arguments.split()]
    assert run(["/".join(places.get(part, part) for part in word) for word in words]) == 2
    assert message in capsys.readouterr().err


def test_a_model_of_all_data_is_taken_first(volumes: Path, tmp_path: Path) -> None:
    assert train(volumes, tmp_path / "run", "--steps", "2", "--folds", "all-data") == 0
    assert LearnedRegistration.load(tmp_path / "run", device="cpu").fold == "all"


def test_only_trained_runs_of_registration_register(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="has no trained fold 3"):
        LearnedRegistration.load(trained.root, fold="3", device="cpu")
    plan = json.loads(trained.plan.read_text(encoding="utf-8"))
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "task": "segmentation"}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="does not register images"):
        LearnedRegistration.load(tmp_path)
