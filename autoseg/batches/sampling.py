"""Which place of which case each sample of a batch shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from autoseg.errors import ConfigurationError
from autoseg.records import unknown_name

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Integer

Voxel = tuple[int, int, int]

ANNOTATED = "annotated"
"""Key of the locations of annotated voxels, which a store has where the labels have an ignore value."""


class PatchStore(Protocol):
    """What batches need of `autoseg.preprocessing.store.Store`."""

    def shape(self, case: str) -> tuple[int, ...]:
        """(C, Z, Y, X) of the case's image."""
        ...

    def locations(self, case: str) -> Mapping[str, Integer[np.ndarray, "_ 3"]]:
        """Foreground name -> (N, 3) integer voxels of it, (z, y, x); may have a key "annotated"."""
        ...

    def read_box(
        self, case: str, start: Sequence[int], size: Sequence[int]
    ) -> tuple[Float32[np.ndarray, " channel *size"], Int16[np.ndarray, "*size"]]:
        """Image float32 (C, *size) and labels int16 (*size), in memory of their own, 0 and OUTSIDE beyond the image."""
        ...


@dataclass(frozen=True)
class AnnotatedStore:
    """A store whose locations are those of classes that were looked for, so that no sampler is led to others.

    Attributes:
        store: the preprocessed cases.
        annotated: case -> foreground names that were looked for; a case that is not named has all.
    """

    store: PatchStore
    annotated: Mapping[str, Sequence[str]]

    def shape(self, case: str) -> tuple[int, ...]:
        """(C, Z, Y, X) of the case's image."""
        return self.store.shape(case)

    def locations(self, case: str) -> Mapping[str, Integer[np.ndarray, "_ 3"]]:
        """Foreground name -> (N, 3) integer voxels of it, (z, y, x), and "annotated" where the store has it."""
        locations, names = self.store.locations(case), self.annotated.get(case)
        if names is None:
            return locations
        return {name: voxels for name, voxels in locations.items() if name in names or name == ANNOTATED}

    def read_box(
        self, case: str, start: Sequence[int], size: Sequence[int]
    ) -> tuple[Float32[np.ndarray, " channel *size"], Int16[np.ndarray, "*size"]]:
        """Image float32 (C, *size) and labels int16 (*size), as the store has them."""
        return self.store.read_box(case, start, size)


@dataclass(frozen=True)
class Draw:
    """The place of one sample.

    Attributes:
        case: identifier.
        centre: voxel (z, y, x) with `size // 2` voxels of the patch before it; may lie outside the image.
        forced: the foreground name that the place was chosen for, if any.
    """

    case: str
    centre: Voxel
    forced: str | None = None


@dataclass(frozen=True)
class SamplingRules:
    """What a sampler is told of the batch.

    Attributes:
        cases: identifiers to draw from, equally likely, with replacement.
        patch_size: (Z, Y, X); (1, Y, X) for a 2D configuration.
        window_size: (Z, Y, X), what the augmentation may show around the centre, at least the patch.
        batch_size: samples per batch.
        foreground_fraction: share of the batch that is forced to hold a foreground class.
        class_weights: foreground name -> relative weight in that choice; a name not listed weighs 1.
        annotated_only: draw the other places among the annotated voxels (labels with an ignore value).
    """

    cases: tuple[str, ...]
    patch_size: Voxel
    window_size: Voxel
    batch_size: int
    foreground_fraction: float = 1 / 3
    class_weights: Mapping[str, float] = field(default_factory=dict)
    annotated_only: bool = False

    def __post_init__(self) -> None:
        if not self.cases:
            raise ConfigurationError("there are no cases to draw batches from", remedy="give at least one case")

    def is_forced(self, index: int) -> bool:
        """Whether sample `index` of a batch must hold foreground: the last ones, nnU-Net's rounding."""
        return index >= round(self.batch_size * (1 - self.foreground_fraction))


class Sampler(Protocol):
    """A plug-in of kind "sampler" is called with (store, rules) and gives one of these."""

    def draw(self, rng: np.random.Generator, index: int) -> Draw:
        """The place of sample `index` of a batch; all randomness comes from `rng`."""
        ...


