"""Weights from one network to start another that may differ in channels, classes, stages, widths or kernels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from autoseg.errors import ConfigurationError
from autoseg.log import counted
from autoseg.networks.structure import Structure, structure_of

Fate = Literal["loaded", "adapted", "left out", "unused"]

_PARTS = ("encoder", "upsamplings", "decoder", "heads")
_FROM_THE_DEEPEST = ("upsamplings", "decoder", "heads")  # lists in the order of computation, unlike the encoder's
_WORDS = {"upsamplings": "upsampling to", "decoder": "decoder at", "heads": "head at"}
_HANDED_ON = Structure(encoder="encoder", upsamplings="upsamplings", decoder="decoder", heads="heads")
"""Where the parts are in the weights of a pretraining, whatever network they were taken from."""


class _Stage(NamedTuple):
    """A tensor of a known part of a network: in which of its stages, counted from the highest resolution, and where."""

    part: str
    number: int
    name: str


_Key = _Stage | str
"""What tensors of two networks are matched by: a stage where the structure is known, else the name."""


@dataclass(frozen=True)
class Moved:
    """What became of one tensor.

    Attributes:
        name: in the network; of an unused one, in the weights.
        group: part of the network, in words.
        fate: "loaded" as it is, "adapted" to other image channels, "left out" (the network keeps its own), or
            "unused" (the network has no place for it).
        why: the reason, in words; empty where it was loaded.
    """

    name: str
    group: str
    fate: Fate
    why: str = ""


class TransferRow(NamedTuple):
    """One line of the table of a transfer: tensors of a part of the network by what became of them, and why."""

    group: str
    loaded: int
    adapted: int
    left_out: int
    why: str


@dataclass(frozen=True)
class Transfer:
    """What became of each tensor of the network, and of those in the weights that it has no place for."""

    tensors: tuple[Moved, ...]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the network's tensors that were loaded as they are."""
        return self._named("loaded")

    @property
    def adapted(self) -> tuple[str, ...]:
        """Names of those that were adapted to another number of image channels."""
        return self._named("adapted")

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of those that keep their initial values."""
        return self._named("left out")

    @property
    def unused(self) -> tuple[str, ...]:
        """Names in the weights that the network has no place for."""
        return self._named("unused")

    def table(self) -> list[TransferRow]:
        """A row for each part of the network in its order, then for the parts that only the weights have."""
        groups: dict[tuple[str, bool], list[Moved]] = defaultdict(list)
        for tensor in self.tensors:
            groups[tensor.group, tensor.fate == "unused"].append(tensor)
        return [
            TransferRow(
                group=group + (" of the weights" if unused else ""),
                loaded=sum(tensor.fate == "loaded" for tensor in tensors),
                adapted=sum(tensor.fate == "adapted" for tensor in tensors),
                left_out=sum(tensor.fate in ("left out", "unused") for tensor in tensors),
                why="; ".join(dict.fromkeys(tensor.why for tensor in tensors if tensor.why)),
            )
            for (group, unused), tensors in groups.items()
        ]

    def describe(self) -> str:
        """One line for the log."""
        line = (
            f"{counted(len(self.loaded), 'weight')} loaded, {len(self.adapted)} adapted, {len(self.left_out)} left out"
        )
        return line + (f", {len(self.unused)} without a place in this network" if self.unused else "")

    def lines(self) -> list[str]:
        """The summary and the table as text for the log: a line for each part with its counts, and why."""
        rows = self.table()
        width = max((len(row.group) for row in rows), default=0)
        lines = [self.describe()]
        for row in rows:
            counts = ((row.loaded, "loaded"), (row.adapted, "adapted"), (row.left_out, "left out"))
            words = ", ".join(f"{count} {what}" for count, what in counts if count)
            lines.append(f"  {row.group:{width}}  {words}" + (f" ({row.why})" if row.why else ""))
        return lines

    def _named(self, fate: Fate) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.tensors if tensor.fate == fate)


def transfer_weights(network: nn.Module, weights: Mapping[str, Tensor], *, where: object = None) -> Transfer:
    """Loads what fits from `weights` into `network`.

    Where the structure of the network is known (`networks.structure`), stages are matched by resolution, the highest
    first, so that weights with more or fewer stages keep all that both have; else tensors are matched by name. A block
    (a convolution with its normalisation) is taken whole or not at all: of another width, kernel or number of classes
    it is left out. The stem, where it is known, takes for another number of image channels the mean over the channels,
    scaled so that an image repeated in all channels has the response it had.

    Args:
        network: changed in place, where it fits.
        weights: a state dict; its tensors may lie on any device.
        where: the file, for errors.

    Raises:
        ConfigurationError: the weights are of a network of other dimensions (2D or 3D), or nothing fits.
    """
    state = network.state_dict()
    _same_dimension(state, weights, where)
    structure = structure_of(network)
    keys, theirs = _keys(state, structure), _keys(weights, structure, _HANDED_ON if structure.encoder else Structure())
    names_of_theirs = {key: name for name, key in theirs.items()}
    first = None if structure.stem is None else f"{structure.stem}.weight"
    groups = _groups(state, keys)
    blocks: dict[str, list[str]] = defaultdict(list)
    for name in state:
        blocks[_block(name)].append(name)
    fates: dict[str, Moved] = {}
    for names in blocks.values():
        pairs = {name: weights.get(names_of_theirs.get(keys[name], "")) for name in names}
        why = next((reason for name in names if (reason := _misfit(state[name], pairs[name], name == first))), "")
        for name, tensor in pairs.items():
            if why or tensor is None:
                fates[name] = Moved(name, groups[name], "left out", why)
            elif tensor.shape == state[name].shape:
                state[name] = tensor
                fates[name] = Moved(name, groups[name], "loaded")
            else:
                note = f"{counted(tensor.shape[1], 'image channel')} made {state[name].shape[1]}"
                state[name] = _other_channels(tensor, state[name].shape[1])
                fates[name] = Moved(name, groups[name], "adapted", note)
    if all(moved.fate == "left out" for moved in fates.values()):
        raise ConfigurationError(
            "not one pretrained weight fits this network",
            where=where,
            got="; ".join(dict.fromkeys(moved.why for moved in fates.values()))[:300],
            remedy="use weights of the same configuration and planner",
        )
    network.load_state_dict(state)
    return Transfer((*(fates[name] for name in state), *_unused(set(keys.values()), theirs, _groups(weights, theirs))))


def _keys(state: Mapping[str, Tensor], *known: Structure) -> dict[str, _Key]:
    """What each tensor is matched by, its parts being named as in the first structure that has a name for them.

    Decoder stages are counted from the highest resolution, as encoder stages are.
    """
    keys = {name: next(filter(None, (_stage(name, structure) for structure in known)), name) for name in state}
    last: dict[str, int] = defaultdict(int)
    for key in keys.values():
        if isinstance(key, _Stage):
            last[key.part] = max(last[key.part], key.number)
    return {
        name: key._replace(number=last[key.part] - key.number)
        if isinstance(key, _Stage) and key.part in _FROM_THE_DEEPEST
        else key
        for name, key in keys.items()
    }


def _stage(name: str, structure: Structure) -> _Stage | None:
    """The stage that a tensor is in, counted in the order of the network's modules; None for one of no known part."""
    for part in _PARTS:
        where = getattr(structure, part)
        if where is not None and (match := re.fullmatch(rf"{re.escape(where)}\.(\d+)\.(.+)", name)):
            return _Stage(part, int(match[1]), match[2])
    return None


