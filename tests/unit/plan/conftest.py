from __future__ import annotations

from collections.abc import Callable

import pytest

from autoseg.plan.record import ConfigurationPlan


@pytest.fixture
def configuration() -> Callable[..., ConfigurationPlan]:
    """Makes a configuration of a given shape; everything else is plain."""

    def make(
        patch: tuple[int, ...],
        strides: tuple[tuple[int, ...], ...],
        kernels: tuple[tuple[int, ...], ...],
        features: tuple[int, ...],
        blocks: tuple[int, ...],
        decoder: tuple[int, ...],
        **more: object,
    ) -> ConfigurationPlan:
        fields: dict[str, object] = {
            "spacing": (1.0,) * len(patch),
            "median_shape": patch,
            "patch_size": patch,
            "batch_size": 1,
            "strides": strides,
            "kernel_sizes": kernels,
            "features_per_stage": features,
            "blocks_per_stage": blocks,
            "decoder_blocks_per_stage": decoder,
            "normalization": ("z-score",),
            "use_mask_for_norm": (False,),
            "batch_dice": True,
        }
        return ConfigurationPlan.from_mapping({**fields, **more})

    return make
