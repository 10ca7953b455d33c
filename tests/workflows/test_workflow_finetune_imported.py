"""A model of nnU-Net is imported, fine-tuned in one command, and goes back to nnU-Net."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg import pipeline
from autoseg.cli.main import run as autoseg
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.exchange.nnunet.pipeline import models
from autoseg.inference.predictor import Predictor
from autoseg.networks.build import build_network
from autoseg.plan.record import Plan
from autoseg.training.checkpoint import load_checkpoint, save_checkpoint
from autoseg.training.runtime import Runtime, base_runtime
from autoseg.workspace import Run

pytestmark = pytest.mark.usefixtures("fresh_logging")

STILL = ("--steps", "2", "--set", "training.optimizer.learning_rate=1e-12", "--workers", "0", "--device", "cpu")
"""A training that leaves the weights as they were but for rounding."""


def _imported(prepared: Run, folder: Path, network: str) -> Run:
    """A model in nnU-Net's form with random weights for a patch and widths that no planner chooses, imported.

    Of its two configurations one has weights, as where nnU-Net trained one of those that it planned.
    """
    source = Run(folder / "source")
    plan = Plan.load(prepared.plan)
    items = {
        name: item.with_(network=network, features_per_stage=tuple(3 + i for i in range(item.stages)))
        for name, item in plan.configurations.items()
    }
    item = items["3d_fullres"].with_(batch_size=3)
    plan = plan.with_(configurations={**items, "3d_fullres": item}, channels=("T1",))
    plan.save(source.plan)
    weights = build_network(item, 1, plan.labels.outputs, seed=5).state_dict()
    state = {"network": weights, "step": 1, "seconds": 0.0, "runtime": Runtime().model_dump(), "config": {}}
    save_checkpoint(source.fold("3d_fullres", 0).final, state)
    models.export_nnunet(source.root, folder / "theirs", configuration="3d_fullres")
    models.import_nnunet(folder / "theirs", folder / "imported")
    return Run(folder / "imported")


@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_one_command_goes_on_with_the_plan_and_all_the_weights(
    prepared: Run, phantom: Path, tmp_path: Path, network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    imported, tuned, again = _imported(prepared, tmp_path, network), Run(tmp_path / "tuned"), tmp_path / "again"
    arguments = [str(phantom), "--out", str(tuned.root), "--pretrained", str(imported.root), "--folds", "0", *STILL]
    assert autoseg(["plan-and-train", *arguments]) == 0
    theirs, plan = Plan.load(imported.plan), Plan.load(tuned.plan)
    assert list(plan.configurations) == ["3d_fullres"]
    expected = theirs.configurations["3d_fullres"]
    assert plan.configurations["3d_fullres"] == expected
    assert expected.network == network
    assert plan.intensities == theirs.intensities
    assert plan.channels == Plan.load(prepared.plan).channels != theirs.channels
    before, after = (load_checkpoint(run.fold("3d_fullres", 0).final)["network"] for run in (imported, tuned))
    assert f"{len(before)} weights loaded, 0 adapted, 0 left out" in capsys.readouterr().err
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, before[name], atol=1e-6, rtol=1e-6, msg=name)
    models.export_nnunet(tuned.root, tmp_path / "back")
    models.import_nnunet(tmp_path / "back", again)
    image = next((phantom / "imagesTr").iterdir())
    runtime = base_runtime("cpu")
    ours, back = (Predictor(Predictor.load(run, runtime=runtime).models) for run in (tuned.root, again))
    np.testing.assert_array_equal(ours.predict(image), back.predict(image))


def test_other_classes_keep_all_but_the_heads(prepared: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    imported, tuned = _imported(prepared, tmp_path, "plain-unet"), Run(tmp_path / "tuned")
    write_phantom(tmp_path / "data", PhantomOptions(cases=4, shape=(12, 24, 24), classes=1, seed=3))
    pipeline.plan_and_train(
        tmp_path / "data", tuned.root, pretrained=imported.root, folds="1", steps=1, device="cpu", workers=0
    )
    plan = Plan.load(tuned.plan)
    assert plan.labels.outputs == 2
    heads = [name for name in load_checkpoint(imported.fold("3d_fullres", 0).final)["network"] if "heads" in name]
    assert f"0 adapted, {len(heads)} left out" in caplog.text
    assert "fold 1 starts from fold 0" in caplog.text
    assert Predictor.load(tuned.root, device="cpu").predict(next((tmp_path / "data" / "imagesTr").iterdir())).max() <= 1


def test_a_fold_of_a_run_with_its_own_plan_starts_from_the_imported_run(
    prepared: Run, copy_run: Callable[[Run], Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported, run = _imported(prepared, tmp_path, "plain-unet"), copy_run(prepared)
    plan = Plan.load(run.plan)
    wanted = Plan.load(imported.plan).configurations["3d_fullres"].features_per_stage
    item = plan.configurations["3d_fullres"].with_(features_per_stage=wanted)
    plan.with_(configurations={**plan.configurations, "3d_fullres": item}).save(run.plan)
    arguments = ["--configuration", "3d_fullres", "--fold", "0", "--pretrained", str(imported.root), *STILL]
    assert autoseg(["train", str(run.root), *arguments]) == 0
    before, after = (load_checkpoint(one.fold("3d_fullres", 0).final)["network"] for one in (imported, run))
    assert f"{len(before)} weights loaded, 0 adapted, 0 left out" in capsys.readouterr().err
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, before[name], atol=1e-6, rtol=1e-6, msg=name)


def test_a_planner_of_ones_own_is_refused_before_any_work(
    prepared: Run, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = [str(phantom), "--out", str(out), "--pretrained", str(prepared.root), "--planner", "default"]
    assert autoseg(["plan-and-train", *arguments]) == 2
    assert "no trained network to start from" in capsys.readouterr().err
    imported = _imported(prepared, tmp_path, "plain-unet")
    arguments[4] = str(imported.root)
    assert autoseg(["plan-and-train", *arguments]) == 2
    assert "a pretrained run brings its plan" in capsys.readouterr().err
    assert not Run(out).fingerprint.exists()
