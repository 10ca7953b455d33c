"""Batches of views: which image each example is of, and what is read of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from autoseg.errors import ConfigurationError
from autoseg.preprocessing.store import Store
from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch, ViewExample, collate
from autoseg.tasks.pretraining.protocol import PretrainingMethod
from autoseg.training.task import TRAINING


@dataclass(frozen=True)
class CaseDraw:
    """One example before a voxel is read.

    Attributes:
        case: identifier.
        place: index of the slice for a 2D network; None for a 3D one.
        drawn: the method's part.
    """

    case: str
    place: int | None
    drawn: DrawnExample


@dataclass(frozen=True)
class ViewSource:
    """Makes the batch of any step (see `batches.source.Source`); nothing is carried over from one step to the next.

    Random numbers of example `index` of a step come from `default_rng((seed, stream, step, index))` alone.

    Attributes:
        store: preprocessed cases.
        weights: case -> how often it is drawn, compared with others.
        method: draws and makes the views.
        dimension: spatial dimensions of the network; a 2D one sees slices.
        batch_size: examples of a step.
        in_turn: cases take turns, in the order of `weights`, instead of being drawn: the same in every training.
        seed, stream: of the random numbers.
    """

    store: Store
    weights: Mapping[str, float]
    method: PretrainingMethod
    dimension: int
    batch_size: int
    in_turn: bool = False
    seed: int = 0
    stream: int = TRAINING

    can_use_device = False  # views have different sizes; their transforms are those of one sample

    def __post_init__(self) -> None:
        if not self.weights:
            raise ConfigurationError("there are no images to learn from", remedy="give at least one image")

    def draws(self, step: int, samples: range | None = None) -> list[CaseDraw]:
        """The examples of a step; reads no voxel."""
        return [self._draw(step, index) for index in self._indices(samples)]

    def batch(self, step: int, samples: range | None = None) -> ViewBatch:
        """The batch of a step; `samples` makes only these of `range(batch_size)`, each as it is in the whole batch."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums depend on the number of threads, and samples must not
        try:
            draws = self.draws(step, samples)
            examples = [self._make(draw) for draw in draws]
        finally:
            torch.set_num_threads(threads)
        return collate(examples, [draw.case for draw in draws], step)

    def snapshot(self) -> ViewSource:
        """This source, which never changes."""
        return self

    @cached_property
    def _cases(self) -> tuple[Sequence[str], np.ndarray]:
        return tuple(self.weights), np.cumsum(list(self.weights.values()))

    def _indices(self, samples: range | None) -> range:
        return range(self.batch_size) if samples is None else samples

    def _draw(self, step: int, index: int) -> CaseDraw:
        rng = np.random.default_rng((self.seed, self.stream, step, index))
        cases, sums = self._cases
        if self.in_turn:
            case = cases[(step * self.batch_size + index) % len(cases)]
        else:
            case = cases[int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))]
        depth, *shape = self.store.shape(case)[1:]
        if self.dimension == 2:
            plane = int(rng.integers(depth))
            return CaseDraw(case, plane, self.method.draw(rng, tuple(shape)))
        return CaseDraw(case, None, self.method.draw(rng, (depth, *shape)))

    def _make(self, draw: CaseDraw) -> ViewExample:
        region = draw.drawn.region
        start, size = region.start, region.size
        if draw.place is None:
            image, _ = self.store.read_box(draw.case, start, size)
            return self.method.make(image, draw.drawn)
        image, _ = self.store.read_box(draw.case, (draw.place, *start), (1, *size))
        return self.method.make(image[:, 0], draw.drawn)
