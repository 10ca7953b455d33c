"""Estimated accelerator memory of training a configuration, in closed form."""

from __future__ import annotations

from math import prod

from autoseg.networks.layers import Layer
from autoseg.plan.layers import layers_of
from autoseg.plan.record import ConfigurationPlan

_SINGLE, _HALF = 4, 2  # bytes per value
_STATES = 3  # weights, their gradients and the momentum of SGD, all in single precision
_LOSS_COPIES = 4  # logits, log-probabilities, probabilities and their gradient, in single precision
_PEAK_COPIES = 3  # gradients of the largest layer that live at once: of its input, its output and the norm between


def training_memory(
    configuration: ConfigurationPlan, channels: int, outputs: int, *, mixed_precision: bool = True
) -> int:
    """Bytes that one optimiser step needs at its peak, give or take what libraries take as workspace.

    Counted are the input, what the layers keep for the backward pass, the loss, the gradients alive at the largest
    layer, and weights, gradients and momentum. The gradients of weights and of activations at the end of the
    backward pass are counted although activations are free by then: allocators seldom give memory back.

    Args:
        configuration: the planned network, patch and batch.
        channels: channels of the network's input.
        outputs: channels of its output.
        mixed_precision: activations in half precision, with a half-precision copy of the weights.

    Raises:
        PlanError: the network does not tell its layers.
    """
    layers = layers_of(configuration, channels, outputs)
    value = _HALF if mixed_precision else _SINGLE
    voxels = prod(configuration.patch_size)
    heads = [layer for layer in layers if layer.kind == "head"] or list(layers[-1:])
    kept = sum(_kept(layer) for layer in layers)
    peak = _PEAK_COPIES * max(layer.elements for layer in layers)
    loss = _LOSS_COPIES * sum(head.elements for head in (heads if configuration.deep_supervision else heads[-1:]))
    sample = value * (kept + peak) + _SINGLE * (loss + channels * voxels)
    weights = sum(layer.parameters for layer in layers)
    states = weights * (_STATES * _SINGLE + (_HALF if mixed_precision else 0))
    return configuration.batch_size * sample + states


def _kept(layer: Layer) -> int:
    """Values that a layer keeps per sample for its backward pass, beyond what the layer before it keeps."""
    if layer.kind == "block":
        return 2 * layer.elements  # the norm's input, and the activation (in place), which is the next layer's input
    if layer.kind == "projection":
        pooled = layer.in_channels * layer.voxels if max(layer.stride) > 1 else 0
        return layer.elements + pooled
    if layer.kind == "up":
        return 2 * layer.elements  # its output joined with the skip: the input of the next layer
    if layer.kind == "head":
        return 0  # its output is the loss's input
    return layer.elements  # the next layer's input
