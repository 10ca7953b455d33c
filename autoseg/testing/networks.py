"""The contract of networks."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.networks.build import build_network, count_parameters
from autoseg.networks.family import NetworkFamily, network_family
from autoseg.networks.structure import part_of, structure_of
from autoseg.plan.cost import feature_elements
from autoseg.plan.record import ConfigurationPlan
from autoseg.testing.samples import DIMENSIONS, random_images, small_configuration
from autoseg.testing.subject import Subject

_CHANNELS, _OUTPUTS = 2, 3


def check_network(subject: Subject, **options: Any) -> None:
    """A network keeps these promises, for 2D and 3D configurations.

    - It is built as a module by (configuration, channels, outputs); equal seeds give equal weights.
    - It takes images (B, channels, *patch) to finite logits (B, outputs, *patch). With its attribute `deep_supervision`
      set it may give a list: full resolution first, each further one smaller by the next stage's stride. Evaluated
      without it, it gives one tensor, the same each time.
    - Every trainable weight has a gradient from these logits; heads of resolutions that it does not give need none.
    - Its weights can be saved, and loaded into another one, which then gives the same.
    - The layers that its `NetworkFamily` tells have as many parameters as it has, and as many elements as `elements`
      tells; the last head is that of the logits.
    - The parts that its `Structure` names are there; what `readout` divides it into gives its logits again.

    Args:
        subject: the plug-in.
        options: the `options` of its configuration.
    """
    for dimension in DIMENSIONS:
        configuration = small_configuration(dimension, network=subject.name, options=options)
        network = build_network(configuration, _CHANNELS, _OUTPUTS, seed=0)
        subject.promise(isinstance(network, nn.Module), f"a torch module ({dimension}D)", type(network).__name__)
        _check_weights(subject, network, configuration)
        _check_training(subject, network, configuration)
        logits = _check_evaluation(subject, network, configuration)
        _check_layers(subject, network_family(subject.name), network, configuration)
        _check_structure(subject, network, _images(configuration), logits)


def _images(configuration: ConfigurationPlan) -> Tensor:
    return random_images((configuration.batch_size, _CHANNELS, *configuration.patch_size))


def _check_weights(subject: Subject, network: nn.Module, configuration: ConfigurationPlan) -> None:
    again = build_network(configuration, _CHANNELS, _OUTPUTS, seed=0).state_dict()
    other = build_network(configuration, _CHANNELS, _OUTPUTS, seed=1)
    differing = [name for name, weight in network.state_dict().items() if not torch.equal(weight, again[name])]
    subject.promise(not differing, "equal weights for equal seeds", ", ".join(differing))
    other.load_state_dict(network.state_dict())
    results = []
    for one in (network, other):
        one.deep_supervision = False  # type: ignore[assignment]
        results.append(_evaluated(one, _images(configuration)))
    equal = len(results[0]) == len(results[1]) and all(map(torch.equal, *results))
    subject.promise(equal, "the same logits after its weights were loaded into another one")


def _check_training(subject: Subject, network: nn.Module, configuration: ConfigurationPlan) -> None:
    """Logits of a training step, and the gradients that they give."""
    network.train()
    network.deep_supervision = True  # type: ignore[assignment]
    logits = network(_images(configuration))
    resolutions = list(logits) if isinstance(logits, list | tuple) else [logits]
    size, expected = configuration.patch_size, []
    for level in range(len(resolutions)):
        stride = configuration.strides[level] if 0 < level < configuration.stages else (1,) * len(size)
        size = tuple(n // step for n, step in zip(size, stride, strict=True))
        expected.append((configuration.batch_size, _OUTPUTS, *size))
    shapes = [tuple(one.shape) for one in resolutions]
    subject.promise(shapes == expected, f"logits of shape {expected}, full resolution first", shapes)
    total = sum((one * random_images(one.shape, seed=1)).sum() for one in resolutions)
    subject.promise(bool(torch.isfinite(torch.as_tensor(total))), "finite logits", total)
    assert isinstance(total, Tensor)
    network.zero_grad()
    total.backward()
    heads = structure_of(network).heads
    lacking = [
        name
        for name, one in network.named_parameters()
        if one.requires_grad and one.grad is None and not (heads and name.startswith(f"{heads}."))
    ]
    subject.promise(not lacking, "a gradient for every trainable weight", f"none for {', '.join(lacking)}")
    network.zero_grad()


def _check_evaluation(subject: Subject, network: nn.Module, configuration: ConfigurationPlan) -> Tensor:
    """The logits of an evaluation without deep supervision."""
    network.deep_supervision = False  # type: ignore[assignment]
    images = _images(configuration)
    found = _evaluated(network, images)
    expected = (len(images), _OUTPUTS, *configuration.patch_size)
    shapes = [tuple(one.shape) for one in found]
    subject.promise(shapes == [expected], f"one tensor {expected} without deep supervision", shapes)
    subject.promise(torch.equal(found[0], _evaluated(network, images)[0]), "the same logits each time it is evaluated")
    single = _evaluated(network, images[:1])[0]
    subject.promise(
        torch.allclose(single, found[0][:1], atol=1e-4),
        "logits of an image that do not depend on the rest of its batch",
    )
    return found[0]


@torch.no_grad()
def _evaluated(network: nn.Module, images: Tensor) -> list[Tensor]:
    logits = network.eval()(images)
    return list(logits) if isinstance(logits, list | tuple) else [logits]


def _check_layers(
    subject: Subject, family: NetworkFamily, network: nn.Module, configuration: ConfigurationPlan
) -> None:
    if family.layers is None:
        return
    layers = list(family.layers(configuration, _CHANNELS, _OUTPUTS))
    told, counted = sum(layer.parameters for layer in layers), count_parameters(network)
    subject.promise(told == counted, f"layers with the network's {counted} parameters", told)
    heads = [layer for layer in layers if layer.kind == "head"]
    subject.promise(bool(heads), "a head among the layers")
    last = heads[-1]
    fits = last.out_channels == _OUTPUTS and tuple(last.size) == configuration.patch_size
    subject.promise(fits, "a last head with the logits' channels and size", f"{last.out_channels} of {last.size}")
    if family.elements is None:
        return
    c = configuration
    sizes = (c.patch_size, c.strides, c.features_per_stage, c.blocks_per_stage, c.decoder_blocks_per_stage)
    quick, slow = family.elements(*sizes, _OUTPUTS), feature_elements(layers)
    subject.promise(quick == slow, f"as many elements as planners count of its layers, {slow}", quick)


def _check_structure(subject: Subject, network: nn.Module, images: Tensor, logits: Tensor) -> None:
    structure = structure_of(network)
    for field in fields(structure):
        name = getattr(structure, field.name)
        if isinstance(name, str):
            part_of(network, name)
    parts = None if structure.readout is None else structure.readout(network)
    if parts is None:
        return
    body, last = parts
    with torch.no_grad():
        again = last(body.eval()(images))
    kept = again.shape == logits.shape and torch.allclose(again, logits, atol=1e-5)
    subject.promise(kept, "the last layer that `readout` takes off gives the logits of what is left")
