"""From a planned configuration down to ever cheaper ones: the candidates of the budget planner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from autoseg.plan.mirroring import with_mirror_axes
from autoseg.plan.record import ConfigurationPlan
from autoseg.plan.topology import Topology
from planners.augmentation import policy
from planners.patch import shorten
from planners.rules import BASE_FEATURES, Rules

WIDTHS = (16, 8)
"""Feature maps of the first stage below the default's; deeper stages shrink in proportion.

Processors multiply matrices in blocks of 16 channels: a step with 12 costs what one with 16 does, and 24 saves little
against 32 (measured: 0.40, 0.29, 0.13, 0.14 and 0.09 s for 32, 24, 16, 12 and 8)."""

SMALL_BATCH = {2: 8, 3: 2}
"""Patches per batch below which width and patch are reduced first."""

Step = tuple[Literal["batch", "width", "patch"], int]

DESCENT: dict[int, tuple[Step, ...]] = {
    2: (
        ("batch", SMALL_BATCH[2]),
        ("width", 16),
        ("patch", 256),
        ("batch", 4),
        ("width", 8),
        ("patch", 128),
        ("batch", 2),
    ),
    3: (("batch", SMALL_BATCH[3]), ("width", 16), ("patch", 64), ("width", 8), ("patch", 32)),
}
"""What is reduced, and down to where, in turn: patches per batch, features of the first stage, or the edge of a square
or cube of the patch's size. A large batch costs time in proportion and helps a short training least; then width and
patch give way by turns, so that neither starves."""


@dataclass(frozen=True)
class _Rung:
    topology: Topology
    batch_size: int
    width: int


def ladder(rules: Rules, configuration: ConfigurationPlan) -> tuple[ConfigurationPlan, ...]:
    """The configuration and its reductions, each cheaper than the one before.

    Args:
        rules: the numbers of the planner that made the configuration.
        configuration: the largest candidate; it stands first, unchanged.
    """
    reduced = tuple(_rebuild(rules, configuration, rung) for rung in _rungs(configuration))
    return (configuration, *reduced)


def _rungs(configuration: ConfigurationPlan) -> Iterator[_Rung]:
    divisor = tuple(prod(strides) for strides in zip(*configuration.strides, strict=True))
    topology = Topology(configuration.patch_size, configuration.strides, configuration.kernel_sizes, divisor)
    rung = _Rung(topology, configuration.batch_size, BASE_FEATURES)
    for kind, floor in DESCENT[configuration.dimension]:
        while (smaller := _reduce(rung, kind, floor, configuration)) is not None:
            rung = smaller
            yield rung


def _reduce(rung: _Rung, kind: str, floor: int, configuration: ConfigurationPlan) -> _Rung | None:
    """The rung below, or None where that kind of reduction has reached its floor."""
    if kind == "batch":
        if rung.batch_size <= floor:
            return None
        return replace(rung, batch_size=max(floor, rung.batch_size - max(1, rung.batch_size // 3)))
    if kind == "width":
        narrower = [width for width in WIDTHS if floor <= width < rung.width]
        return replace(rung, width=narrower[0]) if narrower else None
    if prod(rung.topology.patch_size) <= floor**configuration.dimension:
        return None
    topology = shorten(rung.topology, configuration.spacing, configuration.median_shape)
    return None if topology is None else replace(rung, topology=topology)


def _rebuild(rules: Rules, configuration: ConfigurationPlan, rung: _Rung) -> ConfigurationPlan:
    topology = rung.topology
    features = rules.features(topology.stages, configuration.dimension)
    return configuration.with_(
        patch_size=topology.patch_size,
        batch_size=rung.batch_size,
        strides=topology.strides,
        kernel_sizes=topology.kernel_sizes,
        features_per_stage=tuple(count * rung.width // BASE_FEATURES for count in features),
        blocks_per_stage=rules.blocks(topology.stages),
        decoder_blocks_per_stage=(rules.decoder_blocks,) * (topology.stages - 1),
        augmentation=with_mirror_axes(policy(topology.patch_size), configuration.mirror_axes),
    )
