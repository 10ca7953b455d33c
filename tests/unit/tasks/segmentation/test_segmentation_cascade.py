"""The second stage of a cascade is trained on the labels that the first predicted for cases it did not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import Geometry, IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.data.splits import Split, save_splits
from autoseg.errors import WorkspaceError
from autoseg.plan.record import ConfigurationPlan, Plan, TransformPlan
from autoseg.preprocessing.class_locations import class_locations
from autoseg.preprocessing.previous_stage import write_previous
from autoseg.preprocessing.record import CaseProperties, PreparedCase
from autoseg.preprocessing.store import StoreInfo, claim, write_case
from autoseg.tasks.segmentation.trainer.cascade import next_stage, previous_labels
from autoseg.tasks.segmentation.trainer.trainer import SegmentationTask
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext
from autoseg.training.runtime import Runtime
from autoseg.training.task import TRAINING, VALIDATION
from autoseg.workspace import Run

SCHEME = LabelScheme(names={"background": 0, "a": 1, "b": 2})
CASES = ("c0", "c1", "c2", "c3")
SPLITS = (Split(train=("c0", "c1"), validation=("c2", "c3")), Split(train=("c2", "c3"), validation=("c0", "c1")))
SHAPE, PATCH = (20, 22, 18), (16, 16, 16)
AUGMENTATION = (
    TransformPlan(name="spatial", options={"rotation_probability": 0.5, "scaling_probability": 0.5}),
    TransformPlan(name="mirror", options={"axes": [0, 1, 2]}),
    TransformPlan(name="cascade-morphology", probability=0.2, options={"labels": 2, "radius": [1, 2]}),
    TransformPlan(name="cascade-drop-components", probability=0.2, options={"labels": 2}),
)


def truth(case: str) -> np.ndarray:
    scores = np.random.default_rng(CASES.index(case)).standard_normal((3, *SHAPE))
    return gaussian_filter(scores, (0, 2, 2, 2)).argmax(0).astype(np.int16)


def _configuration(**changes: object) -> ConfigurationPlan:
    plain = ConfigurationPlan(
        spacing=(1.0, 1.0, 1.0),
        median_shape=SHAPE,
        patch_size=PATCH,
        batch_size=2,
        strides=((1, 1, 1), (2, 2, 2)),
        kernel_sizes=((3, 3, 3),) * 2,
        features_per_stage=(8, 8),
        blocks_per_stage=(1, 1),
        decoder_blocks_per_stage=(1,),
        normalization=("z-score",),
        use_mask_for_norm=(False,),
        batch_dice=True,
    )
    return plain.with_(**changes)


@pytest.fixture
def context(tmp_path: Path) -> FoldContext:
    """Fold 0 of the second stage. Its images are noise: nothing but the first stage's labels tells what is there."""
    run = Run(tmp_path)
    save_splits(run.splits, SPLITS)
    claim(run.preprocessed("3d_fullres"), StoreInfo(digest="x"))
    properties = CaseProperties(
        channels=1, geometry=Geometry(), transpose=(0, 1, 2), shape_before_crop=SHAPE,
        crop_box=tuple((0, n) for n in SHAPE), shape=SHAPE, spacing=(1.0, 1.0, 1.0),
    )  # fmt: skip
    for seed, case in enumerate(CASES):
        noise = np.random.default_rng(100 + seed).standard_normal((1, *SHAPE)).astype(np.float32)
        prepared = PreparedCase(noise, truth(case).astype(np.int8), properties)
        locations = class_locations(prepared.labels, SCHEME)
        write_case(run.preprocessed("3d_fullres"), case, prepared, locations, patch_size=PATCH, source="y")
    full = _configuration()
    plan = Plan(
        dataset="test", planner="default", channels=("MRI",), labels=SCHEME, dimension=3, transpose_forward=(0, 1, 2),
        intensities=(IntensityStatistics(0.5, 0.5, 0.2, 0.0, 1.0, 0.01, 0.99),), file_ending=".nii.gz",
        configurations={
            "3d_lowres": full.with_(spacing=(2.0, 2.0, 2.0), next_stage="3d_cascade_fullres"),
            "3d_fullres": full,
            "3d_cascade_fullres": full.with_(previous_stage="3d_lowres", augmentation=AUGMENTATION),
        },
    )  # fmt: skip
    dataset = Dataset(
        name="test", folder=tmp_path, layout="plain", channels=("MRI",), labels=SCHEME, file_ending=".nii.gz",
        label_ending=".nii.gz", training=tuple(Case(id=case, images=(tmp_path / case,)) for case in CASES),
    )  # fmt: skip
    config = TrainingConfig(steps=50)
    return FoldContext(run, dataset, plan, "3d_cascade_fullres", "0", SPLITS[0], config, Runtime())


