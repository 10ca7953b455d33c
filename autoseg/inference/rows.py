"""Logits that are handed out row by row, so that a volume of many classes never exists as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from autoseg.inference.ahead import ahead
from autoseg.inference.readout import Readout

if TYPE_CHECKING:
    from jaxtyping import Float32

Shape = tuple[int, int, int, int]


class LogitRows(Protocol):
    """Logits (K, Z, Y, X) float32 in plan space, taken from the first row (Z) to the last.

    They may be held as fewer features, from which the readout makes them.
    """

    @property
    def shape(self) -> Shape:
        """Of the logits."""
        ...

    @property
    def readout(self) -> Readout | None:
        """What makes logits of the features; None where they are held themselves."""
        ...

    def features(self, low: int, high: int) -> Float32[Tensor, "channel rows y x"]:
        """Rows low to high as they are held, (C, high - low, Y, X); neither bound is below that of the call before."""
        ...

    def take(self, low: int, high: int) -> Float32[Tensor, "output rows y x"]:
        """The logits of these rows, (K, high - low, Y, X); the same rule."""
        ...


@dataclass(frozen=True)
class WholeLogits:
    """What is in memory already; it can be taken any number of times.

    Attributes:
        held: the logits, or features of which `readout` makes them; (C, Z, Y, X) float32.
        readout: see `LogitRows`.
    """

    held: Float32[Tensor, "channel z y x"]
    readout: Readout | None = None

    @property
    def shape(self) -> Shape:
        c, z, y, x = self.held.shape
        return (c if self.readout is None else len(self.readout.bias)), z, y, x

    @property
    def logits(self) -> Float32[Tensor, "output z y x"]:
        """All of them, (K, Z, Y, X)."""
        return self.take(0, self.shape[1])

    def features(self, low: int, high: int) -> Float32[Tensor, "channel rows y x"]:
        return self.held[:, low:high]

    def take(self, low: int, high: int) -> Float32[Tensor, "output rows y x"]:
        features = self.features(low, high)
        return features if self.readout is None else self.readout(features)


class StreamedLogits:
    """Logits that are computed when they are asked for and let go when nobody can ask for them again.

    Args:
        shape: of the logits.
        parts: (C, rows, Y, X) each, together all rows in order.
        readout: makes logits of the parts; None where they are logits.
        stopped: set when nobody will ask for more, so that a thread in which `parts` is made can end early.
    """

    def __init__(
        self,
        shape: Shape,
        parts: Iterator[Float32[Tensor, "channel rows y x"]],
        readout: Readout | None = None,
        stopped: Event | None = None,
    ) -> None:
        self._shape, self._parts, self._readout = shape, parts, readout
        self._stopped = stopped or Event()
        self._held: list[Tensor] = []
        self._low = self._high = 0  # rows that are held

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def readout(self) -> Readout | None:
        return self._readout

    def features(self, low: int, high: int) -> Float32[Tensor, "channel rows y x"]:
        if low < self._low or high > self._shape[1]:
            raise ValueError(f"rows {low}:{high} of {self._shape[1]} are asked for, those below {self._low} are gone")
        while self._high < high:
            self._release(low)
            part = next(self._parts)
            self._held.append(part)
            self._high += part.shape[1]
        self._release(low)
        parts, start = [], self._low
        for part in self._held:  # only what is asked for is joined
            stop = start + part.shape[1]
            if start < high and stop > low:
                parts.append(part[:, max(0, low - start) : high - start])
            start = stop
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def take(self, low: int, high: int) -> Float32[Tensor, "output rows y x"]:
        features = self.features(low, high)
        return features if self._readout is None else self._readout(features)

    def ahead(self) -> StreamedLogits:
        """The same, of which a thread computes the next rows while the caller works on those that it has.

        For logits that are taken piece by piece, before the first piece. It is not for small ones: with the threads of
        two callers OpenMP counts more than there are cores, lets them sleep between operations, and a small network
        takes half as long again.
        """
        return StreamedLogits(self._shape, ahead(self._parts, self._stopped), self._readout, self._stopped)

    def _release(self, low: int) -> None:
        """Lets go of the parts that lie below a row."""
        while self._held and self._low + self._held[0].shape[1] <= low:
            self._low += self._held.pop(0).shape[1]


def computed_ahead(rows: LogitRows) -> LogitRows:
    """Rows of which the next are computed while the caller works on the ones before, if they are not there yet."""
    return rows.ahead() if isinstance(rows, StreamedLogits) else rows


def in_memory(rows: LogitRows) -> WholeLogits:
    """All rows at once, for logits that are small or needed twice."""
    return rows if isinstance(rows, WholeLogits) else WholeLogits(rows.features(0, rows.shape[1]), rows.readout)
