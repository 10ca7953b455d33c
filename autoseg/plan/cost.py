"""What a candidate costs, in closed form: no network is built, so that thousands of candidates can be weighed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from autoseg.networks.layers import Layer
from autoseg.plan.layers import layers_of
from autoseg.plan.record import ConfigurationPlan

TRAINING_PASSES = 3
"""A step's work in forward passes: one forward, one for the gradients of inputs and one for those of weights."""


def parameters(configuration: ConfigurationPlan, channels: int, outputs: int) -> int:
    """Trainable values of the network, its heads for deep supervision included.

    Raises:
        PlanError: the network does not tell its layers; so for the other costs.
    """
    return sum(layer.parameters for layer in layers_of(configuration, channels, outputs))


def multiply_adds(configuration: ConfigurationPlan, channels: int, outputs: int) -> int:
    """Multiply-adds of the convolutions in one optimiser step (the whole batch, forward and backward).

    Norms, activations and the loss are not counted; a backward pass counts as two forward passes.
    """
    layers = layers_of(configuration, channels, outputs)
    heads = [layer for layer in layers if layer.kind == "head"]
    unused = 0 if configuration.deep_supervision else sum(head.multiply_adds for head in heads[:-1])
    forward = sum(layer.multiply_adds for layer in layers) - unused
    return TRAINING_PASSES * configuration.batch_size * forward


def feature_elements(layers: Iterable[Layer]) -> int:
    """Values in the layers' outputs of one sample, of several heads only the last: a yardstick of memory."""
    counted = list(layers)
    lower = [layer for layer in counted if layer.kind == "head"][:-1]
    return sum(layer.elements for layer in counted) - sum(head.elements for head in lower)


def receptive_field(configuration: ConfigurationPlan) -> tuple[int, ...]:
    """Theoretical receptive field in voxels per axis, of a voxel of the coarsest features: after the whole encoder.

    Of a network that never enlarges its features, it is that of a voxel of the output. The recursion of Araujo et al.
    2019 ("Computing receptive fields of convolutional neural networks", Distill): r = 1 + sum over layers of
    (kernel - 1) * dilation * product of the strides before it.

    Raises:
        PlanError: the network does not tell its layers.
    """
    field, jump = [1] * configuration.dimension, [1] * configuration.dimension
    for layer in way_down(layers_of(configuration, 1, 1)):  # kernels do not depend on channels
        for axis, (reach, stride) in enumerate(zip(layer.reach, layer.stride, strict=True)):
            field[axis] += (reach - 1) * jump[axis]
            jump[axis] *= stride
    return tuple(field)


def way_down(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers from the image to the coarsest features, without those on branches beside.

    All layers where none enlarges.
    """
    for layer in layers:
        if layer.kind in ("up", "interpolation"):
            return
        if not layer.aside and layer.kind != "projection":
            yield layer
