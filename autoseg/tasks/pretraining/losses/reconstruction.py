"""Losses of an image that is restored: over masked blocks, or over all of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from autoseg.tasks.pretraining.blocks import to_blocks
from autoseg.tasks.pretraining.losses.precision import full

_SMALL = 1e-6


def masked_reconstruction(
    restored: Tensor, image: Tensor, mask: Tensor, block: Sequence[int], *, normalise: bool = False
) -> Tensor:
    """Mean squared error over the voxels of masked blocks; what is visible has no influence.

    Args:
        restored, image: (B, C, *space).
        mask: (B, *grid) bool, True where a block was hidden; without any, the loss is 0.
        block: voxels of a block along each axis; space = grid x block.
        normalise: compare with blocks of mean 0 and variance 1 (over voxels and channels), which weighs texture more
            than brightness.

    Raises:
        TrainingError: the space is no multiple of the block.

    Source: He et al. 2022 (MAE), arXiv:2111.06377, section 3; for convolutions Tian et al. 2023 (SparK),
    arXiv:2301.03580.
    """
    target = to_blocks(full(image), block)
    if normalise:
        target = normalised(target)
    prediction = to_blocks(full(restored), block)
    hidden = mask.flatten(1).to(prediction.dtype)
    errors = (prediction - target).square().mean(-1)
    return (errors * hidden).sum() / hidden.sum().clamp(min=1)


def normalised(blocks: Tensor) -> Tensor:
    """Blocks (..., voxels) with mean 0 and sample variance 1; a constant block becomes 0."""
    variance, mean = blocks.var(-1, keepdim=True), blocks.mean(-1, keepdim=True)
    return (blocks - mean) / (variance + _SMALL).sqrt()


def restoration(restored: Tensor, image: Tensor) -> Tensor:
    """Mean squared error over all voxels of (B, C, *space): the corrupted image is to become the original.

    Source: Zhou et al. 2019 (Models Genesis), arXiv:1908.06912.
    """
    return functional.mse_loss(full(restored), full(image))
