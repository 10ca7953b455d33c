"""What a network knows of itself: how it is built, and as much of its layers and parts as its author tells.

In a file for `--plugin`, a network that tells all:

    from torch import nn
    from autoseg.networks.family import NetworkFamily
    from autoseg.networks.layers import Layer
    from autoseg.networks.structure import Structure
    from autoseg.plugins import register

    def small(configuration, channels, outputs):
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[configuration.dimension]
        return nn.Sequential(convolution(channels, 8, 3, padding=1), nn.LeakyReLU(), convolution(8, outputs, 1))

    def layers(configuration, channels, outputs):
        size, one = configuration.patch_size, (1,) * configuration.dimension
        three = (3,) * configuration.dimension
        return [Layer("convolution", channels, 8, three, size, one), Layer("head", 8, outputs, one, size, one)]

    parts = Structure(stem="0", heads="2", readout=lambda network: (network[:-1], network[-1]))
    register("network", "small")(NetworkFamily(small, layers=layers, structure=parts))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from autoseg import plugins
from autoseg.errors import ConfigurationError, PluginError
from autoseg.networks.layers import Layer
from autoseg.networks.structure import Structure
from autoseg.plan.record import ConfigurationPlan

if TYPE_CHECKING:
    from torch import nn

Build = Callable[[ConfigurationPlan, int, int], "nn.Module"]
"""(configuration, channels of the image, channels of the logits) -> a network with fresh weights."""

Layers = Callable[[ConfigurationPlan, int, int], Sequence[Layer]]
"""(configuration, channels, outputs) -> all layers, in the order of computation."""

Elements = Callable[
    [Sequence[int], Sequence[Sequence[int]], Sequence[int], Sequence[int], Sequence[int], int],
    int,
]
"""(patch size, strides, features, blocks, decoder blocks, outputs) -> values in the layers' outputs, per sample."""


@dataclass(frozen=True)
class NetworkFamily:
    """A plug-in of kind "network": how to build it, and what is known without building it.

    What is left out is not known: it is planned without, "not known" in tables and reports, and taken for nothing.

    Attributes:
        build: makes a network with fresh weights.
        layers: its layers, from which parameters, multiply-adds, training memory and receptive field follow.
        elements: a quicker sum over the layers' outputs, for planners that weigh thousands of candidates; without it
            they add up `layers`.
        structure: where its parts are, unless its class says so itself: for weights that start another network,
            pretraining, the first guess of background, and sums of features in place of logits.
        topology: what of the planned topology (strides, kernel sizes, features and blocks of each stage) it is built
            of: "unet" means encoder and decoder, joined by skip connections, "encoder" the encoder alone.
    """

    build: Build
    layers: Layers | None = None
    elements: Elements | None = None
    structure: Structure | None = None
    topology: Literal["unet", "encoder"] | None = None

    def __call__(self, configuration: ConfigurationPlan, channels: int, outputs: int) -> nn.Module:
        """A network with fresh weights, which carries what is known of its structure.

        Args:
            configuration: the plan of the configuration.
            channels: of the image (for a cascade: with one per foreground label).
            outputs: channels of the logits.
        """
        network = self.build(configuration, channels, outputs)
        if self.structure is not None:
            network.structure = self.structure  # type: ignore[assignment]
        return network


def network_family(name: str) -> NetworkFamily:
    """The plug-in of kind "network" of that name; a plain function is a family that knows nothing more.

    Raises:
        ConfigurationError: the name is not known.
        PluginError: its module cannot be imported, or it is neither a `NetworkFamily` nor a function.
    """
    plugin: Any = plugins.resolve("network", name)
    if isinstance(plugin, NetworkFamily):
        return plugin
    if not callable(plugin):
        raise PluginError(
            f"the network {name!r} cannot be built",
            got=type(plugin).__name__,
            expected="a function of (configuration, channels, outputs) that gives a module, or a NetworkFamily",
        )
    return NetworkFamily(plugin)


def known_family(name: str) -> NetworkFamily | None:
    """The family of that name for tables and reports, which are made without the plug-in too; None if it is not there.

    Raises:
        PluginError: as `network_family`.
    """
    try:
        return network_family(name)
    except ConfigurationError:
        return None
