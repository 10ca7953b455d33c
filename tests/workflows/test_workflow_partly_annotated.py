"""Cases in which not every class was looked for: from the table to the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import small_networks

from autoseg import pipeline
from autoseg.data.dataset import Dataset
from autoseg.data.files import read_labels, write_labels
from autoseg.data.splits import Split, SplitRule
from autoseg.errors import DatasetError
from autoseg.evaluation.scores import Scores
from autoseg.evaluation.summary import Summary
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.record import Plan
from autoseg.tasks.segmentation.trainer.trainer import SegmentationTask
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext
from autoseg.training.runtime import Runtime
from autoseg.training.task import VALIDATION
from autoseg.workspace import Run

LOOKED_FOR = {0: ("organ",), 1: ("lesion", "vessel"), 2: ("vessel",), 3: ("organ", "lesion"), 4: ("vessel",)}  # 5: all
CLASSES = ("organ", "lesion", "vessel")


@pytest.fixture(scope="module")
def partly(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom without the labels of what was not looked for."""
    folder = tmp_path_factory.mktemp("partly") / "dataset"
    shutil.copytree(phantom, folder)
    table = {}
    for number, names in LOOKED_FOR.items():
        case = f"phantom_{number:03d}"
        table[case] = list(names)
        file = folder / "labelsTr" / f"{case}.nii.gz"
        labels = read_labels(file)
        kept = np.isin(labels.array[0], [1 + CLASSES.index(name) for name in names])
        write_labels(file, np.where(kept, labels.array[0], 0), labels.geometry)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    (folder / "dataset.json").write_text(json.dumps({**description, "annotated": table}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(partly: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two folds trained for a few steps."""
    run = Run(tmp_path_factory.mktemp("run") / "run")
    splits = tmp_path_factory.mktemp("splits") / "splits.json"
    names = [f"phantom_{number:03d}" for number in range(6)]
    halves = [(names[3:], names[:3]), (names[:3], names[3:])]
    splits.write_text(json.dumps([{"train": train, "val": validation} for train, validation in halves]))
    rule = SplitRule(file=splits)
    pipeline.fingerprint_dataset(partly, run.root, workers=1, rule=rule)
    pipeline.make_plan(run.root)
    small_networks(run)
    pipeline.plan_and_train(
        partly, run.root, configurations="3d_fullres", folds="all", steps=4, device="cpu", workers=0, resume=True
    )
    return run


def test_every_stage_knows_what_was_looked_for(run: Run) -> None:
    voxels = {case.id: set(case.class_voxels) for case in Fingerprint.load(run.fingerprint).cases}
    assert voxels == {f"phantom_{n:03d}": set(LOOKED_FOR.get(n, CLASSES)) for n in range(6)}
    scores = Scores.load(run.fold("3d_fullres", "0").validation_summary)
    assert {case: tuple(rows) for case, rows in scores.cases.items()} == {
        f"phantom_{number:03d}": LOOKED_FOR[number] for number in (0, 1, 2)
    }
    model = Summary.load(run.summary).configurations["3d_fullres"]
    assert (model.cases, model.counted) == (6, {"organ": 3, "lesion": 3, "vessel": 4})
    chosen = json.loads(run.postprocessing.read_text(encoding="utf-8"))["before"]["labels"]
    assert chosen == pytest.approx(model.dice)
    assert "organ in 3, lesion in 3, vessel in 4 cases" in run.report.read_text(encoding="utf-8")


def task(run: Run, split: Split, **config: object) -> SegmentationTask:
    return SegmentationTask(
        FoldContext(
            run=run, dataset=Dataset.load(run.dataset), plan=Plan.load(run.plan), configuration_name="3d_fullres",
            fold="0", split=split, config=TrainingConfig.model_validate({"steps": 4, **config}), runtime=Runtime(),
        )
    )  # fmt: skip


def test_online_scores_count_what_was_looked_for(run: Run) -> None:
    """A network that paints lesions everywhere is wrong where they were looked for, and nowhere else."""
    made = task(run, Split(train=("phantom_003", "phantom_005"), validation=("phantom_000",)))
    with made.batches(range(1), VALIDATION) as batches:
        (batch,) = batches

    def paints_lesions(image: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(image), 4, *image.shape[2:])
        logits[:, 2] = 9.0
        return logits

    loss, counts = made.validation(paints_lesions, batch)  # type: ignore[arg-type]
    assert set(batch.cases) == {"phantom_000"}
    organ = int((batch.target == 1).sum())
    assert counts.T.tolist() == [[0, 0, organ], [0, 0, 0], [0, 0, 0]]
    assert made.scores(counts)["lesion"] is None
    # nor does the loss: a lesion is as good as background there
    plain = made.validation(lambda image: paints_lesions(image)[:, [2, 1, 0, 3]], batch)[0]  # type: ignore[arg-type, return-value]
    assert loss.item() == pytest.approx(plain.item(), abs=1e-6)


def test_places_where_the_network_errs_are_of_what_was_looked_for(run: Run) -> None:
    plan = Plan.load(run.plan)
    configuration = plan.configurations["3d_fullres"]
    sampler = configuration.sampler.with_(name="hard-location")
    hard = plan.with_(configurations={"3d_fullres": configuration.with_(sampler=sampler)})
    made = SegmentationTask(
        FoldContext(
            run=run, dataset=Dataset.load(run.dataset), plan=hard, configuration_name="3d_fullres", fold="0",
            split=Split(train=("phantom_002", "phantom_003"), validation=()), config=TrainingConfig(steps=4),
            runtime=Runtime(),
        )
    )  # fmt: skip

    class PaintsLesions(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(image), 4, *image.shape[2:])
            logits[:, 2] = 9.0
            return logits

    assert made.adapt(PaintsLesions(), 0, lambda batch: batch)
    places = made.state()["places"]
    assert {"phantom_002", "phantom_003"} >= set(places)
    store = made._store
    for case, voxels in places.items():
        labels = store.read(case)[1]
        inside = voxels.numpy()[((voxels.numpy() >= 0) & (voxels.numpy() < labels.shape)).all(1)]
        values = set(labels[tuple(inside.T)].tolist())
        assert values <= ({3} if case == "phantom_002" else {-1, 0, 1})  # of the vessel, missed; of false lesions


def test_a_fold_without_a_case_of_some_class_is_refused(run: Run) -> None:
    with pytest.raises(DatasetError, match="no training case of fold 0 is annotated for some classes") as caught:
        task(run, Split(train=("phantom_000", "phantom_003"), validation=("phantom_005",)))
    assert caught.value.got == "vessel"
