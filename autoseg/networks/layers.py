"""What a layer of a network costs, in closed form: nothing is built, so that thousands of candidates can be weighed."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

Kind = Literal["block", "convolution", "projection", "up", "head", "pooling", "interpolation"]
"""Of a layer, with what belongs to it beside the convolution:

- "block": bias, normalisation with scale and shift, activation;
- "convolution": bias and activation, no normalisation;
- "projection": normalisation, no bias and no activation, on the skip path of a residual block;
- "up": transposed, with bias, no normalisation; its output is joined with that of a skip connection;
- "head": to the outputs, with bias, no normalisation; of several the last is that at full resolution;
- "pooling", "interpolation": to a coarser and to a finer grid, nothing to be trained.
"""

_UNTRAINED = ("pooling", "interpolation")


@dataclass(frozen=True)
class Layer:
    """One layer of a network and what comes with it.

    Attributes:
        kind: see `Kind`.
        in_channels, out_channels: feature maps in and out.
        kernel: kernel size per axis; of a transposed convolution also its stride.
        size: voxels of one output feature map per axis.
        stride: stride per axis ("projection": of the average pooling before it).
        dilation: distance of the kernel's taps per axis; empty means 1 along each.
        groups: of feature maps that are convolved apart.
        aside: the layer lies on a branch beside the path on which the receptive field grows most, as every "projection"
            does.
    """

    kind: Kind
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...] = ()
    groups: int = 1
    aside: bool = False

    @property
    def voxels(self) -> int:
        """Voxels of one output feature map."""
        return prod(self.size)

    @property
    def elements(self) -> int:
        """Values of the output, per sample."""
        return self.out_channels * self.voxels

    @property
    def parameters(self) -> int:
        """Trainable values: kernel, bias, and scale and shift of the normalisation."""
        if self.kind in _UNTRAINED:
            return 0
        kernel = self.in_channels * self.out_channels * prod(self.kernel) // self.groups
        bias = 0 if self.kind == "projection" else self.out_channels
        norm = 2 * self.out_channels if self.kind in ("block", "projection") else 0
        return kernel + bias + norm

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass, per sample. A transposed one's outputs each see one input voxel."""
        if self.kind in _UNTRAINED:
            return 0
        taps = 1 if self.kind == "up" else prod(self.kernel)
        return self.elements * self.in_channels * taps // self.groups

    @property
    def reach(self) -> tuple[int, ...]:
        """Voxels of its input, per axis, from the first to the last that one output voxel sees."""
        dilation = self.dilation or (1,) * len(self.kernel)
        return tuple((edge - 1) * distance + 1 for edge, distance in zip(self.kernel, dilation, strict=True))
