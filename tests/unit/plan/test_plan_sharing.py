"""Configurations with the same preprocessed cases share one store, others do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.plan.sharing import store_of


@pytest.mark.parametrize(
    ("changes", "store"),
    [
        ({"previous_stage": "3d_lowres", "batch_size": 5, "features_per_stage": (4,)}, "3d_fullres"),
        ({"spacing": (1.0, 1.0, 2.0)}, "other"),
        ({"patch_size": (8, 8, 16)}, "other"),
        ({"normalization": ("ct",)}, "other"),
        ({"use_mask_for_norm": (True,)}, "other"),
    ],
)
def test_a_store_is_shared_where_nothing_stored_differs(
    configuration: Callable[..., ConfigurationPlan], changes: dict[str, object], store: str
) -> None:
    full = configuration((8, 8, 8), ((1, 1, 1),), ((3, 3, 3),), (8,), (2,), ())
    plan = Plan(
        dataset="test",
        planner="default",
        channels=("MRI",),
        labels=LabelScheme(names={"background": 0, "a": 1}),
        dimension=3,
        transpose_forward=(0, 1, 2),
        intensities=(IntensityStatistics(0.5, 0.5, 0.2, 0.0, 1.0, 0.01, 0.99),),
        file_ending=".nii.gz",
        configurations={"3d_fullres": full, "other": full.with_(**changes)},
    )
    assert store_of(plan, "3d_fullres") == "3d_fullres"
    assert store_of(plan, "other") == store
