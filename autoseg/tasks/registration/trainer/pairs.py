"""Which cases make a pair, and batches of pairs on the network's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoseg.batches.augment.policy import Policy
from autoseg.batches.augment.transform import Sample
from autoseg.data.orientation import Orientation
from autoseg.errors import ConfigurationError, ImageError
from autoseg.preprocessing.store import Store
from autoseg.tasks.registration.learned.deformations import random_deformation
from autoseg.tasks.registration.learned.fields import warp
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.trainer.network_grid import continued, covered, first_voxel
from autoseg.training.task import TRAINING

CasePair = tuple[str, str]
"""Identifiers of a fixed and a moving case."""

_STRIDE = 13
"""Validation pairs are cases so far apart in the order of identifiers: neighbours are often alike."""
_SAME_SPACING = 0.01


def validation_pairs(cases: Sequence[str], others: Sequence[str], atlas: str | None = None) -> tuple[CasePair, ...]:
    """Every case as the fixed image once, with the 13th after it as the moving one.

    Args:
        cases: validation cases, in the order of the split.
        others: training cases; the first is the partner of a case that is alone.
        atlas: moving case of every pair, if one is laid on all; it is no pair with itself.
    """
    if atlas is not None:
        return tuple((case, atlas) for case in cases if case != atlas)
    if len(cases) == 1:
        return tuple((cases[0], other) for other in others[:1])
    shift = _STRIDE % len(cases) or 1 if cases else 0
    return tuple((case, cases[(position + shift) % len(cases)]) for position, case in enumerate(cases))


@dataclass(frozen=True)
class Pairs:
    """The pairs of one step.

    Attributes:
        data: on the network's grid.
        cases: the fixed and the moving case of each pair, one after the other.
        step: the step they belong to.
    """

    data: PairBatch
    cases: tuple[str, ...]
    step: int

    def to(self, device: str | torch.device, memory_format: torch.memory_format = torch.contiguous_format) -> Pairs:
        """The same pairs on a device, the images in that layout."""

        def move(name: str, values: Tensor) -> Tensor:
            layout = memory_format if name in ("fixed", "moving") else torch.preserve_format
            return values.to(device, non_blocking=True, memory_format=layout)

        return self._mapped(move)

    def pin_memory(self) -> Pairs:
        """The same pairs in page-locked memory."""
        return self._mapped(lambda _, values: values.pin_memory())

    def _mapped(self, change: Callable[[str, Tensor], Tensor]) -> Pairs:
        tensors = {column.name: getattr(self.data, column.name) for column in fields(self.data)}
        changed: dict[str, Any] = {
            name: None if values is None else change(name, values) for name, values in tensors.items()
        }
        return replace(self, data=PairBatch(**changed))


@dataclass(frozen=True)
class PairDraw:
    """One pair before a voxel is read."""

    fixed: str
    moving: str

    @property
    def case(self) -> str:
        """Both, for error messages."""
        return f"{self.fixed} and {self.moving}"


@dataclass(frozen=True)
class PairSource:
    """Makes the pairs of any step (see `batches.source.Source`); nothing is carried over from one step to the next.

    Random numbers of pair `index` of a step come from `default_rng((seed, stream, step, index))` alone.

    Attributes:
        store: preprocessed cases.
        cases: to draw from; for the stream of validation not used.
        plan: the network's.
        policy: augmentation of each image by itself.
        mirror_axes: axes of the grid along which both images of a pair are reversed together, or not.
        labelled: whether batches have labels.
        seed, stream: of the random numbers.
        fixed_pairs: taken in turns instead of drawing; None draws ordered pairs of different cases.
        atlas: moving case of every drawn pair; None draws that too.
    """

    store: Store
    cases: tuple[str, ...]
    plan: LearnedPlan
    policy: Policy = field(default_factory=Policy)
    mirror_axes: tuple[int, ...] = ()
    labelled: bool = False
    seed: int = 0
    stream: int = TRAINING
    fixed_pairs: tuple[CasePair, ...] | None = None
    atlas: str | None = None

    can_use_device = False  # a pair is a few milliseconds of a worker's time

    def __post_init__(self) -> None:
        alone = len(self.cases) < 2 and self.plan.supervision != "deformations"
        lacking = not self._others if self.atlas is not None else alone or not self.cases
        if self.fixed_pairs is None and lacking:
            raise ConfigurationError("pairs need at least two training cases", got=len(self.cases))

    def draws(self, step: int, samples: range | None = None) -> list[PairDraw]:
        """The cases of a step's pairs; reads no voxel."""
        return [PairDraw(*self._pair(step, index, self._rng(step, index))) for index in self._indices(samples)]

    def batch(self, step: int, samples: range | None = None) -> Pairs:
        """The pairs of a step; `samples` makes only these of `range(batch_size)`, each as it is in the whole batch."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums depend on the number of threads, and samples must not
        try:
            pairs = [self._make(step, index) for index in self._indices(samples)]
        finally:
            torch.set_num_threads(threads)
        names = [column.name for column in fields(PairBatch)]
        columns = {name: [getattr(data, name) for data, _ in pairs] for name in names}
        stacked: dict[str, Any] = {
            name: None if parts[0] is None else torch.stack(parts) for name, parts in columns.items()
        }
        return Pairs(PairBatch(**stacked), tuple(case for _, pair in pairs for case in pair), step)

    def snapshot(self) -> PairSource:
        """This source, which never changes."""
        return self

    def _indices(self, samples: range | None) -> range:
        return range(self.plan.batch_size) if samples is None else samples

    def _rng(self, step: int, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.stream, step, index))

    def _pair(self, step: int, index: int, rng: np.random.Generator) -> CasePair:
        if self.fixed_pairs is not None:
            return self.fixed_pairs[(step * self.plan.batch_size + index) % len(self.fixed_pairs)]
        if self.atlas is not None:
            return self._others[int(rng.integers(len(self._others)))], self.atlas
        moving = int(rng.integers(len(self.cases)))
        if self.plan.supervision == "deformations":
            return self.cases[moving], self.cases[moving]
        other = int(rng.integers(len(self.cases) - 1))
        return self.cases[other + (other >= moving)], self.cases[moving]

    @cached_property
    def _others(self) -> tuple[str, ...]:
        return tuple(case for case in self.cases if case != self.atlas)

    def _make(self, step: int, index: int) -> tuple[PairBatch, CasePair]:
        """One pair without the axis of the batch."""
        rng = self._rng(step, index)
        pair = self._pair(step, index, rng)
        mirrored = tuple(axis for axis in self.mirror_axes if rng.random() < 0.5)
        fixed, moving = (self._image(case, rng, mirrored) for case in pair)
        flow = None
        if self.plan.supervision == "deformations" and self.fixed_pairs is None:
            # the fixed image is the moving one, deformed
            flow = random_deformation(self.plan.shape, rng, amplitude=self.plan.amplitude)
            fixed = _warped(moving, flow)
        weight = None
        if self.plan.hyper_range is not None:
            low, high = np.log(self.plan.hyper_range)
            weight = torch.tensor(np.exp(rng.uniform(low, high)), dtype=torch.float32)
        data = PairBatch(
            fixed=fixed.image,
            moving=moving.image,
            fixed_mask=fixed.labels[1].bool(),
            moving_mask=moving.labels[1].bool(),
            fixed_labels=fixed.labels[0] if self.labelled else None,
            moving_labels=moving.labels[0] if self.labelled else None,
            known_flow=flow,
            weight=weight,
        )
        return data, pair

    def _image(self, case: str, rng: np.random.Generator, mirrored: tuple[int, ...]) -> Sample:
        """A case on the network's grid, augmented; its labels have a second channel, the field of view."""
        image, labels = self._read(case)
        shape = self.plan.shape
        parameters: Sequence[Any | None] = self.policy.draw(rng, (len(image), *shape))
        box = self.policy.box(parameters, shape)
        first = first_voxel(image.shape[1:], shape)
        start = [f + n // 2 + s for f, n, s in zip(first, shape, box.start, strict=True)]
        values = continued(image, start, box.size)
        inside = covered(image.shape[1:], start, box.size)
        both = np.stack([np.where(inside, continued(labels, start, box.size), 0).clip(min=0), inside]).astype(np.int16)
        sample = self.policy.apply(Sample(torch.from_numpy(values), torch.from_numpy(both)), parameters, box, shape)
        if mirrored:
            axes = [axis + 1 for axis in mirrored]
            sample = Sample(sample.image.flip(axes), sample.labels.flip(axes))
        return Sample(sample.image, sample.labels.clamp(min=0))

    def _read(self, case: str) -> tuple[np.ndarray, np.ndarray]:
        """Image (C, *S) and labels (*S), turned to the world's axes."""
        image, labels = self.store.read(case)
        turn = Orientation.of(self.store.properties(case).geometry)
        if self.plan.dimension == 2:
            return turn.turn(image)[:, 0], turn.turn(labels)[0]
        spacing = self.plan.spacing
        turned = [spacing[axis] for axis in turn.order]
        if any(abs(a / b - 1) > _SAME_SPACING for a, b in zip(turned, spacing, strict=True)):
            raise ImageError(
                f"the axes of case {case} lie otherwise in the world than those of the others, and spacings differ",
                got=f"array axes along the world's {', '.join('zyx'[axis] for axis in turn.order)}",
                expected="z, y, x",
                remedy="save all images with their axes in one order",
            )
        return turn.turn(image), turn.turn(labels)


def _warped(sample: Sample, flow: Tensor) -> Sample:
    """The fixed image of which a flow leads to this one."""
    image = warp(sample.image[None], flow[None])[0]
    return Sample(image, warp(sample.labels[None], flow[None], "nearest")[0])
