"""What a section of the comparison found, as records that can be kept and rendered."""

from __future__ import annotations

from enum import StrEnum
from statistics import median

from autoseg.records import Record


class Unit(StrEnum):
    """What the figures of a row are; times want to be small, everything else large."""

    SECONDS = "s"
    RATE = "samples/s a core"
    DICE = "Dice"


class Floor(Record):
    """The least time that the row's work can take on this machine.

    Attributes:
        seconds: bytes over bandwidth, operations over peak, or the longer of both; for a rate, seconds a sample.
        how: the sum in words and figures, e.g. "2 x 1.2 GB / 9.5 GB/s".
    """

    seconds: float
    how: str


class Row(Record):
    """One setting of a section, measured several times on either side in turns.

    Attributes:
        setting: what was done, a few words.
        ours, peer: one figure a repeat.
        ours_peak_mb, peer_peak_mb: largest memory of the process and its children together; None if not measured.
        agreement: how the results of both compare, in words and figures; empty where there is nothing to compare.
        agrees: False if the results differ more than they may.
        required: the least ratio asked for; for Dice the least difference.
        required_ours: the least figure of ours that is asked for, whatever the peer's (Dice).
        required_memory: the largest share of the peer's peak memory that is asked for.
        floor: physical limit of our side.
    """

    setting: str
    unit: Unit
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    ours_peak_mb: float | None = None
    peer_peak_mb: float | None = None
    agreement: str = ""
    agrees: bool = True
    required: float | None = None
    required_ours: float | None = None
    required_memory: float | None = None
    floor: Floor | None = None

    @property
    def ratio(self) -> float:
        """How many times better ours is, by medians; for Dice the difference. nan without the peer's figures."""
        if not (self.ours and self.peer):
            return float("nan")
        ours, peer = median(self.ours), median(self.peer)
        if self.unit is Unit.DICE:
            return ours - peer
        return peer / ours if self.unit is Unit.SECONDS else ours / peer

    @property
    def memory_share(self) -> float | None:
        """Our peak memory over the peer's."""
        if self.ours_peak_mb is None or self.peer_peak_mb is None:
            return None
        return self.ours_peak_mb / self.peer_peak_mb

    @property
    def met(self) -> bool | None:
        """Whether everything asked of this row holds; None where nothing is asked."""
        if self.required is None and self.required_ours is None and self.required_memory is None:
            return None
        share = self.memory_share
        return (
            self.agrees
            and (self.required is None or self.ratio >= self.required)
            and (self.required_ours is None or (bool(self.ours) and median(self.ours) >= self.required_ours))
            and (self.required_memory is None or (share is not None and share <= self.required_memory))
        )

    @property
    def above_floor(self) -> float | None:
        """Our time as a multiple of the physical limit."""
        if self.floor is None or not self.ours:
            return None
        ours = median(self.ours)
        return (1 / ours if self.unit is Unit.RATE else ours) / self.floor.seconds


class Section(Record):
    """A section's rows.

    Attributes:
        work: what either side does, in a sentence or two.
        rows: the figures.
        profile: where our time goes, measured in this run, one sentence each.
    """

    work: str
    rows: tuple[Row, ...]
    profile: tuple[str, ...] = ()


class Measured(Record):
    """A section with where and when it was measured; one JSON file each."""

    name: str
    title: str
    section: Section
    machine: dict[str, str]
    date: str
    minutes: float
