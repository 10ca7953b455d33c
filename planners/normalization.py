"""Which normalisation a channel gets, from its name (nnU-Net v2's table)."""

from __future__ import annotations

from collections.abc import Sequence

BY_CHANNEL_NAME = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "z-score",
    "rescale_to_0_1": "rescale",
    "rgb_to_0_1": "rgb",
}
"""Channel name, in lower case -> plug-in of kind "normalization". Every other name means z-score."""

MASK_BELOW = 0.75
"""Where the crop to the non-zero region leaves less than this share of the voxels, only that region is normalised."""


def normalizations(channels: Sequence[str]) -> tuple[str, ...]:
    """The normalisation of each channel."""
    return tuple(BY_CHANNEL_NAME.get(name.casefold(), "z-score") for name in channels)


def use_mask(schemes: Sequence[str], relative_size: float) -> tuple[bool, ...]:
    """Whether each channel is normalised inside the non-zero region alone; only z-score knows how to.

    Args:
        schemes: normalisation per channel.
        relative_size: median share of an image's voxels that is left after the crop.
    """
    return tuple(scheme == "z-score" and relative_size < MASK_BELOW for scheme in schemes)
