"""The convolutions of a planned U-Net, listed without building it: what parameters, work and memory are summed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.plan.record import ConfigurationPlan

Kind = Literal["block", "projection", "up", "head"]


@dataclass(frozen=True)
class Convolution:
    """One convolution of a network and what comes with it.

    Attributes:
        kind: "block" (convolution, instance norm, leaky ReLU; with bias), "projection" (1x1 convolution on a residual
            block's skip path and instance norm; no bias), "up" (transposed convolution; with bias, no norm) or
            "head" (1x1 convolution to the outputs; with bias, no norm).
        in_channels, out_channels: feature maps in and out.
        kernel: kernel size an axis; of a transposed convolution also its stride.
        size: voxels of one output feature map an axis.
        stride: stride an axis ("block": of the convolution, "projection": of the average pooling before it).
    """

    kind: Kind
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def voxels(self) -> int:
        """Voxels of one output feature map."""
        return prod(self.size)

    @property
    def elements(self) -> int:
        """Values of the output, a sample."""
        return self.out_channels * self.voxels

    @property
    def parameters(self) -> int:
        """Trainable values: kernel, bias, and scale and shift of the norm."""
        kernel = self.in_channels * self.out_channels * prod(self.kernel)
        bias = 0 if self.kind == "projection" else self.out_channels
        norm = 2 * self.out_channels if self.kind in ("block", "projection") else 0
        return kernel + bias + norm

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass, a sample. A transposed one's outputs each see one input voxel."""
        taps = 1 if self.kind == "up" else prod(self.kernel)
        return self.elements * self.in_channels * taps


def convolutions(configuration: ConfigurationPlan, channels: int, outputs: int) -> tuple[Convolution, ...]:
    """All convolutions of a configuration's network, in the order of computation.

    The network is that of nnU-Net v2's `PlainConvUNet` or `ResidualEncoderUNet`, with a head at every decoder stage.

    Args:
        configuration: the planned network.
        channels: channels of its input, the previous stage's prediction included.
        outputs: channels of its output.

    Raises:
        PlanError: the layers of a network of this name are not known.
    """
    encoder = _ENCODERS.get(configuration.network)
    if encoder is None:
        raise PlanError(
            f"the cost of a network {configuration.network!r} is not known",
            expected="one of " + ", ".join(sorted(_ENCODERS)),
        )
    sizes = feature_map_sizes(configuration)
    return (*encoder(configuration, channels, sizes), *_decoder(configuration, outputs, sizes))


def feature_map_sizes(configuration: ConfigurationPlan) -> tuple[tuple[int, ...], ...]:
    """Voxels of a feature map an axis, for each stage."""
    sizes = []
    size = configuration.patch_size
    for stride in configuration.strides:
        size = tuple(edge // s for edge, s in zip(size, stride, strict=True))
        sizes.append(size)
    return tuple(sizes)


def input_channels(configuration: ConfigurationPlan, channels: int, labels: LabelScheme) -> int:
    """Channels of a network's input: the image's, and in a cascade one a foreground label of the previous stage."""
    return channels + (len(labels.values) - 1 if configuration.previous_stage else 0)


def _plain_encoder(plan: ConfigurationPlan, channels: int, sizes: tuple[tuple[int, ...], ...]) -> Iterator[Convolution]:
    for stage, features in enumerate(plan.features_per_stage):
        for block in range(plan.blocks_per_stage[stage]):
            stride = plan.strides[stage] if block == 0 else (1,) * plan.dimension
            yield Convolution("block", channels, features, plan.kernel_sizes[stage], sizes[stage], stride)
            channels = features


def _residual_encoder(
    plan: ConfigurationPlan, channels: int, sizes: tuple[tuple[int, ...], ...]
) -> Iterator[Convolution]:
    ones = (1,) * plan.dimension
    stem = plan.features_per_stage[0]
    yield Convolution("block", channels, stem, plan.kernel_sizes[0], plan.patch_size, ones)
    channels = stem
    for stage, features in enumerate(plan.features_per_stage):
        kernel, size = plan.kernel_sizes[stage], sizes[stage]
        for block in range(plan.blocks_per_stage[stage]):
            stride = plan.strides[stage] if block == 0 else ones
            if channels != features:
                yield Convolution("projection", channels, features, ones, size, stride)
            yield Convolution("block", channels, features, kernel, size, stride)
            yield Convolution("block", features, features, kernel, size, ones)
            channels = features


def _decoder(plan: ConfigurationPlan, outputs: int, sizes: tuple[tuple[int, ...], ...]) -> Iterator[Convolution]:
    ones = (1,) * plan.dimension
    for depth, blocks in enumerate(plan.decoder_blocks_per_stage):
        stage = plan.stages - 2 - depth
        below, features = plan.features_per_stage[stage + 1], plan.features_per_stage[stage]
        stride = plan.strides[stage + 1]
        yield Convolution("up", below, features, stride, sizes[stage], stride)
        channels = 2 * features
        for _ in range(blocks):
            yield Convolution("block", channels, features, plan.kernel_sizes[stage], sizes[stage], ones)
            channels = features
        yield Convolution("head", features, outputs, ones, sizes[stage], ones)


_Encoder = Callable[[ConfigurationPlan, int, tuple[tuple[int, ...], ...]], Iterator[Convolution]]
_ENCODERS: dict[str, _Encoder] = {"plain-unet": _plain_encoder, "residual-encoder-unet": _residual_encoder}
