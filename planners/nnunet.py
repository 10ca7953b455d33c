"""The way of nnU-Net v2's planners from a fingerprint to a plan (Isensee et al. 2021, Nature Methods 18, 203-211).

Plans equal those of nnU-Net v2.8.1 to the digit, so the order of floating point operations here matters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.mirroring import respect_sides
from autoseg.plan.record import ConfigurationPlan, Plan
from planners.augmentation import policy
from planners.cascade import FIRST_STAGE, FULL_RESOLUTION, SECOND_STAGE, asked_for, no_volumes, second_stage
from planners.geometry import axis_order, median_shape, target_spacing
from planners.normalization import normalizations, use_mask
from planners.patch import Fit, assumed_memory, fit
from planners.rules import LOWRES_BELOW, LOWRES_GROWTH, LOWRES_MIN_SAVING, Rules
from planners.sampling import equal_classes


def plan_with(rules: Rules, fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """The plan of one of nnU-Net's planners.

    Configurations: `2d` always; `3d_fullres` for volumes; `3d_lowres` and `3d_cascade_fullres` where the patch covers
    little of the median image, or where the context asks for them. Beyond nnU-Net, labels that differ by the
    patient's side alone switch mirroring along that axis off (`respect_sides`).

    Args:
        rules: in which the planners differ.
        fingerprint: of the data set.
        labels: of the data set.
        context: device, memory and what the user asks.

    Raises:
        PlanError: there is no case, no channel, or a spacing that is not positive; or a cascade is asked for where the
            data are no volumes.
    """
    _refuse_empty(fingerprint)
    spacings = [case.spacing for case in fingerprint.cases]
    shapes = [case.shape_after_crop for case in fingerprint.cases]
    target = target_spacing(spacings, shapes)
    order = axis_order(target)
    median = median_shape(spacings, shapes, target)
    maker = _Maker(rules, fingerprint, labels, context)
    full = _Resolution(tuple(target[axis] for axis in order), tuple(median[axis] for axis in order))
    configurations = {"2d": maker.configuration(full.plane(), full.voxels, batch_dice=True)}
    if full.median_shape[0] != 1:
        configurations.update(maker.volumetric(full))
    elif context.cascade:
        raise no_volumes(fingerprint)
    plan = Plan(
        dataset=fingerprint.name,
        planner=rules.name,
        channels=fingerprint.channels,
        labels=labels,
        dimension=fingerprint.dimension,
        orientation=fingerprint.orientation,
        transpose_forward=order,
        intensities=fingerprint.intensities,
        file_ending=context.file_ending,
        configurations=configurations,
        warnings=(
            *_warnings(configurations),
            *([asked_for(configurations)] if context.cascade else []),
            *([note] if (note := assumed_memory(rules)) else []),
        ),
    )
    return respect_sides(plan, fingerprint.left_right_axis)


@dataclass(frozen=True)
class _Resolution:
    """A spacing in plan order with the median image at it."""

    spacing: tuple[float, ...]
    median_shape: tuple[float, ...]

    @property
    def voxels(self) -> float:
        """Voxels of the median image."""
        return prod(self.median_shape)

    def plane(self) -> _Resolution:
        """The slices' resolution."""
        return _Resolution(self.spacing[1:], self.median_shape[1:])


