"""Two configurations and their ensemble, from training to new images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoseg import pipeline
from autoseg.data.files import read_labels
from autoseg.evaluation.summary import Summary
from autoseg.exchange.archive.writing import write_archive
from autoseg.inference.estimate import CaseEstimates
from autoseg.pipeline import choose
from autoseg.workspace import Run

BOTH = ("2d", "3d_fullres")


@pytest.fixture(scope="module")
def crossvalidated(phantom: Path, prepared: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose fold 0 is trained for a few steps with two configurations. Do not change it."""
    run = Run(tmp_path_factory.mktemp("crossvalidated") / "run")
    shutil.copytree(prepared.root, run.root)
    pipeline.plan_and_train(
        phantom, run.root, configurations=",".join(BOTH), folds="0", steps=3, device="cpu", workers=0, resume=True
    )
    return run


def test_the_ensemble_is_validated_beside_its_configurations(crossvalidated: Run) -> None:
    summary = json.loads(crossvalidated.summary.read_text(encoding="utf-8"))
    assert set(summary["configurations"]) == set(BOTH)
    assert set(summary["ensembles"]) == {"2d+3d_fullres"}
    cases = json.loads(crossvalidated.splits.read_text(encoding="utf-8"))[0]["val"]
    folder = crossvalidated.ensemble(BOTH).validation
    assert {path.name for path in folder.glob("*.nii.gz")} == {f"{case}.nii.gz" for case in cases}
    assert sorted(json.loads((folder / "summary.json").read_text(encoding="utf-8"))["cases"]) == cases
    best = summary["best"]
    assert best["predict"] == f"autoseg predict {crossvalidated.root} IMAGES --out DIR"
    labels = set(summary["configurations"]["2d"]["mean"])
    assert set(summary["configurations"]["2d"]["folds"]["0"]) == {"foreground_mean", *labels}


def test_its_prediction_is_the_mean_of_the_configurations_probabilities(
    crossvalidated: Run, phantom: Path, tmp_path: Path
) -> None:
    image = sorted((phantom / "imagesTr").iterdir())[0]
    found = {}
    for name in (*BOTH, "2d+3d_fullres"):
        out = tmp_path / name
        pipeline.predict(
            crossvalidated.root, [image], out, configuration=name, save_probabilities=True, uncertainty=True,
            device="cpu",
        )  # fmt: skip
        found[name] = np.load(next(out.glob("*.npz")))["probabilities"].astype(float)
        assert len(list(out.glob("*_uncertainty.nii.gz"))) == 1
        assert len(CaseEstimates.load(out / "uncertainty.json").cases) == 1
    mean = (found["2d"] + found["3d_fullres"]) / 2
    np.testing.assert_allclose(found["2d+3d_fullres"], mean, atol=2e-3)


def test_choosing_again_changes_nothing(crossvalidated: Run, copy_run: Callable[[Run], Run]) -> None:
    run = copy_run(crossvalidated)
    before = Summary.load(run.summary)
    made = run.ensemble(BOTH).validation_summary.stat().st_mtime_ns
    after = choose(run.root, device="cpu", workers=1)
    assert run.ensemble(BOTH).validation_summary.stat().st_mtime_ns == made
    assert after.configurations == before.configurations
    assert after.ensembles == before.ensembles
    assert after.best == before.best.with_(predict=f"autoseg predict {run.root} IMAGES --out DIR")
    assert Summary.load(run.summary) == after


def test_a_run_without_saved_probabilities_is_made_up_for(crossvalidated: Run, copy_run: Callable[[Run], Run]) -> None:
    run = copy_run(crossvalidated)
    before = Summary.load(run.summary)
    shutil.rmtree(run.root / "ensembles")
    for name in BOTH:
        fold = run.fold(name, 0)
        shutil.rmtree(fold.probabilities)
        fold.expected_dice.unlink()
    labels = {path: read_labels(path).array for path in run.fold("2d", 0).validation.glob("*.nii.gz")}
    after = choose(run.root, device="cpu", workers=1)
    assert after.ensembles["2d+3d_fullres"].mean == before.ensembles["2d+3d_fullres"].mean
    assert labels
    assert all(np.array_equal(read_labels(path).array, array) for path, array in labels.items())


def test_the_zip_of_a_run_predicts_as_the_run(crossvalidated: Run, phantom: Path, tmp_path: Path) -> None:
    image = sorted((phantom / "imagesTr").iterdir())[0]
    write_archive(crossvalidated, tmp_path / "model.zip", configuration="2d+3d_fullres")
    for source, name in ((crossvalidated.root, "run"), (tmp_path / "model.zip", "zip")):
        options = {"configuration": "2d+3d_fullres", "device": "cpu"}
        assert pipeline.predict(source, [image], tmp_path / name, **options) == []
    files = {name: sorted((tmp_path / name).glob("*.nii.gz")) for name in ("run", "zip")}
    assert len(files["run"]) == 1
    assert files["run"][0].read_bytes() == files["zip"][0].read_bytes()
