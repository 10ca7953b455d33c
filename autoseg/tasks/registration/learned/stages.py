"""The stages of a registration network: what sees the images, and what compares their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.networks.convolution import Convolution3d
from autoseg.networks.normalization import InstanceNorm
from autoseg.tasks.registration.learned.correlation import correlate
from autoseg.tasks.registration.learned.settings import LearnedPlan

LEAK = 0.1
"""Slope of the leaky ReLU for negative inputs."""

_MANY = 8

_MODES = {2: "bilinear", 3: "trilinear"}


def enlarged(features: Tensor, size: Sequence[int]) -> Tensor:
    """Features (B, F, *S) by linear interpolation at another size of the same field of view.

    On a CPU, where they are many, they pass through the layout in which a voxel's features lie together: there this is
    ten times as fast.
    """
    if features.device.type == "cpu" and features.ndim == 5 and features.shape[1] >= _MANY:
        features = features.contiguous(memory_format=torch.channels_last_3d)
    return functional.interpolate(features, size=tuple(size), mode=_MODES[len(size)], align_corners=False)


class Block(nn.Module):
    """Convolution, instance norm where planned, leaky ReLU: (B, inputs, *S) -> (B, outputs, *S / stride).

    The kernel is centred on the voxels that it replaces: 3 wide, or 4 wide where it halves.
    """

    def __init__(self, plan: LearnedPlan, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        make = nn.Conv2d if plan.dimension == 2 else Convolution3d
        self.conv = make(inputs, outputs, stride + 2, stride, 1)
        nn.init.kaiming_normal_(self.conv.weight, a=LEAK)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        self.norm = InstanceNorm(outputs) if plan.normalize else None

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(features)
        if self.norm is not None:
            features = self.norm(features)
        return functional.leaky_relu(features, LEAK)


class Encoder(nn.Module):
    """Features of images at all stages: (B, C, *S) -> [(B, features[i], *S / (flow_stride * 2^i)), ...]."""

    def __init__(self, plan: LearnedPlan, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        inputs, stride = channels, plan.flow_stride
        for width in plan.features:
            self.stages.append(nn.Sequential(Block(plan, inputs, width, stride), Block(plan, width, width)))
            inputs, stride = width, 2

    def forward(self, images: Tensor) -> list[Tensor]:
        pyramid = []
        features = images
        for stage in self.stages:
            features = stage(features)
            pyramid.append(features)
        return pyramid


class Refinement(nn.Module):
    """A stage of the decoder: features of the pair, and the coarser stage's state, to a state (B, width, *S)."""

    def __init__(self, plan: LearnedPlan, inputs: int, width: int, code: int) -> None:
        super().__init__()
        self.radius = plan.correlation_radius
        self.first, self.second = Block(plan, inputs, width), Block(plan, width, width)
        self.modulation = nn.Linear(code, 2 * width) if code else None

    def forward(self, features: tuple[Tensor, ...], state: Tensor | None, code: Tensor | None) -> Tensor:
        """The state of this stage, from features of the images and the coarser stage's.

        Args:
            features: of the pair, or of the fixed and the warped moving image, (B, F, *S) each.
            state: of the coarser stage, (B, F', *S / 2), or None at the coarsest.
            code: (B, code) of the regulariser's weight.
        """
        parts = list(features)
        if self.radius:
            parts.append(correlate(features[0], features[1], self.radius))
        if state is not None:
            parts.append(enlarged(state, features[0].shape[2:]))
        inner = self.first(torch.cat(parts, dim=1))
        if self.modulation is not None:
            scale, shift = self.modulation(code).unflatten(1, (2, -1, *[1] * (inner.ndim - 2))).unbind(1)
            inner = inner * (1 + scale) + shift
        result: Tensor = self.second(inner)
        return result
