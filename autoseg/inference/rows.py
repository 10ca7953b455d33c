"""Logits that are handed out row by row, so that a volume of many classes never exists as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Shape = tuple[int, int, int, int]


class LogitRows(Protocol):
    """Logits (K, Z, Y, X) float32 in plan space, taken from the first row (Z) to the last."""

    @property
    def shape(self) -> Shape: ...

    def take(self, low: int, high: int) -> Tensor:
        """Rows low to high, (K, high - low, Y, X); neither bound lies below that of the call before."""
        ...


@dataclass(frozen=True)
class WholeLogits:
    """Logits that are in memory already; they can be taken any number of times."""

    logits: Tensor

    @property
    def shape(self) -> Shape:
        k, z, y, x = self.logits.shape
        return k, z, y, x

    def take(self, low: int, high: int) -> Tensor:
        return self.logits[:, low:high]


class StreamedLogits:
    """Logits that are computed when they are asked for and let go when nobody can ask for them again.

    Args:
        shape: of the whole.
        parts: (K, rows, Y, X) each, together all rows in order.
    """

    def __init__(self, shape: Shape, parts: Iterator[Tensor]) -> None:
        self._shape, self._parts = shape, parts
        self._held: list[Tensor] = []
        self._low = self._high = 0  # rows that are held

    @property
    def shape(self) -> Shape:
        return self._shape

    def take(self, low: int, high: int) -> Tensor:
        if low < self._low or high > self._shape[1]:
            raise ValueError(f"rows {low}:{high} of {self._shape[1]} are asked for, those below {self._low} are gone")
        while self._high < high:
            part = next(self._parts)
            self._held.append(part)
            self._high += part.shape[1]
        while self._held and self._low + self._held[0].shape[1] <= low:
            self._low += self._held.pop(0).shape[1]
        held = self._held[0] if len(self._held) == 1 else torch.cat(self._held, dim=1)
        return held[:, low - self._low : high - self._low]


def in_memory(rows: LogitRows) -> WholeLogits:
    """All rows at once, for logits that are small or needed twice."""
    return rows if isinstance(rows, WholeLogits) else WholeLogits(rows.take(0, rows.shape[1]))
