"""What a candidate costs, in closed form: no network is built, so that thousands of candidates can be weighed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from autoseg.plan.layers import convolutions
from autoseg.plan.record import ConfigurationPlan

TRAINING_PASSES = 3
"""A step's work in forward passes: one forward, one for the gradients of inputs and one for those of weights."""


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
        strides, features, blocks: a value a stage, highest resolution first; the first stride is all 1.
        decoder_blocks: convolutions a decoder stage, deepest first (one value less).
        outputs: channels of the last head.
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


def parameters(configuration: ConfigurationPlan, channels: int, outputs: int) -> int:
    """Trainable values of the network, its heads for deep supervision included."""
    return sum(layer.parameters for layer in convolutions(configuration, channels, outputs))


def multiply_adds(configuration: ConfigurationPlan, channels: int, outputs: int) -> int:
    """Multiply-adds of the convolutions in one optimiser step (the whole batch, forward and backward).

    Norms, activations and the loss are not counted; a backward pass counts as two forward passes.
    """
    layers = convolutions(configuration, channels, outputs)
    heads = [layer for layer in layers if layer.kind == "head"]
    unused = 0 if configuration.deep_supervision else sum(head.multiply_adds for head in heads[:-1])
    forward = sum(layer.multiply_adds for layer in layers) - unused
    return TRAINING_PASSES * configuration.batch_size * forward


def receptive_field(configuration: ConfigurationPlan) -> tuple[int, ...]:
    """Theoretical receptive field in voxels an axis, of a bottleneck voxel after the whole encoder.

    The recursion of Araujo et al. 2019 ("Computing receptive fields of convolutional neural networks", Distill):
    r = 1 + sum over convolutions of (kernel - 1) * product of the strides before it.
    """
    residual = configuration.network == "residual-encoder-unet"
    field = [1] * configuration.dimension
    jump = [1] * configuration.dimension
    for stage, blocks in enumerate(configuration.blocks_per_stage):
        convolutions_here = 2 * blocks if residual else blocks
        if residual and stage == 0:
            convolutions_here += 1  # the stem
        for axis, (kernel, stride) in enumerate(
            zip(configuration.kernel_sizes[stage], configuration.strides[stage], strict=True)
        ):
            # the first convolution of a stage reads the finer grid and strides over it
            field[axis] += (kernel - 1) * jump[axis]
            jump[axis] *= stride
            field[axis] += (kernel - 1) * jump[axis] * (convolutions_here - 1)
    return tuple(field)
