"""A store in memory, for tests of what is made from a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autoseg.data.labels import OUTSIDE


class MemoryStore:
    """Cases as arrays; reads boxes as the store on disk does. `on_read(case)` is called before each read."""

    def __init__(self, cases: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Mapping[str, int]) -> None:
        self._cases, self._names = dict(cases), dict(names)
        self.cases = tuple(sorted(cases))
        self.on_read: Callable[[str], None] | None = None
        self.boxes: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []

    def shape(self, case: str) -> tuple[int, ...]:
        return self._cases[case][0].shape

    def locations(self, case: str) -> dict[str, np.ndarray]:
        labels = self._cases[case][1]
        found = {name: np.argwhere(labels == value) for name, value in self._names.items()}
        if "annotated" in found:
            found["annotated"] = np.argwhere(labels < self._names["annotated"])
        return found

    def read_box(self, case: str, start: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        if self.on_read is not None:
            self.on_read(case)
        self.boxes.append((case, tuple(start), tuple(size)))
        image, labels = self._cases[case]
        index = [np.arange(s, s + n) for s, n in zip(start, size, strict=True)]
        inside = [(i >= 0) & (i < n) for i, n in zip(index, labels.shape, strict=True)]
        places = np.ix_(*(np.clip(i, 0, n - 1) for i, n in zip(index, labels.shape, strict=True)))
        mask = inside[0][:, None, None] & inside[1][:, None] & inside[2]
        return (
            np.where(mask, image[(slice(None), *places)], 0).astype(np.float32),
            np.where(mask, labels[places], OUTSIDE).astype(np.int16),
        )
