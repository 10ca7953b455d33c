"""Run folders with random weights: all that inference needs, without a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.networks.build import build_network
from autoseg.plan.layers import input_channels
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.records import write_json
from autoseg.training.checkpoint import save_checkpoint
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run

LABELS = LabelScheme(names={"background": 0, "liver": 1, "tumour": 2})
REGIONS = LabelScheme(
    names={"background": 0, "core": 1, "rim": 2}, regions={"whole": (1, 2), "core": (1,)}, region_order=(2, 1)
)
STATISTICS = IntensityStatistics(
    mean=1.0, median=1.0, std=2.0, min=-3.0, max=5.0, percentile_00_5=-2.0, percentile_99_5=4.0
)


def configuration(dimension: int, network: str = "plain-unet", **changes: object) -> ConfigurationPlan:
    """Two stages, four and eight features, patches of 8 voxels an axis at 1 mm; no mirroring."""
    one, two = (1,) * dimension, (2,) * dimension
    plan = ConfigurationPlan(
        spacing=(1.0,) * dimension,
        median_shape=(8.0,) * dimension,
        patch_size=(8,) * dimension,
        batch_size=2,
        network=network,
        strides=(one, two),
        kernel_sizes=((3,) * dimension,) * 2,
        features_per_stage=(4, 8),
        blocks_per_stage=(1, 1),
        decoder_blocks_per_stage=(1,),
        normalization=("z-score",),
        use_mask_for_norm=(False,),
        batch_dice=False,
    )
    return plan.with_(**changes)


def random_run(
    root: Path,
    configurations: Mapping[str, ConfigurationPlan],
    folds: Mapping[str, Sequence[str]],
    *,
    labels: LabelScheme = LABELS,
    best: Sequence[str] | None = None,
) -> Run:
    """A run folder of 3D images with one channel and random weights, a different draw for each fold.

    Args:
        folds: configuration -> names of the folds that are "trained".
        best: what the summary has chosen; None writes no summary.
    """
    run = Run(root)
    plan = Plan(
        dataset="Liver", planner="default", channels=("CT",), labels=labels, dimension=3, transpose_forward=(0, 1, 2),
        intensities=(STATISTICS,), file_ending=".nii.gz", configurations=dict(configurations),
    )  # fmt: skip
    plan.save(run.plan)
    for name, keys in folds.items():
        item = plan.configurations[name]
        for seed, key in enumerate(keys):
            network = build_network(item, input_channels(item, 1, labels), labels.outputs, seed=seed)
            state = {
                "network": network.state_dict(),
                "optimizer": {"momentum": [1.0] * 50},
                "task": {"places": {"patient_0815": [1, 2, 3]}},
                "runtime": Runtime().model_dump(),
                "step": 7,
            }
            save_checkpoint(run.fold(name, key).final, state)
    if best is not None:
        entries = {name: {"foreground_mean": {"dice": 0.5}, "folds": {"0": 0.5}, "cases": 3} for name in folds}
        chosen = {
            "configurations": list(best), "foreground_mean_dice": 0.8, "postprocessing": [],
            "foreground_mean_dice_postprocessed": 0.9, "predict": f"autoseg predict {root} IMAGES --out DIR",
        }  # fmt: skip
        write_json(run.summary, {"configurations": entries, "best": chosen})
    return run
