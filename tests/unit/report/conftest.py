"""A small run folder with scores that were written by hand, so that the page can be checked against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.evaluation.scores import summarise
from autoseg.evaluation.uncertainty import summarise_uncertainty, uncertainty_cases
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
from autoseg.plan.record import ConfigurationPlan, Plan, TransformPlan
from autoseg.report.build import write_report
from autoseg.workspace import Run

SHAPE = (10, 16, 20)
SPACING = (3.0, 1.0, 1.0)
LABELS = LabelScheme(names={"background": 0, "organ": 1, "lesion": 2})
STATISTICS = IntensityStatistics(
    mean=100.0, median=99.0, std=10.0, min=60.0, max=150.0, percentile_00_5=70.0, percentile_99_5=140.0
)
DICE = {"case_a": (0.95, 0.85), "case_b": (0.75, 0.65), "case_c": (0.5, None), "case_d": (0.9, 0.0)}
"""Case -> Dice of organ and lesion. Foreground means: 0.9, 0.7, 0.5, 0.45."""
FOREGROUND_DICE = 0.6375
"""Mean of the organ's mean 0.775 and the lesion's mean 0.5."""


@pytest.fixture
def finished_run(tmp_path: Path) -> Run:
    """A run with everything, for tests that change it."""
    return make_run(tmp_path)


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with everything and its report, for tests that only read."""
    run = make_run(tmp_path_factory.mktemp("reported"))
    write_report(run)
    return run


