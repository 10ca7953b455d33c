"""Convolutions that are matrix products: those of a single voxel, and transposed ones whose blocks do not overlap.

In the channels-last layout the features of a voxel are a row of a matrix. On a CPU, oneDNN has no kernel for a
single-precision convolution of one voxel to a few channels (PyTorch's fallback is several times slower than it),
and a slow one for weights of transposed convolutions in bfloat16. Everything else takes the layer's own path; results
are equal to rounding.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float


def project(layer: nn.Module, features: Float[Tensor, "batch input *space"]) -> Float[Tensor, "batch output *space"]:
    """What a convolution with a kernel of one voxel gives: (B, C, *spatial) -> (B, outputs, *spatial)."""
    if not (features.dtype is torch.float32 and rows_are_voxels(features)):
        result: Tensor = layer(features)
        return result
    weight: Tensor = layer.weight.flatten(1)  # type: ignore[operator,assignment,union-attr]
    return functional.linear(features.movedim(1, -1), weight, layer.bias).movedim(-1, 1)  # type: ignore[arg-type]


def upsample(layer: nn.Module, features: Float[Tensor, "batch input *space"]) -> Float[Tensor, "batch output ..."]:
    """What a transposed convolution with a stride as large as its kernel gives.

    (B, C, *spatial) -> (B, outputs, *spatial * stride): each voxel's row becomes the rows of a block of voxels.
    """
    assert isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d))
    if not (features.dtype is torch.bfloat16 and rows_are_voxels(features)):
        return layer(features)
    batch, _, *size = features.shape
    stride, axes = layer.stride, range(1, len(size) + 1)
    matrix = layer.weight.movedim((0, 1), (-1, -2)).flatten(0, -2)  # (a block's voxels * outputs, C)
    bias = None if layer.bias is None else layer.bias.repeat(matrix.shape[0] // layer.out_channels)
    blocks = functional.linear(features.movedim(1, -1), matrix, bias).view(batch, *size, *stride, -1)
    order = chain.from_iterable((axis, axis + len(size)) for axis in axes)
    rows = blocks.permute(0, *order, -1).reshape(batch, *(n * s for n, s in zip(size, stride, strict=True)), -1)
    return rows.movedim(-1, 1)


def rows_are_voxels(features: Float[Tensor, "batch channel *space"]) -> bool:
    """Whether features (B, C, *spatial) lie channels-last in the memory of a CPU."""
    if features.device.type != "cpu" or features.ndim < 4 or features.is_contiguous():
        return False
    layout = torch.channels_last_3d if features.ndim == 5 else torch.channels_last
    return features.is_contiguous(memory_format=layout)