def _validated(context: FoldContext, labels: Callable[[str], np.ndarray], folds: tuple[int, ...] = (0, 1)) -> None:
    """The first stage with these folds validated."""
    for fold in folds:
        folder = context.run.fold("3d_lowres", fold)
        for case in SPLITS[fold].validation:
            write_previous(folder.next_stage, case, labels(case), PATCH)
        folder.validation.mkdir(parents=True)
        folder.validation_summary.write_text("{}", encoding="utf-8")


def test_other_configurations_have_no_previous_labels(context: FoldContext) -> None:
    plain = replace(context, configuration_name="3d_fullres")
    assert previous_labels(plain) is None
    assert plain.input_channels == 1
    assert next_stage(plain) is None


def test_every_case_has_the_labels_of_the_fold_that_did_not_see_it(context: FoldContext) -> None:
    _validated(context, lambda case: truth(case))
    for fold in (0, 1):  # labels of cases that a fold was trained on are of no use
        for case in SPLITS[fold].train:
            write_previous(context.run.fold("3d_lowres", fold).next_stage, case, truth(case) * 0, PATCH)
    labels = previous_labels(context)
    assert labels is not None
    assert labels.cases == CASES
    for case in CASES:
        assert np.array_equal(labels.read(case), truth(case))


def test_all_data_are_trained_on_with_the_labels_of_all_folds(context: FoldContext) -> None:
    _validated(context, truth)
    labels = previous_labels(replace(context, fold="all", split=Split(train=CASES, validation=())))
    assert labels is not None
    assert labels.cases == CASES


def test_missing_folds_are_named_with_their_commands(context: FoldContext) -> None:
    with pytest.raises(WorkspaceError) as nothing:
        SegmentationTask(context)
    for fold in (0, 1):
        assert f"--configuration 3d_lowres --fold {fold}`" in str(nothing.value)
    _validated(context, truth, folds=(1,))
    context.run.fold("3d_lowres", 0).final.parent.mkdir(parents=True)
    context.run.fold("3d_lowres", 0).final.write_bytes(b"weights")
    with pytest.raises(WorkspaceError) as one:
        previous_labels(context)
    assert "--fold 0 --resume`" in str(one.value)  # it is trained, only its validation is missing
    assert "--fold 1" not in str(one.value)


def test_a_case_that_no_fold_validates_is_named(context: FoldContext) -> None:
    _validated(context, truth)
    save_splits(context.run.splits, (Split(train=("c0", "c1", "c2"), validation=("c3",)),))
    with pytest.raises(WorkspaceError, match="cases that no fold validates: c0, c1, c2"):
        previous_labels(context)


def test_labels_of_another_plan_are_refused(context: FoldContext) -> None:
    _validated(context, lambda case: truth(case)[:10])
    with pytest.raises(WorkspaceError, match="do not fit the images") as caught:
        previous_labels(context)
    assert "train 3d_lowres again" in str(caught.value)


def test_the_first_stage_writes_in_the_voxels_of_the_second(context: FoldContext) -> None:
    first = replace(context, configuration_name="3d_lowres")
    found = next_stage(first)
    assert found is not None
    assert found.folder == context.run.fold("3d_lowres", "0").next_stage
    assert found.patch_size == PATCH
    assert found.store.properties("c0").shape == SHAPE


def test_the_first_stage_alone_writes_nothing_for_the_second(context: FoldContext) -> None:
    context.run.preprocessed("3d_fullres").rename(context.run.root / "elsewhere")
    assert next_stage(replace(context, configuration_name="3d_lowres")) is None


def _trained(context: FoldContext, steps: int) -> Mapping[str, float | None]:
    """Dice on validation patches of unseen cases after some steps."""
    task = SegmentationTask(context)
    optimizer = torch.optim.Adam(task.network.parameters(), lr=1e-2)
    with task.batches(range(steps), TRAINING) as batches:
        for batch in batches:
            optimizer.zero_grad()
            task.loss(task.network, batch).backward()
            optimizer.step()
    task.network.eval()
    with torch.no_grad(), task.batches(range(4), VALIDATION) as batches:
        return task.scores(sum(task.validation(task.network, batch)[1] for batch in batches))


def test_noise_with_the_true_labels_is_learnt_and_noise_without_is_not(context: FoldContext) -> None:
    """The channels lie where the target does, through rotation, scaling and mirrors, in training and validation."""
    _validated(context, truth)
    with_labels = _trained(context, 40)
    without = _trained(replace(context, configuration_name="3d_fullres"), 40)
    assert min(with_labels.values()) > 0.9, with_labels
    assert max(without.values()) < 0.6, without


def test_hard_places_are_looked_for_with_the_labels_too(context: FoldContext) -> None:
    _validated(context, truth)
    plan = context.plan
    hard = {name: item.with_(sampler={"name": "hard-location"}) for name, item in plan.configurations.items()}
    task = SegmentationTask(replace(context, plan=plan.with_(configurations=hard)))
    assert task.adapt(task.network, 0, lambda batch: batch)
