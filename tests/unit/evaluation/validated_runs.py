"""Runs whose folds are validated with logits made by hand: no network, no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import write_labels
from autoseg.data.image import Geometry, IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.evaluation.validation import score_validation
from autoseg.inference.export import export_labels
from autoseg.inference.probabilities import ProbabilityWriter, probability_file
from autoseg.inference.rows import WholeLogits
from autoseg.inference.uncertainty import ExpectedDice
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.undo import restore_labels
from autoseg.records import write_json
from autoseg.workspace import Run

PLAIN = LabelScheme(names={"background": 0, "organ": 3, "lesion": 7})
REGIONS = LabelScheme(
    names={"background": 0, "edema": 1, "core": 2}, regions={"whole": (1, 2), "core": (2,)}, region_order=(1, 2)
)
PROPERTIES = CaseProperties(
    channels=1,
    geometry=Geometry(spacing=(2.0, 1.0, 1.0)),
    transpose=(1, 0, 2),
    shape_before_crop=(14, 8, 12),
    crop_box=((1, 13), (0, 8), (2, 12)),
    shape=(9, 8, 7),
    spacing=(1.2, 2.0, 1.3),
)
"""The image is (8, 14, 12) voxels in its file."""


def make_run(
    folder: Path, scheme: LabelScheme = PLAIN, *, cases: int = 4, names: tuple[str, ...] = ("2d", "3d")
) -> Run:
    """A run with a data set and a plan, nothing trained."""
    run, training = Run(folder / "run"), []
    rng = np.random.default_rng(0)
    for i in range(cases):
        label = folder / "labels" / f"case{i}.nii.gz"
        write_labels(label, scheme.decode(rng.integers(0, 3, (8, 14, 12))), PROPERTIES.geometry)
        training.append(Case(id=f"case{i}", images=(folder / f"case{i}.nii.gz",), label=label))
    Dataset(
        name="made",
        folder=folder,
        layout="plain",
        channels=("CT",),
        labels=scheme,
        file_ending=".nii.gz",
        label_ending=".nii.gz",
        training=tuple(training),
    ).save(run.dataset)
    one = IntensityStatistics(mean=0, median=0, std=1, min=-1, max=1, percentile_00_5=-1, percentile_99_5=1)
    Plan(
        dataset="made",
        planner="default",
        channels=("CT",),
        labels=scheme,
        dimension=3,
        transpose_forward=(1, 0, 2),
        intensities=(one,),
        file_ending=".nii.gz",
        configurations={name: _configuration() for name in names},
    ).save(run.plan)
    return run


def logits_of(scheme: LabelScheme, seed: int) -> torch.Tensor:
    """Random logits in plan space."""
    return 2 * torch.randn((scheme.outputs, *PROPERTIES.shape), generator=torch.Generator().manual_seed(seed))


def validate(run: Run, name: str, fold: str, logits: dict[str, torch.Tensor], *, keep: bool = True) -> None:
    """Writes a fold's validation as `Predictor.predict_stored` and the pipeline do."""
    dataset, scheme, folder = Dataset.load(run.dataset), Plan.load(run.plan).labels, run.fold(name, fold)
    files, expected = {}, {}
    for case, one in logits.items():
        dice, writer = ExpectedDice(scheme), ProbabilityWriter(scheme.outputs, PROPERTIES)
        labels = export_labels([(WholeLogits(one), PROPERTIES)], scheme, [writer.add], dice)
        files[case] = folder.validation / f"{case}.nii.gz"
        write_labels(files[case], restore_labels(scheme.decode(labels), PROPERTIES), PROPERTIES.geometry)
        if keep:
            writer.save(probability_file(folder.probabilities, case))
        expected[case] = dice.result()
    write_json(folder.expected_dice, expected)
    score_validation(folder, dataset, files, f"{name} fold {fold}", workers=1)


def _configuration() -> ConfigurationPlan:
    return ConfigurationPlan(
        spacing=(1.2, 2.0, 1.3),
        median_shape=(9, 8, 7),
        patch_size=(8, 8, 8),
        batch_size=2,
        strides=((1, 1, 1), (2, 2, 2)),
        kernel_sizes=((3, 3, 3), (3, 3, 3)),
        features_per_stage=(4, 8),
        blocks_per_stage=(1, 1),
        decoder_blocks_per_stage=(1,),
        normalization=("z-score",),
        use_mask_for_norm=(False,),
        batch_dice=False,
    )
