"""The transforms of `spatial` for the samples of a batch at once: cropping on a rotated grid, and mirroring.

The image goes through torch's fused sampling kernel. A label is the one with the largest share among the corners of
its cell, as in `affine`; here every cell is computed, since looking for the mixed ones would wait for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from autoseg.batches.augment.batched_intensity import Packed
from autoseg.batches.augment.spatial import MirrorParameters
from autoseg.batches.augment.transform import Shape

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Int64

_NEAREST_BONUS = 2.5e-4  # decides ties for the nearest voxel, as in `affine`
_AT_ONCE = 1 << 21  # voxels worked on at a time, about 240 bytes each: a patch of 128^3, or a batch of small ones


def crop(
    image: Float32[Tensor, "box channel *source"],
    labels: Int16[Tensor, "box label *source"],
    matrices: Float32[Tensor, "box axis axis"],
    centres: Float32[Tensor, "box axis"],
    patch_size: Shape,
) -> tuple[Float32[Tensor, "box channel *patch"], Int16[Tensor, "box label *patch"]]:
    """Patches at `centre + matrix @ (p - middle)` of their boxes for every voxel p.

    Args:
        image: float32 (m, C, *source); boxes that are smaller than the largest are 0 after their end.
        labels: int16 (m, L, *source), OUTSIDE there.
        matrices: float32 (m, d, d) of the last d axes, from patch to source offsets in voxels.
        centres: float32 (m, d), source positions (voxel centres at integers) of the patches' middles.
        patch_size: spatial shape of a patch; axes before the last d are as long as the source's.

    Returns:
        float32 (m, C, *patch_size) and int16 (m, L, *patch_size). What lies beyond the source is 0, and for labels
        has the value of the source's border.
    """
    dimension = matrices.shape[-1]
    plain = len(patch_size) - dimension
    shape = patch_size[plain:]
    # Axes that stay as they are (slices of a planar map) count as channels.
    flat_image, flat_labels = image.flatten(1, 1 + plain), labels.flatten(1, 1 + plain)
    at_once = max(1, _AT_ONCE // (int(np.prod(shape)) * flat_labels.shape[1]))
    images, targets = [], []
    for first in range(0, len(image), at_once):
        part = slice(first, first + at_once)
        positions = _places(matrices[part], centres[part], shape)
        images.append(_linear(flat_image[part], positions))
        targets.append(_largest_share(flat_labels[part], positions))
    return (
        torch.cat(images).view(*image.shape[:2], *patch_size),
        torch.cat(targets).view(*labels.shape[:2], *patch_size),
    )


def pack_mirror(_: Any, drawn: Sequence[MirrorParameters | None], shape: Shape) -> Packed | None:
    """For each set of axes that occurs: the axes, and the samples int64 (n,) that are flipped along them."""
    samples: dict[tuple[int, ...], list[int]] = {}
    for index, parameters in enumerate(drawn):
        if parameters is not None:
            samples.setdefault(parameters.axes, []).append(index)
    return tuple((axes, np.array(chosen, np.int64)) for axes, chosen in samples.items()) or None


def mirror(
    image: Float32[Tensor, "batch channel *space"],
    labels: Int16[Tensor, "batch label *space"],
    *groups: tuple[tuple[int, ...], Int64[Tensor, " _"]],
) -> None:
    """Flips samples in place."""
    for axes, samples in groups:
        flipped = [axis + 2 for axis in axes]
        for values in (image, labels):
            values.index_copy_(0, samples, values.index_select(0, samples).flip(flipped))


def _places(matrices: Tensor, centres: Tensor, shape: Shape) -> list[Tensor]:
    """For each source axis the coordinate (m, *shape) of each voxel."""
    dimension = len(shape)
    offsets = []
    for axis, length in enumerate(shape):
        offset = torch.arange(length, dtype=torch.float32, device=matrices.device) - (length - 1) / 2
        offsets.append(offset.view(1, *(length if other == axis else 1 for other in range(dimension))))
    one_a_sample = (-1, *(1,) * dimension)
    positions = []
    for row in range(dimension):
        position = centres[:, row].view(one_a_sample)
        for axis in reversed(range(dimension)):  # the largest tensor last
            position = position + offsets[axis] * matrices[:, row, axis].view(one_a_sample)
        positions.append(position)
    return positions


def _linear(image: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """Linear interpolation of (m, C, *source) at the places; 0 beyond the source."""
    # The kernel takes x first, and -1 and 1 for the outermost voxels.
    grid = [position * (2 / max(n - 1, 1)) - 1 for position, n in zip(positions, image.shape[2:], strict=True)]
    return grid_sample(image, torch.stack(grid[::-1], -1), mode="bilinear", padding_mode="zeros", align_corners=True)


def _largest_share(labels: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """The label (m, L, *shape) with the largest linear share among the 2^d corners of each voxel's cell."""
    source, shape = labels.shape[2:], positions[0].shape[1:]
    corner = torch.zeros_like(positions[0], dtype=torch.int64)
    nearest = torch.zeros_like(corner)
    shares = [torch.ones_like(positions[0])]
    for position, length in zip(positions, source, strict=True):
        position = position.clamp(0, length - 1)
        low = position.long().clamp_(max=max(length - 2, 0))
        weight = position - low
        corner = corner.mul_(length).add_(low)
        nearest = nearest.mul_(2).add_(weight >= 0.5)
        shares = [share * part for share in shares for part in (1 - weight, weight)]
    flat, expanded = labels.flatten(2), (-1, labels.shape[1], -1)
    strides = [int(np.prod(source[axis + 1 :])) for axis in range(len(source))]
    offsets = [sum(b * s for b, s in zip(bits, strides, strict=True)) for bits in product((0, 1), repeat=len(source))]
    corner = corner.flatten(1)[:, None]
    corners = torch.stack([flat.gather(2, (corner + offset).expand(expanded)) for offset in offsets])
    weights = torch.stack(shares).flatten(2)[:, :, None]
    own = corners.gather(0, nearest.flatten(1)[None, :, None].expand(1, *corners.shape[1:]))[0]
    best, winner = torch.full_like(weights[0], -1).expand(own.shape).contiguous(), own.clone()
    for candidate in corners:
        score = ((corners == candidate) * weights).sum(0).add_(own == candidate, alpha=_NEAREST_BONUS)
        torch.where(score > best, candidate, winner, out=winner)
        torch.maximum(best, score, out=best)
    return winner.view(*labels.shape[:2], *shape)
