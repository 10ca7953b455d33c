"""The planner of learned registration: a grid that holds every case, and a network for it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.mirroring import respect_sides
from autoseg.plan.record import ConfigurationPlan, Plan, TransformPlan
from autoseg.tasks.registration.learned.settings import LearnedPlan
from planners.geometry import median_shape, percentile
from planners.normalization import normalizations, use_mask

TASK = "registration"

MEMORY_GB = 8.0
"""Of an accelerator, where nothing else is said."""

BYTES_PER_VOXEL = 1500
"""Memory of training on one voxel of the grid, for the planned widths."""

LEAST_STEPS = 500
"""A budget must be enough for so many; else the grid becomes coarser."""

VOXELS_PER_SECOND = {"cpu": 3e5, "mps": 4e6, "cuda": 3e7}
"""Trained on, taken for granted: two processor cores, a laptop's and a small data centre's GPU."""

COARSEST = 3
"""Voxels of the network's last stage along the shortest axis, at least, where there are two stages or more."""

MANY_CASES = 100
"""From here on images make so many pairs that they need no augmentation. Labels do: there is one map per case, and a
network that lowers their mismatch learns them by heart."""

RECOGNITION = 1.0
"""Weight of naming each image's labels, where labels supervise."""

_COARSER = 1.05  # a step of the search for a spacing that fits


def plan(fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """One configuration on all of the image, on the median spacing or a coarser one that memory and time allow.

    It is `2d` for planes, `3d_fullres` for volumes, and `3d_lowres` where the median spacing needs too much. The
    spacing is the median along each axis, the grid holds the largest case. Where every case has labels of all classes
    they take part in the training. Axes stay in the order of the files.

    Raises:
        PlanError: there is no case, or a spacing is not positive.
    """
    if not fingerprint.cases or any(min(case.spacing) <= 0 for case in fingerprint.cases):
        raise PlanError("the data set has no case that registration can be planned for", where=fingerprint.name)
    dimension = fingerprint.dimension
    spacings = [case.spacing for case in fingerprint.cases]
    shapes = [case.shape_after_crop for case in fingerprint.cases]
    full = tuple(percentile(values, 50) for values in zip(*spacings, strict=True))
    lengths = [max(case[axis] * mm[axis] for case, mm in zip(shapes, spacings, strict=True)) for axis in range(3)]
    limit = _most_voxels(context)
    spacing, size = full[-dimension:], lengths[-dimension:]
    features = LearnedPlan.model_fields["features"].default
    stride = LearnedPlan.model_fields["flow_stride"].default
    while prod(_grid(size, spacing, features, stride)[0]) > limit:
        finest = min(spacing)
        spacing = tuple(max(value, finest * _COARSER) for value in spacing)
    shape, stages = _grid(size, spacing, features, stride)
    coarser = any(one > other for one, other in zip(spacing, full[-dimension:], strict=True))
    foreground = len(labels.values) - 1 if _labelled(fingerprint) else 0
    learned = LearnedPlan(
        shape=shape,
        spacing=spacing,
        features=features[:stages],
        levels=min(LearnedPlan.model_fields["levels"].default, stages),
        supervision="labels" if foreground else "none",
        labels=foreground,
        recognition_weight=RECOGNITION if foreground else 0.0,
    )
    target = (full[0], *spacing) if dimension == 2 else spacing
    name = "2d" if dimension == 2 else "3d_lowres" if coarser else "3d_fullres"
    decided = Plan(
        dataset=fingerprint.name,
        planner=TASK,
        task=TASK,
        channels=fingerprint.channels,
        labels=labels,
        dimension=dimension,
        transpose_forward=(0, 1, 2),
        intensities=fingerprint.intensities,
        file_ending=context.file_ending,
        configurations={
            name: _configuration(learned, fingerprint, median_shape(spacings, shapes, target)[-dimension:])
        },
        warnings=(
            f"{name}: the grid is coarser than the images, as memory and time ask for: {_by(shape)} voxels of "
            f"{_by(round(value, 3) for value in spacing)} mm",
        )
        if coarser
        else (),
    )
    return respect_sides(decided, fingerprint.left_right_axis)


def _labelled(fingerprint: Fingerprint) -> bool:
    """Whether all cases have labels in which the same classes were looked for."""
    looked_for = {frozenset(case.class_voxels) for case in fingerprint.cases}
    return all(looked_for) and len(looked_for) == 1


def _configuration(learned: LearnedPlan, fingerprint: Fingerprint, median: tuple[float, ...]) -> ConfigurationPlan:
    """The network's sizes where every plan has them, and all other decisions among the options."""
    schemes = normalizations(fingerprint.channels)
    stages, dimension = len(learned.features), learned.dimension
    few = len(fingerprint.cases) < MANY_CASES
    augmented = few or learned.supervision == "labels"
    sides = fingerprint.left_right_axis
    mirrored = () if not few or sides is None or sides < 3 - dimension else (sides - (3 - dimension),)
    return ConfigurationPlan(
        spacing=learned.spacing,
        median_shape=median,
        patch_size=learned.shape,
        batch_size=learned.batch_size,
        network=TASK,
        strides=((learned.flow_stride,) * dimension, *((2,) * dimension,) * (stages - 1)),
        kernel_sizes=((3,) * dimension,) * stages,
        features_per_stage=learned.features,
        blocks_per_stage=(1,) * stages,
        decoder_blocks_per_stage=(1,) * (stages - 1),
        normalization=schemes,
        use_mask_for_norm=use_mask(schemes, fingerprint.median_relative_size),
        batch_dice=False,
        deep_supervision=False,
        augmentation=_augmentation() if augmented else (),
        mirror_axes=mirrored,
        options=learned.model_dump(mode="json", exclude={"shape", "spacing", "features", "batch_size"}),
    )


def _augmentation() -> tuple[TransformPlan, ...]:
    """Small turns, sizes and contrasts of each image by itself: what two scans of one person may differ by."""
    spatial = {
        "rotation_degrees": 15.0, "rotation_probability": 0.7, "scaling": [0.85, 1.15], "scaling_probability": 0.7
    }  # fmt: skip
    return (
        TransformPlan(name="spatial", probability=0.8, options=spatial),
        TransformPlan(name="brightness", probability=0.15, options={"factor": [0.75, 1.25]}),
        TransformPlan(name="contrast", probability=0.15, options={"factor": [0.75, 1.25]}),
    )


def _grid(
    lengths: Sequence[float], spacing: Sequence[float], features: Sequence[int], stride: int
) -> tuple[tuple[int, ...], int]:
    """The smallest grid that holds the lengths (mm), and the stages of the network that it is large enough for."""
    voxels = [max(1, ceil(length / step - 1e-3)) for length, step in zip(lengths, spacing, strict=True)]
    stages = len(features)
    while stages > 1 and -(-min(voxels) // (stride * 2 ** (stages - 1))) < COARSEST:
        stages -= 1
    divisor = stride * 2 ** (stages - 1)
    return tuple(-(-n // divisor) * divisor for n in voxels), stages


def _most_voxels(context: PlanContext) -> float:
    """Voxels of a grid that memory and time are enough for."""
    fits = (context.memory_gb or MEMORY_GB) * 1e9 / BYTES_PER_VOXEL
    if context.budget_seconds is None:
        return fits
    return min(
        fits, context.budget_seconds / LEAST_STEPS * VOXELS_PER_SECOND.get(context.device, VOXELS_PER_SECOND["cpu"])
    )


def _by(values: object) -> str:
    return " x ".join(f"{value:g}" for value in values)  # type: ignore[attr-defined]
