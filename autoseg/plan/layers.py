"""The layers of a planned network, as far as it tells them, and the channels of its input."""

from __future__ import annotations

from typing import Literal

from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError, PluginError
from autoseg.networks.family import known_family, network_family
from autoseg.networks.layers import Layer
from autoseg.plan.record import SEGMENTATION, ConfigurationPlan, Plan


def layers_of(configuration: ConfigurationPlan, channels: int, outputs: int) -> tuple[Layer, ...]:
    """All layers of a configuration's network, in the order of computation.

    Args:
        configuration: the planned network.
        channels: channels of its input, the previous stage's prediction included.
        outputs: channels of its output.

    Raises:
        ConfigurationError: an unknown network.
        PlanError: the network does not tell its layers.
        PluginError: it tells none.
    """
    tell = network_family(configuration.network).layers
    if tell is None:
        raise PlanError(
            f"the cost of a network {configuration.network!r} is not known",
            expected="a plug-in that tells its layers: NetworkFamily(build, layers=...) in autoseg.networks.family",
        )
    layers = tuple(tell(configuration, channels, outputs))
    if not layers:
        raise PluginError(f"the network {configuration.network!r} tells no layer", expected="all of them, or None")
    return layers


def tells_layers(network: str) -> bool:
    """Whether the layers of a network are known; False also where its plug-in is not there."""
    family = known_family(network)
    return family is not None and family.layers is not None


def topology_of(network: str) -> Literal["unet", "encoder"] | None:
    """What of the planned stages a network is built of (`NetworkFamily.topology`); None where that is not known."""
    family = known_family(network)
    return None if family is None else family.topology


def note_unknown_networks(plan: Plan) -> Plan:
    """The plan with a warning about each network that does not tell its layers, whose cost nobody can say beforehand.

    Plans of other tasks than segmentation, whose networks only their trainers know, are returned as they are.
    """
    if plan.task != SEGMENTATION:
        return plan
    unknown: dict[str, list[str]] = {}
    for name, configuration in plan.configurations.items():
        if not tells_layers(configuration.network):
            unknown.setdefault(configuration.network, []).append(name)
    notes = (
        f"{', '.join(names)}: the network {network} does not tell its layers, so that its memory, work and receptive "
        "field are not known"
        for network, names in unknown.items()
    )
    return plan.with_(warnings=(*plan.warnings, *notes)) if unknown else plan


def input_channels(configuration: ConfigurationPlan, channels: int, labels: LabelScheme) -> int:
    """Channels of a network's input: the image's, and in a cascade one per foreground label of the previous stage."""
    return channels + (len(labels.values) - 1 if configuration.previous_stage else 0)
