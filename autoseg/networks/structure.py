"""Where the parts of a built network are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoseg.errors import PluginError

if TYPE_CHECKING:
    from torch import nn

Readout = Callable[["nn.Module"], "tuple[nn.Module, nn.Module] | None"]
"""Network -> (the same without its last layer, so that it gives what that layer takes; the last layer), on the same
weights. None where this network has no such layer."""


@dataclass(frozen=True)
class Structure:
    """Where the parts of a built network are, as dotted names of its modules; None for one that is not known.

    A network has it as its attribute `structure`: its class says so (`networks.unet.UNet`), or its `NetworkFamily`.

    Attributes:
        stem: the convolution that sees the image; weights for another number of channels are adapted there.
        encoder: list of stages, one per resolution, full resolution first; each takes the features of the one before.
        upsamplings, decoder: lists of a module per resolution, in the order of computation, so the coarsest first: a
            transposed convolution, and what is applied to its output joined with the encoder's features.
        heads: list of convolutions to the logits, in the decoder's order, or the only one.
        readout: takes the last layer off, which is a convolution of one voxel with bias; it may then be applied after
            tiles and networks are averaged. Nothing else comes between it and the logits.
    """

    stem: str | None = None
    encoder: str | None = None
    upsamplings: str | None = None
    decoder: str | None = None
    heads: str | None = None
    readout: Readout | None = None


def structure_of(network: nn.Module) -> Structure:
    """What is known of the structure of a built network: its attribute `structure`, which it may lack."""
    structure = getattr(network, "structure", None)
    return structure if isinstance(structure, Structure) else Structure()


def structure_around(whole: nn.Module) -> Structure:
    """The structure of a network whose attribute `encoder` is the encoder of another one, as far as that is known.

    Args:
        whole: the network that the encoder is taken from.
    """
    structure = structure_of(whole)
    if structure.encoder is None:
        return Structure()
    prefix = f"{structure.encoder}."
    inside = structure.stem if structure.stem is not None and structure.stem.startswith(prefix) else None
    return Structure(stem=inside and f"encoder.{inside.removeprefix(prefix)}", encoder="encoder")


def part_of(network: nn.Module, name: str | None) -> nn.Module | None:
    """The part of a network at one of the names of its `Structure`; None where it is not known.

    Raises:
        PluginError: the network has no module of that name.
    """
    if name is None:
        return None
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        raise PluginError(
            f"the structure of {type(network).__name__} names a module that it does not have",
            got=name,
            expected="one of " + ", ".join(child for child, _ in network.named_children()),
        ) from error