@pytest.fixture(scope="session")
def crossvalidated_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three folds of two configurations and their ensemble, which was chosen, with expected Dice; for reading only."""
    run = make_crossvalidated_run(tmp_path_factory.mktemp("crossvalidated"))
    write_report(run)
    return run


@pytest.fixture
def changeable_crossvalidation(tmp_path: Path) -> Run:
    """The same run, without a report, for tests that change it."""
    return make_crossvalidated_run(tmp_path)


@pytest.fixture
def small_network() -> ConfigurationPlan:
    """Three stages with anisotropic strides and kernels."""
    return configuration()


def make_run(folder: Path) -> Run:
    """One 3D configuration, one fold, four cases."""
    run = Run(folder / "run")
    dataset = write_dataset(folder / "data")
    dataset.save(run.dataset)
    fingerprint().save(run.fingerprint)
    plan().save(run.plan)
    fold = run.fold("3d_fullres", 0)
    for case in dataset.training:
        write_image(fold.validation / f"{case.id}.nii.gz", np.roll(labels(), 1, axis=2))
    write_json(fold.validation_summary, {"cases": scores(), "foreground_mean": {"dice": FOREGROUND_DICE}})
    write_metrics(fold.metrics)
    write_json(run.summary, summary())
    write_json(run.postprocessing, postprocessing())
    write_json(run.provenance, provenance())
    return run


def make_crossvalidated_run(folder: Path) -> Run:
    """36 cases without images. The organ's expected Dice tells its true one, the lesion's does not."""
    run = Run(folder / "run")
    generator = np.random.default_rng(0)
    shift = {("2d",): -0.02, ("3d_fullres",): 0.0, ("2d", "3d_fullres"): 0.01}
    expected = {f"case_{i:02d}": generator.uniform((0.7, 0.5), (0.97, 0.9)) for i in range(36)}
    noise = {case: generator.uniform(0.4, 0.9) for case in expected}
    summaries: dict[str, dict[str, Any]] = {"configurations": {}, "ensembles": {}}
    for names, gain in shift.items():
        scored = {
            case: {"organ": {"dice": organ - 0.03 + gain}, "lesion": {"dice": noise[case] + gain}}
            for case, (organ, _) in expected.items()
        }
        for fold in range(3) if len(names) == 1 else (None,):
            target = run.ensemble(names) if fold is None else run.fold(names[0], fold)
            inside = [case for i, case in enumerate(expected) if fold is None or i % 3 == fold]
            write_json(target.validation_summary, {"cases": {case: scored[case] for case in inside}})
            table = {case: dict(zip(("organ", "lesion"), expected[case], strict=True)) for case in inside}
            write_json(target.expected_dice, table)
        content = summarise(scored).model_dump(mode="json")
        kind = "ensembles" if len(names) > 1 else "configurations"
        summaries[kind]["+".join(names)] = {**content, "configurations": list(names), "cases": len(scored)}
    best = ("2d", "3d_fullres")
    uncertainty = summarise_uncertainty(uncertainty_cases(run, best), configurations=best)
    choice = {"configurations": list(best), "postprocessing": [], "predict": "autoseg predict run IMAGES --out DIR"}
    write_json(run.summary, {**summaries, "best": choice, "uncertainty": uncertainty.model_dump(mode="json")})
    steps = {key: value for key, value in postprocessing().items() if key != "configuration"}
    write_json(run.postprocessing, {"configurations": list(best), **steps})
    return run


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_image(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    sitk.WriteImage(image, str(path))


def labels() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[3:7, 4:12, 5:15] = 1
    array[4:6, 6:9, 7:10] = 2
    return array


def write_dataset(folder: Path) -> Dataset:
    noise = np.random.default_rng(0).normal(100, 20, SHAPE)
    cases = []
    for name in DICE:
        write_image(folder / "images" / f"{name}.nii.gz", (noise + 60.0 * labels()).astype(np.float32))
        write_image(folder / "labels" / f"{name}.nii.gz", labels())
        images = (folder / "images" / f"{name}.nii.gz",)
        cases.append(Case(id=name, images=images, label=folder / "labels" / f"{name}.nii.gz"))
    return Dataset(
        name="Phantom <one> & two",
        folder=folder,
        layout="plain",
        channels=("T1",),
        labels=LABELS,
        file_ending=".nii.gz",
        label_ending=".nii.gz",
        training=tuple(cases),
        warnings=("labels were discovered",),
    )


def fingerprint() -> Fingerprint:
    cases = tuple(
        CaseFingerprint(
            id=name,
            shape=SHAPE,
            spacing=SPACING,
            crop_box=((0, SHAPE[0]), (0, SHAPE[1]), (0, SHAPE[2] - index)),
            relative_size=1.0,
            intensities=(STATISTICS,),
            class_voxels={"organ": 302, "lesion": 18},
            class_volumes={"organ": 906.0, "lesion": 54.0},
        )
        for index, name in enumerate(DICE)
    )
    return Fingerprint(
        name="Phantom <one> & two",
        dimension=3,
        channels=("T1",),
        outputs=3,
        labels_with_background=3,
        intensities=(STATISTICS,),
        cases=cases,
        median_relative_size=1.0,
        warnings=("the lesion is rare",),
    )


def configuration() -> ConfigurationPlan:
    return ConfigurationPlan(
        spacing=SPACING,
        median_shape=SHAPE,
        patch_size=(8, 16, 16),
        batch_size=2,
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        features_per_stage=(8, 16, 32),
        blocks_per_stage=(2, 2, 2),
        decoder_blocks_per_stage=(2, 2),
        normalization=("z-score",),
        use_mask_for_norm=(False,),
        batch_dice=False,
        augmentation=(TransformPlan(name="gaussian-noise", probability=0.1, options={"variance": [0, 0.1]}),),
        mirror_axes=(0, 1, 2),
    )


def plan() -> Plan:
    return Plan(
        dataset="Phantom <one> & two",
        planner="default",
        channels=("T1",),
        labels=LABELS,
        dimension=3,
        transpose_forward=(0, 1, 2),
        intensities=(STATISTICS,),
        file_ending=".nii.gz",
        configurations={"3d_fullres": configuration()},
    )


def scores() -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        name: {
            "organ": {"dice": organ, "hd95": 2.5, "n_ref": 302},
            "lesion": {"dice": lesion, "hd95": None if not lesion else 4.25, "n_ref": 18},
        }
        for name, (organ, lesion) in DICE.items()
    }


def summary() -> dict[str, object]:
    means = {"organ": {"dice": 0.775, "hd95": 2.5}, "lesion": {"dice": 0.5, "hd95": 4.25}}
    return {
        "configurations": {
            "3d_fullres": {
                "mean": means,
                "foreground_mean": {"dice": FOREGROUND_DICE},
                "folds": {"0": FOREGROUND_DICE},
                "cases": 4,
            }
        },
        "best": {
            "configurations": ["3d_fullres"],
            "folds": ["0"],
            "foreground_mean_dice": FOREGROUND_DICE,
            "postprocessing": ["largest-component:organ"],
            "foreground_mean_dice_postprocessed": 0.6512,
        },
    }


def postprocessing() -> dict[str, object]:
    before = {"foreground": FOREGROUND_DICE, "labels": {"organ": 0.775, "lesion": 0.5}}
    after = {"foreground": 0.6512, "labels": {"organ": 0.8024, "lesion": 0.5}}
    return {
        "configuration": "3d_fullres",
        "steps": ["largest-component:organ"],
        "cases": 4,
        "before": before,
        "after": after,
        "trials": [
            {"step": "largest-component:all-foreground", "accepted": False, "before": before, "after": before},
            {"step": "largest-component:organ", "accepted": True, "before": before, "after": after},
        ],
    }


def provenance() -> dict[str, object]:
    command = ["autoseg", "plan-and-train", "my data", "--out", "run", "--folds", "0"]
    return {
        "command": command,
        "commands": [["autoseg", "check", "my data"], command],
        "started": "2025-01-02T03:04:05+00:00",
        "versions": {"autoseg": "0.1.0", "torch": "2.13.0"},
        "machine": {"processor": "a processor", "cores": 2},
        "stages": [{"name": "plan", "seconds": 0.1}, {"name": "train 3d_fullres fold 0", "seconds": 754.0}],
        "notes": ["the budget is short"],
    }


def write_metrics(path: Path, rounds: int = 20) -> None:
    rows = [
        {
            "step": 10 * (index + 1),
            "steps": 10 * rounds,
            "seconds": 5.0 * (index + 1),
            "loss": 1.0 / (index + 1),
            "validation_loss": None if index % 2 else 1.1 / (index + 1),
            "learning_rate": 0.01 * (1 - index / rounds) ** 0.9,
            "validation_dice": {"organ": 0.8, "lesion": None},
            "validation_foreground_dice": 0.8,
            "step_seconds": 0.5,
            "waiting_for_data": 0.01,
        }
        for index in range(rounds)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