@runtime_checkable
class AdaptiveSampler(Sampler, Protocol):
    """A sampler that is told after each round where the model errs, and keeps that in checkpoints."""

    def update(self, locations: Mapping[str, Integer[np.ndarray, "_ 3"]]) -> None:
        """Case -> (N, 3) integer voxels (z, y, x) where the model errs now, for the batches opened from now on."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep, of tensors and plain values."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        ...


@dataclass(frozen=True)
class ClassBalancedSampler:
    """nnU-Net v2's sampling (its data_loader.py): a case, then a place in it.

    A forced sample is centred on a stored voxel of one of the case's foreground classes, all classes that the case
    has being equally likely (or by weight), whatever their size. Other samples are uniform over the places where
    the window, enlarged by what the augmentation may show, covers the whole image and little beyond. A case
    without foreground gives a uniform place.
    """

    store: PatchStore
    rules: SamplingRules

    def draw(self, rng: np.random.Generator, index: int) -> Draw:
        """The place of sample `index`."""
        case = self.rules.cases[rng.integers(len(self.rules.cases))]
        name = self._name(rng, case, forced=self.rules.is_forced(index))
        if name is None:
            return Draw(case, self._anywhere(rng, case))
        voxels = self.store.locations(case)[name]
        voxel = voxels[rng.integers(len(voxels))]
        return Draw(case, self.bounded(case, voxel), None if name == ANNOTATED else name)

    def bounded(self, case: str, voxel: Sequence[int] | Integer[np.ndarray, " 3"]) -> Voxel:
        """A centre on the voxel, moved so that the window does not begin before the bound (nnU-Net bounds no end)."""
        first, _ = self._bounds(case)
        half = [n // 2 for n in self.rules.window_size]
        z, y, x = (max(low + h, int(v)) for low, h, v in zip(first, half, voxel, strict=True))
        return z, y, x

    def _name(self, rng: np.random.Generator, case: str, *, forced: bool) -> str | None:
        if not forced and not self.rules.annotated_only:
            return None
        locations = self.store.locations(case)
        present = [name for name, voxels in locations.items() if len(voxels)]
        foreground = [name for name in present if name != ANNOTATED]
        if forced and foreground:
            return self._choose(rng, foreground)
        return ANNOTATED if ANNOTATED in present else None

    def _choose(self, rng: np.random.Generator, names: list[str]) -> str | None:
        if not self.rules.class_weights:
            return names[rng.integers(len(names))]
        weights = np.array([self.rules.class_weights.get(name, 1.0) for name in names], dtype=np.float64)
        if weights.sum() == 0:
            return None
        return names[int(rng.choice(len(names), p=weights / weights.sum()))]

    def _anywhere(self, rng: np.random.Generator, case: str) -> Voxel:
        first, last = self._bounds(case)
        half = [n // 2 for n in self.rules.window_size]
        z, y, x = (int(rng.integers(low, high + 1)) + h for low, high, h in zip(first, last, half, strict=True))
        return z, y, x

    def _bounds(self, case: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """First and last start of the window per axis."""
        return _bounds(self.store.shape(case)[1:], self.rules.patch_size, self.rules.window_size)


class HardLocationSampler:
    """Class-balanced sampling that turns part of the free samples to where the current model errs.

    Half of the samples that are not forced are centred on a place of the pool: a case of the pool, equally
    likely, then one of its places. Until `update` gave a pool, all samples are class-balanced. Batches take the
    pool as it is when they are opened (`Batches`), so that a pool holds for a known range of steps.
    """

    hard_fraction = 0.5

    def __init__(self, store: PatchStore, rules: SamplingRules) -> None:
        self._balanced = ClassBalancedSampler(store, rules)
        self._locations: dict[str, np.ndarray] = {}

    def draw(self, rng: np.random.Generator, index: int) -> Draw:
        """The place of sample `index`."""
        free = not self._balanced.rules.is_forced(index)
        if free and self._locations and rng.random() < self.hard_fraction:
            cases = sorted(self._locations)
            case = cases[rng.integers(len(cases))]
            locations = self._locations[case]
            return Draw(case, self._balanced.bounded(case, locations[rng.integers(len(locations))]))
        return self._balanced.draw(rng, index)

    def update(self, locations: Mapping[str, Integer[np.ndarray, "_ 3"]]) -> None:
        """Replaces the pool: case -> (N, 3) integer voxels (z, y, x) where the model errs; empty cases are left out.

        Raises:
            ConfigurationError: a case that is not drawn from, or an array of another shape.
        """
        pool = {}
        for case, voxels in locations.items():
            if case not in self._balanced.rules.cases:
                raise unknown_name("case", case, self._balanced.rules.cases, where="hard locations")
            voxels = np.asarray(voxels, dtype=np.int32)
            if len(voxels) and (voxels.ndim != 2 or voxels.shape[1] != 3):
                raise ConfigurationError(
                    "wrong shape of hard locations", where=case, got=voxels.shape, expected="(N, 3)"
                )
            if len(voxels):
                pool[case] = voxels
        self._locations = pool  # a new mapping, so that batches already opened keep theirs

    def state(self) -> dict[str, Any]:
        """The pool as tensors, for a checkpoint."""
        return {"places": {case: torch.from_numpy(voxels) for case, voxels in self._locations.items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back a pool that `state` gave."""
        self.update({case: voxels.numpy() for case, voxels in state["places"].items()})


@lru_cache(maxsize=4096)
def _bounds(shape: tuple[int, ...], patch: Voxel, window: Voxel) -> tuple[tuple[int, ...], tuple[int, ...]]:
    first, last = [], []
    for length, inner, outer in zip(shape, patch, window, strict=True):
        margin = max(outer - inner, outer - length)
        first.append(-margin // 2)
        last.append(length + margin // 2 + margin % 2 - outer)
    return tuple(first), tuple(last)