@dataclass(frozen=True)
class _Maker:
    """Makes configurations for one data set."""

    rules: Rules
    fingerprint: Fingerprint
    labels: LabelScheme
    context: PlanContext

    def volumetric(self, full: _Resolution) -> dict[str, ConfigurationPlan]:
        """The 3D configurations, coarse before fine."""
        full_fit = self._fit(full, full.voxels)
        low = self._low_resolution(full, full_fit)
        if low is None:
            return {FULL_RESOLUTION: self._record(full, full_fit, batch_dice=False)}
        low_resolution, low_fit = low
        fullres = self._record(full, full_fit, batch_dice=True)
        return {
            FIRST_STAGE: self._record(low_resolution, low_fit, batch_dice=False, next_stage=SECOND_STAGE),
            FULL_RESOLUTION: fullres,
            SECOND_STAGE: second_stage(fullres, self.labels),
        }

    def configuration(self, resolution: _Resolution, image_voxels: float, *, batch_dice: bool) -> ConfigurationPlan:
        """The configuration that fits a resolution; `image_voxels` is the size of the whole median image."""
        return self._record(resolution, self._fit(resolution, image_voxels), batch_dice=batch_dice)

    def _fit(self, resolution: _Resolution, image_voxels: float) -> Fit:
        return fit(
            self.rules,
            resolution.spacing,
            resolution.median_shape,
            image_voxels * len(self.fingerprint.cases),
            self.fingerprint.labels_with_background,
            self.context.memory_gb,
        )

    def _low_resolution(self, full: _Resolution, full_fit: Fit) -> tuple[_Resolution, Fit] | None:
        """The finest spacing at which a patch covers enough of the image; None where it saves too little.

        The spacing grows first along the axes that are finer than half the coarsest one. A cascade that is asked for
        makes it grow until enough is saved.
        """
        spacing = list(full.spacing)
        voxels = full.voxels
        coarser: tuple[_Resolution, Fit] | None = None
        covered = prod(full_fit.topology.patch_size)
        least_saving = LOWRES_MIN_SAVING if self.context.cascade else 0.0
        while covered / voxels < LOWRES_BELOW or full.voxels / voxels < least_saving:
            coarsest = max(spacing)
            fine = [coarsest / value > 2 for value in spacing]
            if not any(fine):
                fine = [True] * len(spacing)
            spacing = [value * LOWRES_GROWTH if grow else value for value, grow in zip(spacing, fine, strict=True)]
            shape = [old / new * edge for old, new, edge in zip(full.spacing, spacing, full.median_shape, strict=True)]
            voxels = prod(shape)
            resolution = _Resolution(tuple(spacing), tuple(max(1, round(edge)) for edge in shape))
            coarser = resolution, self._fit(resolution, voxels)
            covered = prod(coarser[1].topology.patch_size)
        return None if full.voxels / voxels < LOWRES_MIN_SAVING else coarser

    def _record(
        self, resolution: _Resolution, fitted: Fit, *, batch_dice: bool, next_stage: str | None = None
    ) -> ConfigurationPlan:
        topology = fitted.topology
        schemes = normalizations(self.fingerprint.channels)
        return ConfigurationPlan(
            spacing=resolution.spacing,
            median_shape=resolution.median_shape,
            patch_size=topology.patch_size,
            batch_size=fitted.batch_size,
            network=self.rules.network,
            strides=topology.strides,
            kernel_sizes=topology.kernel_sizes,
            features_per_stage=self.rules.features(topology.stages, len(topology.patch_size)),
            blocks_per_stage=self.rules.blocks(topology.stages),
            decoder_blocks_per_stage=(self.rules.decoder_blocks,) * (topology.stages - 1),
            normalization=schemes,
            use_mask_for_norm=use_mask(schemes, self.fingerprint.median_relative_size),
            batch_dice=batch_dice,
            sampler=equal_classes(),
            augmentation=policy(topology.patch_size),
            mirror_axes=tuple(range(len(topology.patch_size))),
            next_stage=next_stage,
        )


def _refuse_empty(fingerprint: Fingerprint) -> None:
    if not fingerprint.cases:
        raise PlanError(
            "there is no training case to plan for", where=fingerprint.name, remedy="add images with labels"
        )
    if not fingerprint.channels:
        raise PlanError("the images have no channel", where=fingerprint.name, remedy="name them in dataset.json")
    for case in fingerprint.cases:
        if not _positive(case.spacing):
            raise PlanError(
                "the spacing cannot be planned for",
                where=case.id,
                got=case.spacing,
                expected="positive numbers",
                remedy="mend the image's header",
            )


def _positive(spacing: Sequence[float]) -> bool:
    return all(math.isfinite(value) and value > 0 for value in spacing)


def _warnings(configurations: dict[str, ConfigurationPlan]) -> tuple[str, ...]:
    return tuple(
        f"{name}: the images are so small ({' x '.join(f'{edge:g}' for edge in plan.median_shape)} voxels) that "
        "the network cannot halve them once"
        for name, plan in configurations.items()
        if plan.stages == 1
    )
