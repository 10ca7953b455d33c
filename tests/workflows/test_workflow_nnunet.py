"""A model goes to nnU-Net's form and comes back, with its scores, and goes on learning."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoseg import pipeline
from autoseg.cli.main import run as autoseg
from autoseg.data.files import read_labels
from autoseg.exchange.nnunet.pipeline import models
from autoseg.inference.predictor import Predictor
from autoseg.postprocessing.choose import Decision
from autoseg.records import read_mapping
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run

pytestmark = pytest.mark.usefixtures("fresh_logging")


def _add_nnunets_validation(model: Path, labels: int) -> None:
    """Scores and post-processing as nnU-Net leaves them in its folder."""
    metrics = {str(label): {"Dice": 0.8, "IoU": 0.7} for label in range(1, labels + 1)}
    rows = [{"prediction_file": f"/data/case_{i}.nii.gz", "metrics": metrics} for i in range(3)]
    (model / "fold_0" / "validation").mkdir()
    (model / "fold_0" / "validation" / "summary.json").write_text(
        json.dumps({"metric_per_case": rows}), encoding="utf-8"
    )
    result = {"foreground_mean": {"Dice": 0.85}, "mean": {label: {"Dice": 0.85} for label in metrics}}
    content = {
        "input_folder": result,
        "postprocessed": result,
        "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
        "postprocessing_kwargs": [{"labels_or_regions": list(range(1, labels + 1))}],
    }
    (model / "crossval_results_folds_0").mkdir()
    (model / "crossval_results_folds_0" / "postprocessing.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_run_survives_the_way_to_nnunet_and_back(
    trained: Run, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, back = tmp_path / "exported", tmp_path / "back"
    assert autoseg(["export", str(trained.root), "--format", "nnunet", "--out", str(exported)]) == 0
    assert f"-m {exported} -f 0" in capsys.readouterr().out
    _add_nnunets_validation(exported, labels=3)
    assert autoseg(["import-nnunet", str(exported), "--out", str(back)]) == 0
    assert "3d_fullres: fold 0; mean foreground Dice 0.8000" in capsys.readouterr().out
    run = Run(back)
    best = read_mapping(run.summary)["best"]
    assert best["configurations"] == ["3d_fullres"]
    assert best["foreground_mean_dice"] == pytest.approx(0.8)
    assert best["foreground_mean_dice_postprocessed"] == pytest.approx(0.85)
    content = read_mapping(run.postprocessing)
    assert content.pop("configurations") == ["3d_fullres"]
    assert Decision.from_mapping(content).steps == ("largest-component:all-foreground",)
    runtime = Predictor.load(back, device="cpu").runtime
    for path in sorted((phantom / "imagesTr").iterdir())[:2]:
        ours, again = (Predictor.load(one, runtime=runtime) for one in (trained.root, back))
        plain = [Predictor(one.models).predict(path) for one in (ours, again)]
        np.testing.assert_array_equal(*plain)
    archive = tmp_path / "model.zip"
    assert autoseg(["export", str(back), "--out", str(archive)]) == 0
    assert autoseg(["predict", str(archive), str(path), "--out", str(tmp_path / "labels"), "--device", "cpu"]) == 0
    (written,) = (tmp_path / "labels").glob("*.nii.gz")
    np.testing.assert_array_equal(read_labels(written).array[0], Predictor.load(back, runtime=runtime).predict(path))
    assert autoseg(["report", str(back)]) == 0


@pytest.mark.parametrize(
    "arguments", [["plan"], ["preprocess"], ["choose"], ["train", "--configuration", "3d_fullres", "--fold", "0"]]
)
def test_what_needs_data_says_what_to_do(
    imported: Run, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert autoseg([arguments[0], str(imported.root), *arguments[1:]]) == 2
    told = capsys.readouterr().err
    assert "imported model without training data" in told
    assert f"autoseg fingerprint DATASET --out {imported.root}" in told
    assert "--pretrained" in told


def test_an_imported_model_goes_on_learning_with_its_own_plan(
    imported: Run, copy_run: Callable[[Run], Run], phantom: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = copy_run(imported)
    plan = run.plan.read_bytes()
    weights = run.fold("3d_fullres", 0).final
    pipeline.fingerprint_dataset(phantom, run.root, workers=1)
    pipeline.preprocess(run.root, configurations="3d_fullres", workers=1)
    pipeline.train_fold(run.root, "3d_fullres", 1, steps=2, device="cpu", workers=0, pretrained=weights)
    assert run.plan.read_bytes() == plan
    before, after = (load_checkpoint(run.fold("3d_fullres", fold).final)["network"] for fold in (0, 1))
    assert f"{len(before)} weights loaded, 0 adapted, 0 left out" in caplog.text
    assert before.keys() == after.keys()
    assert any(not before[name].equal(tensor) for name, tensor in after.items())


def test_nothing_is_left_where_an_import_fails(
    imported: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    models.export_nnunet(imported.root, model)
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"]["preprocessor_name"] = "Mine"
    (model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    assert autoseg(["import-nnunet", str(model), "--out", str(tmp_path / "run")]) == 2
    assert "3d_fullres: preprocessor Mine" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert autoseg(["export", str(imported.root), "--format", "nnunet", "--out", str(model)]) == 2
    assert autoseg(["export", str(imported.root), "--out", str(model)]) == 2
    assert "is a directory" in capsys.readouterr().err


@pytest.fixture(scope="module")
def imported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained run that went to nnU-Net's form and back. Do not change it."""
    folder = tmp_path_factory.mktemp("imported")
    models.export_nnunet(trained.root, folder / "exported")
    models.import_nnunet(folder / "exported", folder / "run")
    shutil.rmtree(folder / "exported")
    return Run(folder / "run")
