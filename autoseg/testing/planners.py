"""The contract of planners."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod

from autoseg import plugins
from autoseg.data.image import PLANE_SPACING, IntensityStatistics
from autoseg.errors import PlanError
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.record import SEGMENTATION, ConfigurationPlan, Plan
from autoseg.testing.samples import LABELS
from autoseg.testing.subject import Subject

_STATISTICS = IntensityStatistics(
    mean=110.0, median=100.0, std=30.0, min=0.0, max=255.0, percentile_00_5=10.0, percentile_99_5=220.0
)
_DATA = {
    "small volumes": ((40, 48, 44), (1.0, 1.0, 1.0)),
    "thick slices": ((24, 210, 190), (5.0, 0.8, 0.8)),
    "large volumes": ((260, 340, 320), (1.0, 0.9, 0.9)),
    "pictures": ((1, 240, 300), (PLANE_SPACING, 1.0, 1.0)),
}
"""Median shapes and spacings, (z, y, x)."""


def check_planner(subject: Subject) -> None:
    """A planner keeps these promises, for volumes of several sizes and for pictures, with a time budget and without.

    - From (fingerprint, labels, context) it gives a `Plan` with one configuration at least, equal for equal input, and
      equal after it was written as JSON and read again.
    - The plan is for these data: name, channels, labels, dimensions and the ending of the context are taken over.
    - Each configuration has the spacing and patch of its dimensions, sizes above zero, a normalisation per channel, and
      in a plan for segmentation patches that its strides divide (`ConfigurationPlan` sees to it).
    - The plug-ins that it names exist: sampler, transforms, normalisations, and for segmentation the network. Stages of
      a cascade are configurations of the plan.

    Data that it is not made for it refuses by a `PlanError`; there are data that it does plan.
    """
    planned = 0
    for words, fingerprint in _fingerprints():
        for context in (PlanContext(), _timed()):
            try:
                plan = subject.plugin(fingerprint, LABELS, context)
            except PlanError:
                continue
            planned += 1
            subject.promise(isinstance(plan, Plan), f"a Plan for {words}", type(plan).__name__)
            if context.seconds_per_step is None:
                again = subject.plugin(fingerprint, LABELS, context)
                subject.promise(plan == again, f"the same plan each time for {words}")
            again = Plan.from_mapping(json.loads(plan.model_dump_json()))
            subject.promise(plan == again, f"a plan that can be written and read ({words})")
            _check_plan(subject, plan, fingerprint, context)
    subject.promise(planned > 0, "a plan for volumes or for pictures", "all are refused")


def _fingerprints() -> Iterator[tuple[str, Fingerprint]]:
    for words, (shape, spacing) in _DATA.items():
        cases = tuple(_case(number, shape, spacing) for number in range(5))
        fingerprint = Fingerprint(
            name="contract",
            dimension=2 if shape[0] == 1 else 3,
            channels=("MRI", "CT"),
            outputs=3,
            labels_with_background=3,
            intensities=(_STATISTICS, _STATISTICS),
            cases=cases,
            median_relative_size=1.0,
        )
        yield words, fingerprint


def _case(number: int, shape: tuple[int, ...], spacing: tuple[float, float, float]) -> CaseFingerprint:
    z, y, x = (length if length == 1 else length + 2 * (number - 2) for length in shape)
    return CaseFingerprint(
        id=f"case_{number}",
        shape=(z, y, x),
        spacing=spacing,
        crop_box=((0, z), (0, y), (0, x)),
        relative_size=1.0,
        intensities=(_STATISTICS, _STATISTICS),
        class_voxels={"organ": 900, "lesion": 90 if number else 0},
        class_volumes={"organ": 900.0, "lesion": 90.0 if number else 0.0},
    )


def _timed() -> PlanContext:
    def seconds(candidate: ConfigurationPlan) -> float:
        return 1e-6 * candidate.batch_size * prod(candidate.patch_size)

    return PlanContext(device="cpu", budget_seconds=900.0, seconds_per_step=seconds, file_ending=".mha")


def _check_plan(subject: Subject, plan: Plan, fingerprint: Fingerprint, context: PlanContext) -> None:
    taken = {
        "dataset": (plan.dataset, fingerprint.name),
        "channels": (plan.channels, fingerprint.channels),
        "labels": (plan.labels, LABELS),
        "dimension": (plan.dimension, fingerprint.dimension),
        "file_ending": (plan.file_ending, context.file_ending),
    }
    for name, (got, expected) in taken.items():
        subject.promise(got == expected, f"a plan whose {name} is {expected}", got)
    ordered = sorted(plan.transpose_forward) == [0, 1, 2]
    subject.promise(ordered, "an order of the three axes in transpose_forward", plan.transpose_forward)
    subject.promise(bool(plan.configurations), "one configuration at least")
    for name, configuration in plan.configurations.items():
        _check_configuration(subject, plan, name, configuration)


def _check_configuration(subject: Subject, plan: Plan, name: str, configuration: ConfigurationPlan) -> None:
    sizes = (*configuration.patch_size, *configuration.features_per_stage, *configuration.spacing)
    subject.promise(all(size > 0 for size in sizes), f"{name}: sizes and spacings above zero", sizes)
    subject.promise(configuration.dimension in (2, 3), f"{name}: a patch of 2 or 3 axes", configuration.patch_size)
    fits = len(configuration.spacing) in (2, 3) and len(configuration.normalization) == len(plan.channels)
    subject.promise(fits, f"{name}: a spacing of 2 or 3 axes, and a normalisation per channel")
    named = [("sampler", configuration.sampler.name)]
    named += [("transform", transform.name) for transform in configuration.augmentation]
    named += [("normalization", one) for one in configuration.normalization]
    if plan.task == SEGMENTATION:
        named.append(("network", configuration.network))
    for kind, wanted in named:
        subject.promise(wanted in plugins.names(kind), f"{name}: a {kind} that exists", wanted)
    for stage in (configuration.previous_stage, configuration.next_stage):
        there = stage is None or stage in plan.configurations
        subject.promise(there, f"{name}: stages that are configurations of the plan", stage)