def _block(name: str) -> str:
    """The block that a tensor belongs to: the module that holds it, or for `conv` and `norm` the one around them."""
    parts = name.split(".")[:-1]
    return ".".join(parts[:-1] if parts[-1:] in (["conv"], ["norm"]) else parts)


def _misfit(mine: Tensor, theirs: Tensor | None, sees_image: bool) -> str:
    """Why a tensor cannot be taken, in words; empty if it can."""
    if theirs is None:
        return "not in the weights"
    if theirs.shape == mine.shape:
        return ""
    if theirs.ndim != mine.ndim or mine.ndim < 3:
        return f"shape {_by(theirs.shape)} in place of {_by(mine.shape)}"
    if theirs.shape[2:] != mine.shape[2:]:
        return f"kernel {_by(theirs.shape[2:])} in place of {_by(mine.shape[2:])}"
    if theirs.shape[0] != mine.shape[0]:
        return f"{theirs.shape[0]} outputs in place of {mine.shape[0]}"
    return "" if sees_image else f"{theirs.shape[1]} inputs in place of {mine.shape[1]}"


def _unused(mine: set[_Key], theirs: Mapping[str, _Key], groups: Mapping[str, str]) -> Iterator[Moved]:
    for name, key in theirs.items():
        if key not in mine:
            yield Moved(name, groups[name], "unused", "this network has no such part")


def _groups(state: Mapping[str, Tensor], keys: Mapping[str, _Key]) -> dict[str, str]:
    """The part of the network that each tensor belongs to, in words."""
    kernels = {key: state[name].shape[2:] for name, key in keys.items()}
    factors = [1]  # how many times coarser than the image each resolution is, along the axis that is halved most
    while (kernel := kernels.get(_Stage("upsamplings", len(factors) - 1, "weight"))) is not None:
        factors.append(factors[-1] * max(kernel, default=1))
    groups = {}
    for name, key in keys.items():
        if isinstance(key, str):
            groups[name] = name.partition(".")[0]
        elif key.part == "encoder":
            groups[name] = f"encoder stage {key.number}"
        else:
            factor = factors[min(key.number, len(factors) - 1)]
            groups[name] = f"{_WORDS[key.part]} resolution {'1' if factor == 1 else f'1/{factor}'}"
    return groups


def _same_dimension(state: Mapping[str, Tensor], weights: Mapping[str, Tensor], where: object) -> None:
    mine, theirs = _dimension(state), _dimension(weights)
    if mine is not None and theirs is not None and mine != theirs:
        raise ConfigurationError(
            f"the pretrained weights are of a {theirs}D network",
            where=where,
            expected=f"weights of a {mine}D network",
            remedy="use the weights of a configuration with as many dimensions",
        )


def _dimension(state: Mapping[str, Tensor]) -> int | None:
    """Spatial dimensions of the convolutions; None if there are none."""
    return next((tensor.ndim - 2 for tensor in state.values() if tensor.ndim > 3), None)


def _by(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


@torch.no_grad()
def _other_channels(weight: Tensor, channels: int) -> Tensor:
    mean = weight.mean(dim=1, keepdim=True) * (weight.shape[1] / channels)
    return mean.expand(-1, channels, *(-1,) * (weight.ndim - 2)).clone()
