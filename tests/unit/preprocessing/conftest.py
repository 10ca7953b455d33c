"""Plans for tests of preprocessing: only what preprocessing looks at matters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.plan.record import ConfigurationPlan, Plan

STATISTICS = IntensityStatistics(
    mean=400.0, median=390.0, std=250.0, min=0.0, max=1000.0, percentile_00_5=20.0, percentile_99_5=900.0
)
LABELS = LabelScheme(names={"background": 0, "a": 1, "b": 2, "c": 3})


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., Plan]:
    """A function that makes a plan with one configuration "test"."""

    def make(
        spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
        transpose: tuple[int, int, int] = (0, 1, 2),
        normalization: tuple[str, ...] = ("z-score",),
        use_mask: tuple[bool, ...] = (False,),
        labels: LabelScheme = LABELS,
        patch_size: tuple[int, ...] | None = None,
    ) -> Plan:
        configuration = ConfigurationPlan(
            spacing=spacing,
            median_shape=(16,) * len(spacing),
            patch_size=patch_size or (16,) * len(spacing),
            batch_size=2,
            strides=((1,) * len(spacing),),
            kernel_sizes=((3,) * len(spacing),),
            features_per_stage=(8,),
            blocks_per_stage=(2,),
            decoder_blocks_per_stage=(),
            normalization=normalization,
            use_mask_for_norm=use_mask,
            batch_dice=False,
        )
        return Plan(
            dataset="test",
            planner="default",
            channels=tuple(f"channel {i}" for i in range(len(normalization))),
            labels=labels,
            dimension=3,
            transpose_forward=transpose,
            intensities=(STATISTICS,) * len(normalization),
            file_ending=".nii.gz",
            configurations={"test": configuration},
        )

    return make
