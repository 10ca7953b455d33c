"""The transforms of `intensity`, each for all chosen channels of a batch at once.

A channel of a sample is a row of the batch; only rows that a transform was drawn for are taken out, changed and put
back. Which ones and by how much is known before (`pack_...`, on a worker), so that nothing here waits for a device:
no value is looked at, no shape depends on one. Blur and low resolution are both a product with one matrix per axis,
which runs at the speed of matrix multiplication and has no special cases at the border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from autoseg.batches.augment.intensity import BlurParameters, FactorParameters, Gamma, NoiseParameters, ZoomParameters
from autoseg.batches.augment.separable import gaussian_weights
from autoseg.batches.augment.transform import Shape

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Int64

Packed = tuple[Any, ...]
"""What a transform needs of a batch's parameters: arrays, which become tensors on the device, and plain values."""

_SMALLEST_RANGE = 1e-7


def pack_noise(_: Any, drawn: Sequence[NoiseParameters | None], shape: Shape) -> Packed | None:
    """(index of the sample, standard deviation, seed) of each sample with noise."""
    return tuple((i, p.sigma, p.seed) for i, p in enumerate(drawn) if p is not None) or None


def add_noise(
    image: Float32[Tensor, "batch channel *space"],
    labels: Int16[Tensor, "batch label *space"],
    *noisy: tuple[int, float, int],
) -> None:
    """Adds normal noise in place; its values depend on the sample's seed and the kind of device alone."""
    for index, sigma, seed in noisy:
        generator = torch.Generator(image.device).manual_seed(seed)
        image[index].add_(torch.empty_like(image[index]).normal_(generator=generator), alpha=sigma)


def pack_factors(_: Any, drawn: Sequence[FactorParameters | None], shape: Shape) -> Packed | None:
    """Rows int64 (n,) and their factors float32 (n, 1)."""
    rows = _rows((None if p is None else p.factors for p in drawn), shape[0])
    if not rows:
        return None
    return _index(rows), np.array([[factor] for _, factor in rows], np.float32)


def pack_gamma(transform: Gamma, drawn: Sequence[FactorParameters | None], shape: Shape) -> Packed | None:
    """As `pack_factors`, and whether the negative of the image is meant."""
    packed = pack_factors(transform, drawn, shape)
    return None if packed is None else (*packed, transform.invert)


def multiply(
    image: Float32[Tensor, "batch channel *space"],
    labels: Int16[Tensor, "batch label *space"],
    rows: Int64[Tensor, " row"],
    factors: Float32[Tensor, "row 1"],
) -> None:
    """Brightness: each row times its factor, in place.

    Args:
        image: float32 (B, C, *spatial), contiguous; changed in place.
        labels: int16 (B, L, *spatial), not looked at: every transform on the device takes them.
        rows: int64 (n,), which of the B * C channels are changed.
        factors: float32 (n, 1).
    """
    _change_rows(image, rows, lambda values: values.mul_(factors))


def stretch(
    image: Float32[Tensor, "batch channel *space"],
    labels: Int16[Tensor, "batch label *space"],
    rows: Int64[Tensor, " row"],
    factors: Float32[Tensor, "row 1"],
) -> None:
    """Contrast: each row stretched about its mean and cut to the range it had before, in place.

    Args:
        image: float32 (B, C, *spatial), contiguous; changed in place.
        labels: int16 (B, L, *spatial), not looked at: every transform on the device takes them.
        rows: int64 (n,), which of the B * C channels are changed.
        factors: float32 (n, 1), of the distance from the mean.
    """

    def change(values: Tensor) -> Tensor:
        lowest, highest = torch.aminmax(values, dim=1, keepdim=True)
        middle = values.mean(1, keepdim=True)
        return values.mul_(factors).add_(middle * (1 - factors)).clamp_(lowest, highest)

    _change_rows(image, rows, change)


def raise_to_power(
    image: Float32[Tensor, "batch channel *space"],
    labels: Int16[Tensor, "batch label *space"],
    rows: Int64[Tensor, " row"],
    exponents: Float32[Tensor, "row 1"],
    invert: bool,
) -> None:
    """Gamma: each row, scaled to [0, 1], to its power, with its former mean and deviation, in place.

    Args:
        image: float32 (B, C, *spatial), contiguous; changed in place.
        labels: int16 (B, L, *spatial), not looked at: every transform on the device takes them.
        rows: int64 (n,), which of the B * C channels are changed.
        exponents: float32 (n, 1).
        invert: whether the power is taken of the negative of the image.
    """

    def change(values: Tensor) -> Tensor:
        lowest, highest = torch.aminmax(values, dim=1, keepdim=True)
        extent = highest - lowest
        origin, span = (highest, -extent) if invert else (lowest, extent)
        varies = extent > _SMALLEST_RANGE
        unit = ((values - origin) / torch.where(varies, span, 1)).clamp_(min=0)
        deviation, mean = torch.std_mean(unit, 1, keepdim=True)
        powered = unit.pow_(exponents)
        new_deviation, new_mean = torch.std_mean(powered, 1, keepdim=True)
        scale = deviation / torch.maximum(new_deviation, _SMALLEST_RANGE / extent)
        powered.mul_(scale * span).add_(origin + span * (mean - new_mean * scale))
        return torch.where(varies, powered, values)

    _change_rows(image, rows, change)


