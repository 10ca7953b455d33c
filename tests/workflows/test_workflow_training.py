"""From a folder to a report, in the shortest form."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg import pipeline
from autoseg.data.dataset import Dataset
from autoseg.data.files import read_labels
from autoseg.data.splits import SplitRule, load_splits
from autoseg.errors import ConfigurationError, TrainingError, WorkspaceError
from autoseg.evaluation.evaluate import evaluate
from autoseg.pipeline.request import TrainingRequest
from autoseg.pipeline.settings import Settings
from autoseg.plan.record import Plan, SamplerPlan
from autoseg.tasks.segmentation.trainer.trainer import SegmentationTrainer
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext
from autoseg.training.loop import Start, Training
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run


def test_a_run_has_every_file_of_the_contract(trained: Run) -> None:
    for path in (
        trained.dataset, trained.fingerprint, trained.plan, trained.splits, trained.summary, trained.postprocessing,
        trained.report, trained.provenance,
    ):  # fmt: skip
        assert path.is_file(), path
    fold = trained.fold("3d_fullres", 0)
    for path in (fold.last, fold.best, fold.final, fold.metrics, fold.progress, fold.validation_summary):
        assert path.is_file(), path
    configuration = json.loads(trained.plan.read_text(encoding="utf-8"))["configurations"]["3d_fullres"]
    assert {
        "spacing", "median_shape", "patch_size", "batch_size", "strides", "kernel_sizes", "features_per_stage",
        "normalization", "use_mask_for_norm", "batch_dice",
    } <= configuration.keys()  # fmt: skip


def test_the_summary_is_that_of_an_independent_evaluation(trained: Run, phantom: Path) -> None:
    summary = json.loads(trained.summary.read_text(encoding="utf-8"))
    fold = json.loads(trained.fold("3d_fullres", 0).validation_summary.read_text(encoding="utf-8"))
    split = json.loads(trained.splits.read_text(encoding="utf-8"))[0]
    assert sorted(fold["cases"]) == split["val"]
    again = evaluate(
        trained.fold("3d_fullres", 0).validation, phantom / "labelsTr", spec=phantom / "dataset.json", workers=1
    )
    for label, row in fold["mean"].items():
        for metric, value in row.items():
            assert value == pytest.approx(again.mean[label][metric]), (label, metric)
    entry = summary["configurations"]["3d_fullres"]
    assert entry["foreground_mean"]["dice"] == pytest.approx(fold["foreground_mean"]["dice"])
    assert summary["best"]["configurations"] == ["3d_fullres"]


def test_validation_predictions_lie_on_their_images(trained: Run, phantom: Path) -> None:
    for path in trained.fold("3d_fullres", 0).validation.glob("*.nii.gz"):
        predicted, reference = read_labels(path), read_labels(phantom / "labelsTr" / path.name)
        assert predicted.shape == reference.shape
        assert predicted.geometry == reference.geometry
        assert set(np.unique(predicted.array)) <= {0, 1, 2, 3}


def test_a_run_folder_in_use_is_not_overwritten(trained: Run, phantom: Path) -> None:
    with pytest.raises(WorkspaceError, match="in use"):
        pipeline.plan_and_train(phantom, trained.root, steps=1)


def test_a_run_is_not_resumed_with_other_folds(phantom: Path, trained: Run, tmp_path: Path) -> None:
    own = json.loads(trained.splits.read_text(encoding="utf-8"))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(own[1:]), encoding="utf-8")
    settings = Settings(splits=SplitRule(file=other))
    with pytest.raises(ConfigurationError, match="other folds than those asked for"):
        pipeline.plan_and_train(phantom, trained.root, steps=4, resume=True, settings=settings)
    assert json.loads(trained.splits.read_text(encoding="utf-8")) == own
    pipeline.plan_and_train(
        phantom, trained.root, configurations="3d_fullres", folds="0", steps=4, resume=True,
        settings=Settings(splits=SplitRule(file=trained.splits)),
    )  # fmt: skip


def test_a_run_is_not_resumed_on_other_data(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="begun on other data"):
        pipeline.plan_and_train(tmp_path, trained.root, steps=1, resume=True)


def test_resuming_a_finished_run_repeats_nothing(trained: Run, phantom: Path) -> None:
    before = trained.fold("3d_fullres", 0).final.stat().st_mtime_ns
    pipeline.plan_and_train(phantom, trained.root, configurations="3d_fullres", folds="0", steps=4, resume=True)
    assert trained.fold("3d_fullres", 0).final.stat().st_mtime_ns == before


def test_wrong_names_are_refused_with_the_nearest(prepared: Run) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean '3d_fullres'"):
        pipeline.train_fold(prepared.root, "3d_fulres", 0, steps=1)
    with pytest.raises(ConfigurationError, match="there is no fold '9'"):
        pipeline.train_fold(prepared.root, "3d_fullres", 9, steps=1)
    with pytest.raises(ConfigurationError, match="not both"):
        pipeline.train_fold(prepared.root, "3d_fullres", 0, steps=1, budget=60)
    with pytest.raises(WorkspaceError, match="autoseg preprocess"):
        pipeline.train_fold(prepared.root, "2d", 0, steps=1)


def _train(run: Run, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "autoseg", "train", str(run.root), "--configuration", "3d_fullres", "--fold", "0"]
    command += ["--steps", "60", "--device", "cpu", *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_kill_9_and_resume_gives_the_same_bits(prepared: Run, copy_run: Callable[[Run], Run]) -> None:
    whole, killed = copy_run(prepared), copy_run(prepared)
    reference = _train(whole, "--workers", "1")
    assert reference.wait(timeout=120) == 0, reference.stderr and reference.stderr.read()
    target = random.Random(time.time_ns()).randint(2, 40)
    process = _train(killed, "--workers", "2")  # the number of workers must not matter either
    metrics = killed.fold("3d_fullres", 0).metrics
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
        if lines and lines[-1].endswith("}") and json.loads(lines[-1])["step"] >= target:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.fold("3d_fullres", 0).final.exists(), "the training was over before it was killed"
    resumed = _train(killed, "--resume")
    assert resumed.wait(timeout=120) == 0, resumed.stderr and resumed.stderr.read()
    expected = load_checkpoint(whole.fold("3d_fullres", 0).final)["network"]
    found = load_checkpoint(killed.fold("3d_fullres", 0).final)["network"]
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    steps = [json.loads(line)["step"] for line in metrics.read_text(encoding="utf-8").splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 60


def test_hard_location_sampling_trains_and_resumes_exactly(prepared: Run, copy_run: Callable[[Run], Run]) -> None:
    finals = []
    for stop in (None, 3):
        run = copy_run(prepared)
        plan = Plan.load(run.plan)
        item = plan.configurations["3d_fullres"].with_(sampler=SamplerPlan(name="hard-location"))
        plan.with_(configurations={"3d_fullres": item}).save(run.plan)
        if stop is not None:
            _loop(run, stop_after=stop).run()
            assert load_checkpoint(run.fold("3d_fullres", 0).last)["task"]["places"]  # it has seen errors
        training = _loop(run, resume=True)
        assert training.resumed == (stop is not None)
        training.run()
        finals.append(load_checkpoint(run.fold("3d_fullres", 0).final)["network"])
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def _loop(run: Run, stop_after: int | None = None, *, resume: bool = False) -> Training:
    """The loop on fold 0, for six steps, as the pipeline builds it."""
    config = TrainingConfig(steps=6, round_steps=2, stop_after=stop_after)
    dataset, plan = Dataset.load(run.dataset), Plan.load(run.plan)
    split = load_splits(run.splits, dataset.identifiers)[0]
    context = FoldContext(run, dataset, plan, "3d_fullres", "0", split, config, Runtime())
    task = SegmentationTrainer(context).task()
    return Training(task, config, context.runtime, context.folder, dimension=3, start=Start(resume=resume))


def test_an_image_of_nan_in_the_store_names_step_and_case(prepared: Run, copy_run: Callable[[Run], Run]) -> None:
    import blosc2

    run = copy_run(prepared)
    for case in json.loads(run.splits.read_text(encoding="utf-8"))[0]["train"]:
        path = run.preprocessed("3d_fullres") / f"{case}.image.b2nd"
        array = blosc2.open(str(path))[:]
        blosc2.asarray(np.full_like(array, np.nan), urlpath=str(path), mode="w")
    with pytest.raises(TrainingError, match=r"step 0, cases .*not a finite number"):
        pipeline.train_fold(run.root, "3d_fullres", 0, steps=2, device="cpu", workers=0)


def test_a_training_anew_that_was_interrupted_replaces_the_model_before(
    prepared: Run, copy_run: Callable[[Run], Run]
) -> None:
    run, other = copy_run(prepared), copy_run(prepared)

    def train(where: Run, seed: int, *, stop_after: int | None = None, resume: bool = False) -> object:
        config = TrainingConfig(steps=6, round_steps=2, seed=seed, stop_after=stop_after)
        request = TrainingRequest(config=config, device="cpu", workers=0, resume=resume)
        return pipeline.train_fold(where.root, "3d_fullres", 0, request)

    def weights(where: Run) -> dict[str, torch.Tensor]:
        return load_checkpoint(where.fold("3d_fullres", 0).final)["network"]

    assert train(run, 1) is not None
    first = weights(run)
    assert train(run, 2, stop_after=2) is None  # begun anew and interrupted
    assert all(torch.equal(weights(run)[name], tensor) for name, tensor in first.items())  # there to predict with
    assert train(run, 2, resume=True) == train(other, 2)
    second = weights(run)
    assert any(not torch.equal(second[name], tensor) for name, tensor in first.items())
    assert all(torch.equal(second[name], tensor) for name, tensor in weights(other).items())
