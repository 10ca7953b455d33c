"""A policy: the transforms of a plan in their order, each with its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autoseg.batches.augment.interop import FromBatchgenerators
from autoseg.batches.augment.transform import Cropping, PatchBox, Sample, Shape, Transform, patch_box
from autoseg.errors import ConfigurationError, PluginError
from autoseg.plan.record import TransformPlan
from autoseg.plugins import resolve
from autoseg.records import Record


@dataclass(frozen=True)
class Step:
    """A transform and how often it is applied."""

    transform: Transform
    probability: float = 1.0


@dataclass(frozen=True)
class Policy:
    """What happens to a sample. Everything random is drawn before a voxel is read.

    A first transform that is `Cropping` decides which part of the image is read.
    """

    steps: tuple[Step, ...] = ()

    def draw(self, rng: np.random.Generator, shape: Shape) -> list[Any | None]:
        """Parameters of each step for a patch of shape (C, *spatial); None where a step is passed over."""
        return [
            step.transform.draw(rng, shape) if step.probability >= 1 or rng.random() < step.probability else None
            for step in self.steps
        ]

    def window(self, patch_size: Shape) -> Shape:
        """The part of the image around the drawn centre that a patch may show."""
        return patch_size if self._cropping is None else self._cropping.window(patch_size)

    def box(self, parameters: Sequence[Any | None], patch_size: Shape) -> PatchBox:
        """What must be read to make the patch."""
        return patch_box(patch_size) if self._cropping is None else self._cropping.box(parameters[0], patch_size)

    def apply(self, sample: Sample, parameters: Sequence[Any | None], box: PatchBox, patch_size: Shape) -> Sample:
        """The augmented patch, from a sample that holds the box.

        Args:
            sample: image (C, *box) float32 and labels (L, *box) int16.
            parameters: of each step as `draw` gave them, None where a step is passed over.
            box: what the sample holds of the image.
            patch_size: voxels per axis of the result.
        """
        steps = list(zip(self.steps, parameters, strict=True))
        if self._cropping is not None:
            sample = self._cropping.crop(sample, parameters[0], box, patch_size)
            steps = steps[1:]
        for step, drawn in steps:
            if drawn is not None:
                sample = step.transform.apply(sample, drawn)
        return sample

    @cached_property
    def _cropping(self) -> Cropping | None:
        first = self.steps[0].transform if self.steps else None
        return first if isinstance(first, Cropping) else None


def build_policy(plans: Sequence[TransformPlan]) -> Policy:
    """The policy of a plan's `augmentation`; an empty one leaves samples as they are.

    Raises:
        ConfigurationError: an unknown transform or option (with the nearest known name) or a wrong value.
    """
    return Policy(
        tuple(
            Step(build_transform(plan, where=f"augmentation.{index} ({plan.name})"), plan.probability)
            for index, plan in enumerate(plans)
        )
    )


def build_transform(plan: TransformPlan, *, where: object = None) -> Transform:
    """One transform from its plug-in and options.

    A plug-in of kind "transform" is a `Record` whose fields are the options, or a callable that takes them and
    returns a `Transform` or one of batchgenerators' transforms.
    """
    plugin = resolve("transform", plan.name)
    if isinstance(plugin, type) and issubclass(plugin, Record):
        transform: Any = plugin.from_mapping(plan.options, where=where)
    else:
        try:
            transform = plugin(**plan.options)
        except TypeError as error:
            raise ConfigurationError(str(error), where=where, got=plan.options) from error
    if isinstance(transform, Transform):
        return transform
    if callable(transform):
        return FromBatchgenerators(transform)
    raise PluginError("is not a transform", where=where, got=type(transform).__name__, expected="draw and apply")
