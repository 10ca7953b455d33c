"""The search for the largest patch, and then the largest batch, that fit the memory (nnU-Net v2's rules)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from autoseg.networks.family import network_family
from autoseg.networks.unet_layers import feature_map_elements
from autoseg.plan.cost import feature_elements
from autoseg.plan.record import ConfigurationPlan
from autoseg.plan.topology import Topology, fold
from planners.rules import FIRST_PATCH_VOXELS, MIN_BATCH, REFERENCE_BATCH, Rules


@dataclass(frozen=True)
class Fit:
    """What fits: a topology with its patch, and a batch size."""

    topology: Topology
    batch_size: int


def fit(
    rules: Rules,
    spacing: Sequence[float],
    median_shape: Sequence[float],
    dataset_voxels: float,
    outputs: int,
    memory_gb: float | None,
) -> Fit:
    """The patch and batch for images of a spacing.

    The search starts from a patch with the images' physical aspect ratio, no larger than the median image, and
    shortens the axis that covers most of the image until the network's feature maps fit. Memory that is left goes
    into the batch, which may hold no more than `rules.dataset_share` of the data.

    Args:
        rules: the planner's numbers. A network that does not tell its layers is taken to need what a plain U-Net of the
            planned stages does, for want of anything better (`assumed_memory` says so).
        spacing, median_shape: mm and voxels, 2 or 3 values, slowest axis first.
        dataset_voxels: voxels of all training images at that spacing.
        outputs: entries of the label table, as nnU-Net counts them for its estimate.
        memory_gb: accelerator memory to fill; None means the rules' own.
    """
    dimension = len(spacing)
    elements = rules.elements_2d if dimension == 2 else rules.elements_3d
    available = elements * ((rules.memory_gb if memory_gb is None else memory_gb) / rules.memory_gb)
    batch = REFERENCE_BATCH[dimension]
    elements_of = _yardstick(rules, spacing, outputs)
    topology = fold(spacing, first_patch(spacing, median_shape))
    needed = elements_of(topology)
    while (needed / batch * MIN_BATCH if rules.patch_fills_smallest_batch else needed) > available:
        smaller = shorten(topology, spacing, median_shape)
        if smaller is None:
            break
        topology = smaller
        needed = elements_of(topology)
    fitting = round(available / needed * batch)
    allowed = round(dataset_voxels * rules.dataset_share / prod(topology.patch_size))
    return Fit(topology, max(min(fitting, allowed), MIN_BATCH))


def first_patch(spacing: Sequence[float], median_shape: Sequence[float]) -> list[float]:
    """Voxels of the patch the search starts from: as long in mm along every axis, cut to the median image."""
    inverse = [1 / value for value in spacing]
    scale = (FIRST_PATCH_VOXELS[len(spacing)] / prod(inverse)) ** (1 / len(spacing))
    return [min(round(value * scale), edge) for value, edge in zip(inverse, median_shape, strict=True)]


def shorten(topology: Topology, spacing: Sequence[float], median_shape: Sequence[float]) -> Topology | None:
    """The next smaller patch: shorter along the axis that covers most of the median image; None if there is none.

    The step is the divisor of the shortened patch, not of the present one: from 256 (divisor 64) this leads to
    224 (divisor 32), where the present divisor would lead to 192 and skip a valid size.
    """
    patch, divisor = topology.patch_size, topology.divisor
    axes = [axis for axis, edge in enumerate(patch) if edge > divisor[axis]]
    if not axes:
        return None
    axis = max(axes, key=lambda axis: (patch[axis] / median_shape[axis], axis))
    probe = list(patch)
    probe[axis] -= divisor[axis]
    probed = fold(spacing, probe)
    if probed.divisor[axis] == divisor[axis]:
        return probed
    shorter = list(patch)
    shorter[axis] -= probed.divisor[axis]
    foldable = fold(spacing, shorter)
    return foldable if foldable.patch_size != patch else probed


def assumed_memory(rules: Rules) -> str | None:
    """A note for the plan where the memory of the rules' network is not known; None where it is."""
    family = network_family(rules.network)
    if family.elements is not None or family.layers is not None:
        return None
    return (
        f"the network {rules.network} does not tell its layers: patch and batch are those that fit the memory for a "
        "plain U-Net of the planned stages"
    )


def _yardstick(rules: Rules, spacing: Sequence[float], outputs: int) -> Callable[[Topology], int]:
    """From a topology to the values in the outputs of the network's layers for one patch."""
    family = network_family(rules.network)
    tell = family.layers
    if family.elements is None and tell is not None:
        return lambda topology: feature_elements(tell(_candidate(rules, spacing, topology), 1, outputs))
    elements = family.elements or partial(feature_map_elements, residual=False)

    def quickly(topology: Topology) -> int:
        stages = topology.stages
        return elements(
            topology.patch_size,
            topology.strides,
            rules.features(stages, len(topology.patch_size)),
            rules.blocks(stages),
            (rules.decoder_blocks,) * (stages - 1),
            outputs,
        )

    return quickly


def _candidate(rules: Rules, spacing: Sequence[float], topology: Topology) -> ConfigurationPlan:
    """The network of a topology, of a plan that decides nothing else."""
    stages = topology.stages
    return ConfigurationPlan(
        spacing=tuple(spacing),
        median_shape=tuple(topology.patch_size),
        patch_size=topology.patch_size,
        batch_size=1,
        network=rules.network,
        strides=topology.strides,
        kernel_sizes=topology.kernel_sizes,
        features_per_stage=rules.features(stages, len(topology.patch_size)),
        blocks_per_stage=rules.blocks(stages),
        decoder_blocks_per_stage=(rules.decoder_blocks,) * (stages - 1),
        normalization=(),
        use_mask_for_norm=(),
        batch_dice=False,
    )
