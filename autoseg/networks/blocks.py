"""Convolution blocks that the U-Nets are made of, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from autoseg.networks.convolution import Convolution3d
from autoseg.networks.normalization import InstanceNorm

if TYPE_CHECKING:
    from jaxtyping import Float

Size = Sequence[int]

_CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: Convolution3d}
_UPSAMPLINGS: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
_POOLINGS: dict[int, type[nn.AvgPool2d] | type[nn.AvgPool3d]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}

LEAK = 1e-2
"""Slope of the leaky ReLU for negative inputs."""


def convolution(
    dimension: int, inputs: int, outputs: int, kernel: Size, stride: Size, *, bias: bool = True
) -> nn.Module:
    """A convolution with "same" padding.

    Args:
        dimension: 2 or 3.
        inputs: channels before it.
        outputs: channels after it.
        kernel: voxels per axis; odd.
        stride: voxels per axis.
        bias: whether it adds a learned constant per channel.
    """
    padding = tuple(k // 2 for k in kernel)
    return _CONVOLUTIONS[dimension](inputs, outputs, tuple(kernel), tuple(stride), padding, bias=bias)  # type: ignore[arg-type]


def upsampling(dimension: int, inputs: int, outputs: int, stride: Size) -> nn.Module:
    """A transposed convolution that undoes a stride.

    Args:
        dimension: 2 or 3.
        inputs: channels before it.
        outputs: channels after it.
        stride: per axis; the kernel has the same size.
    """
    return _UPSAMPLINGS[dimension](inputs, outputs, tuple(stride), tuple(stride))  # type: ignore[arg-type]


class ConvBlock(nn.Module):
    """Convolution, instance norm, leaky ReLU (the last optional): (B, inputs, *) -> (B, outputs, * / stride)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Size, stride: Size, *, bias: bool = True, activation: bool = True
    ) -> None:
        super().__init__()
        self.conv = convolution(len(kernel), inputs, outputs, kernel, stride, bias=bias)
        self.norm = InstanceNorm(outputs)
        self.slope = LEAK if activation else None

    def forward(self, features: Float[Tensor, "batch input *space"]) -> Float[Tensor, "batch output ..."]:
        result: Tensor = self.norm(self.conv(features), self.slope, in_place=True)
        return result


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut (He et al., 2016), with the average-pooled shortcut of ResNet-D.

    The shortcut is pooled where the block strides and projected by a 1x1 convolution where the width changes
    (He, T. et al., 2019, "Bag of Tricks", arXiv:1812.01187).
    """

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        dimension, ones = len(kernel), (1,) * len(kernel)
        self.first = ConvBlock(inputs, outputs, kernel, stride)
        self.second = ConvBlock(outputs, outputs, kernel, ones, activation=False)
        shortcut: list[nn.Module] = []
        if any(s != 1 for s in stride):
            shortcut.append(_POOLINGS[dimension](tuple(stride), tuple(stride)))  # type: ignore[arg-type]
        if inputs != outputs:
            shortcut.append(ConvBlock(inputs, outputs, ones, ones, bias=False, activation=False))
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = nn.LeakyReLU(LEAK, inplace=True)

    def forward(self, features: Float[Tensor, "batch input *space"]) -> Float[Tensor, "batch output ..."]:
        result: Tensor = self.activation(self.second(self.first(features)) + self.shortcut(features))
        return result


def conv_stage(blocks: int, inputs: int, outputs: int, kernel: Size, stride: Size) -> nn.Sequential:
    """`blocks` convolution blocks, the first of which strides.

    Args:
        blocks: at least one.
        inputs: channels before the stage.
        outputs: channels of all its blocks.
        kernel: voxels per axis; odd.
        stride: per axis, of the first block; the others have 1.
    """
    ones = (1,) * len(kernel)
    return nn.Sequential(
        *(ConvBlock(inputs if i == 0 else outputs, outputs, kernel, stride if i == 0 else ones) for i in range(blocks))
    )


def residual_stage(blocks: int, inputs: int, outputs: int, kernel: Size, stride: Size) -> nn.Sequential:
    """`blocks` residual blocks, the first of which strides.

    Args:
        blocks: at least one.
        inputs: channels before the stage.
        outputs: channels of all its blocks.
        kernel: voxels per axis; odd.
        stride: per axis, of the first block; the others have 1.
    """
    ones = (1,) * len(kernel)
    return nn.Sequential(
        *(
            ResidualBlock(inputs if i == 0 else outputs, outputs, kernel, stride if i == 0 else ones)
            for i in range(blocks)
        )
    )


def initialise(network: nn.Module) -> None:
    """nnU-Net's initial weights: He normal for the leaky ReLU, zero biases, residual branches that start at zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            nn.init.kaiming_normal_(module.weight, a=LEAK)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.second.norm.weight)
            nn.init.zeros_(module.second.norm.bias)
