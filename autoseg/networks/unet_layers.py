"""The layers of the two U-Nets in closed form, equal to those of nnU-Net v2's networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from autoseg.networks.layers import Layer
from autoseg.plan.record import ConfigurationPlan

Sizes = tuple[tuple[int, ...], ...]


def plain_layers(configuration: ConfigurationPlan, channels: int, outputs: int) -> tuple[Layer, ...]:
    """All layers of a plain U-Net in the order of computation, as nnU-Net v2's `PlainConvUNet` has them.

    Args:
        configuration: the planned network.
        channels: channels of its input, the previous stage's prediction included.
        outputs: channels of its output; there is a head at every decoder stage.
    """
    sizes = feature_map_sizes(configuration)
    return (*_plain_encoder(configuration, channels, sizes), *_decoder(configuration, outputs, sizes))


def residual_layers(configuration: ConfigurationPlan, channels: int, outputs: int) -> tuple[Layer, ...]:
    """The same of a U-Net with a residual encoder, as nnU-Net v2's `ResidualEncoderUNet` has them.

    Args:
        configuration: the planned network.
        channels: channels of its input, the previous stage's prediction included.
        outputs: channels of its output; there is a head at every decoder stage.
    """
    sizes = feature_map_sizes(configuration)
    return (*_residual_encoder(configuration, channels, sizes), *_decoder(configuration, outputs, sizes))


def feature_map_sizes(configuration: ConfigurationPlan) -> Sizes:
    """Voxels of a feature map per axis, for each stage."""
    sizes = []
    size = configuration.patch_size
    for stride in configuration.strides:
        size = tuple(edge // s for edge, s in zip(size, stride, strict=True))
        sizes.append(size)
    return tuple(sizes)


def feature_map_elements(
    patch_size: Sequence[int],
    strides: Sequence[Sequence[int]],
    features: Sequence[int],
    blocks: Sequence[int],
    decoder_blocks: Sequence[int],
    outputs: int,
    *,
    residual: bool,
) -> int:
    """Values in the convolutions' outputs of one sample: nnU-Net's yardstick of a network's memory.

    Equal to `compute_conv_feature_map_size` of nnU-Net's `PlainConvUNet` (`residual=False`) and `ResidualEncoderUNet`
    (`residual=True`) without deep supervision. A residual block counts its two convolutions, and its skip path where
    that pools or projects; a decoder stage counts its transposed convolution and its blocks; of the heads only the
    last counts.

    Args:
        patch_size: voxels of the input, divisible by the strides' product.
        strides, features, blocks: a value per stage, highest resolution first; the first stride is all 1.
        decoder_blocks: convolutions per decoder stage, deepest first (one value less).
        outputs: channels of the last head.
        residual: whether the encoder's blocks are residual.
    """
    last = len(strides) - 1
    voxels = prod(patch_size)
    total = voxels * (features[0] if residual else 0)  # the stem
    if last:
        total += voxels * outputs
    for stage in range(last + 1):
        voxels //= prod(strides[stage])
        convolutions_here = blocks[stage]
        if residual:
            skip = stage > 0  # the first block of a stage pools, and so has a skip path of its own
            convolutions_here = 2 * blocks[stage] + skip
        if stage < last:
            convolutions_here += decoder_blocks[last - 1 - stage] + 1
        total += voxels * features[stage] * convolutions_here
    return total


def _plain_encoder(configuration: ConfigurationPlan, channels: int, sizes: Sizes) -> Iterator[Layer]:
    for stage, features in enumerate(configuration.features_per_stage):
        for block in range(configuration.blocks_per_stage[stage]):
            stride = configuration.strides[stage] if block == 0 else (1,) * configuration.dimension
            yield Layer("block", channels, features, configuration.kernel_sizes[stage], sizes[stage], stride)
            channels = features


def _residual_encoder(configuration: ConfigurationPlan, channels: int, sizes: Sizes) -> Iterator[Layer]:
    ones = (1,) * configuration.dimension
    stem = configuration.features_per_stage[0]
    yield Layer("block", channels, stem, configuration.kernel_sizes[0], configuration.patch_size, ones)
    channels = stem
    for stage, features in enumerate(configuration.features_per_stage):
        kernel, size = configuration.kernel_sizes[stage], sizes[stage]
        for block in range(configuration.blocks_per_stage[stage]):
            stride = configuration.strides[stage] if block == 0 else ones
            if channels != features:
                yield Layer("projection", channels, features, ones, size, stride)
            yield Layer("block", channels, features, kernel, size, stride)
            yield Layer("block", features, features, kernel, size, ones)
            channels = features


def _decoder(configuration: ConfigurationPlan, outputs: int, sizes: Sizes) -> Iterator[Layer]:
    ones = (1,) * configuration.dimension
    for depth, blocks in enumerate(configuration.decoder_blocks_per_stage):
        stage = configuration.stages - 2 - depth
        below, features = configuration.features_per_stage[stage + 1], configuration.features_per_stage[stage]
        stride = configuration.strides[stage + 1]
        yield Layer("up", below, features, stride, sizes[stage], stride)
        channels = 2 * features
        for _ in range(blocks):
            yield Layer("block", channels, features, configuration.kernel_sizes[stage], sizes[stage], ones)
            channels = features
        yield Layer("head", features, outputs, ones, sizes[stage], ones)