def pack_blur(_: Any, drawn: Sequence[BlurParameters | None], shape: Shape) -> Packed | None:
    """Rows int64 (n,), and for each axis the rows' blur matrices float32 (n, length, length)."""
    rows = _rows((None if p is None else p.sigmas for p in drawn), shape[0])
    return _pack_matrices(rows, shape[1:], _blur_matrix)


def pack_low_resolution(_: Any, drawn: Sequence[ZoomParameters | None], shape: Shape) -> Packed | None:
    """Rows int64 (n,), and for each axis the rows' matrices (n, length, length); None for an axis that stays."""
    rows = _rows((None if p is None else p.zooms for p in drawn), shape[0])
    return _pack_matrices(rows, shape[1:], _coarsening_matrix)


def multiply_axes(
    image: Float32[Tensor, "batch channel *space"],
    labels: Int16[Tensor, "batch label *space"],
    rows: Int64[Tensor, " row"],
    *matrices: Float32[Tensor, "row _ _"] | None,
) -> None:
    """The lines of each row along each axis multiplied by the row's matrix of that axis (None: kept), in place."""
    spatial = image.shape[2:]

    def change(values: Tensor) -> Tensor:
        values = values.view(-1, *spatial)
        for axis, matrix in enumerate(matrices, start=1):
            if matrix is not None:
                lines = values.movedim(axis, 1)
                values = torch.bmm(matrix, lines.flatten(2)).view(lines.shape).movedim(1, axis)
        return values.flatten(1)

    _change_rows(image, rows, change)


def _change_rows(image: Tensor, rows: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """Replaces some rows, (n, voxels) of their own, of a contiguous image (B, C, *spatial)."""
    flat = image.view(image.shape[0] * image.shape[1], -1)
    flat.index_copy_(0, rows, change(flat.index_select(0, rows)))


def _rows(drawn: Iterable[Sequence[Any | None] | None], channels: int) -> list[tuple[int, Any]]:
    """(row, value) of each channel that has a value."""
    return [
        (sample * channels + channel, value)
        for sample, values in enumerate(drawn)
        for channel, value in enumerate(values or ())
        if value is not None
    ]


def _index(rows: Sequence[tuple[int, Any]]) -> np.ndarray:
    return np.array([row for row, _ in rows], np.int64)


def _pack_matrices(
    rows: Sequence[tuple[int, Sequence[float]]], spatial: Shape, matrix_of: Callable[[int, float], np.ndarray | None]
) -> Packed | None:
    by_axis: list[np.ndarray | None] = []
    for axis, length in enumerate(spatial):
        matrices = [matrix_of(length, values[axis]) for _, values in rows]
        same = np.eye(length, dtype=np.float32)
        kept = all(matrix is None for matrix in matrices)
        by_axis.append(None if kept else np.stack([same if matrix is None else matrix for matrix in matrices]))
    if all(matrix is None for matrix in by_axis):
        return None
    return _index(rows), *by_axis


def _blur_matrix(length: int, sigma: float) -> np.ndarray | None:
    """Gaussian blur of an axis, mirrored about its outermost voxels; None for a single voxel, which it keeps."""
    if length == 1:
        return None
    weights = gaussian_weights(sigma)
    half, period = len(weights) // 2, 2 * (length - 1)
    positions = np.arange(length)[:, None] + np.arange(-half, half + 1)
    mirrored = length - 1 - np.abs(length - 1 - positions % period)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None], mirrored), weights)
    return matrix.astype(np.float32)


def _coarsening_matrix(length: int, zoom: float) -> np.ndarray | None:
    """Nearest voxels of fewer, then linear back; None where the number of voxels stays."""
    fewer = max(1, round(length * zoom))
    if fewer == length:
        return None
    # torch's own interpolation of the identity, so that rounding is that of the transform on workers
    numbers = torch.arange(length, dtype=torch.float32).view(1, 1, -1)
    kept = interpolate(numbers, fewer, mode="nearest-exact").view(-1).long()
    enlarged = interpolate(torch.eye(fewer)[None], length, mode="linear")[0].T
    matrix = torch.zeros(length, length)
    matrix[:, kept] = enlarged
    return matrix.numpy()
