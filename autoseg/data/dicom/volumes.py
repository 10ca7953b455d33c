"""Frames grouped into volumes, and the one that is read among several.

Frames of one volume have one series, frame of reference, size, orientation, spacing, echo, echo time, b-value and
component. Where two of them share a place, what else tells them apart (phase, time, acquisition, ...) makes several
volumes.
"""

from __future__ import annotations

import fnmatch
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from autoseg.data.dicom.frames import PLANAR_MODALITIES, DicomFrame
from autoseg.data.image import Remark
from autoseg.errors import ImageError
from autoseg.log import counted

LARGEST = "largest"
SAME_DEPTH = 0.01  # mm; slices nearer than that lie in one place

_SAME_POSITION = 0.1  # mm
_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-4  # relative
_SAME_ECHO_TIME = 0.01  # ms; what rounding makes
_TIMES = ("acquired", "content")
_SHOWN = 12

SamePixels = Callable[[Sequence[DicomFrame]], bool]
"""Whether all these frames have the same pixels."""


@dataclass(frozen=True)
class Volume:
    """Frames that belong together, and the texts that tell them from the others of their source."""

    frames: tuple[DicomFrame, ...]
    told_by: tuple[str, ...] = ()

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        rows, columns = self.frames[0].shape
        return len(self.frames) * rows * columns

    @property
    def firm(self) -> tuple[str, ...]:
        """Texts of what all its frames share: echo, b-value, component."""
        return tuple(text for _, text in self.frames[0].firm if text)

    @property
    def fields(self) -> tuple[str, ...]:
        """What a pattern may name: description, number and UID of the series, and what tells the volume apart."""
        attributes = self.frames[0].header.attributes
        named = [attributes.text(keyword) for keyword in ("SeriesDescription", "SeriesNumber", "SeriesInstanceUID")]
        return tuple(dict.fromkeys(text for text in (*named, *self.firm, *self.told_by) if text))

    def describe(self, *, uid: bool = False, common: Iterable[str] = ()) -> str:
        """One line of a list of volumes.

        Args:
            uid: whether the series' UID is needed to name it.
            common: what all of the list have, and need not be said.
        """
        attributes = self.frames[0].header.attributes
        rows, columns = self.frames[0].shape
        firm = [text for text in self.firm if text not in common]
        number, name = attributes.text("SeriesNumber"), attributes.text("SeriesDescription")
        series = f"series {number}" if number else "series"
        series += f' "{name}"' if name else ""
        series += f" {attributes.text('SeriesInstanceUID')}" if uid or not (number or name) else ""
        size = f"{counted(len(self.frames), 'slice')} of {rows} x {columns}"
        return ", ".join(dict.fromkeys([f"{series}: {size}", *firm, *self.told_by]))


def group_volumes(frames: Iterable[DicomFrame], same_pixels: SamePixels) -> list[Volume]:
    """All volumes of a source, in the order of their series' numbers.

    Args:
        frames: of all its images.
        same_pixels: compares frames that nothing but their pixels could tell apart.
    """
    alike: dict[object, list[list[DicomFrame]]] = {}
    for frame in frames:
        groups = alike.setdefault((frame.header.series, frame.shape, frame.samples, frame.firm), [])
        group = next((group for group in groups if _lie_alike(group[0], frame)), None)
        if group is None:
            groups.append([frame])
        else:
            group.append(frame)
    together = [Volume(tuple(group)) for groups in alike.values() for group in groups]
    volumes = [volume for group in together for echo in _echoes(group) for volume in _split(echo, same_pixels)]
    return sorted(volumes, key=_order)


def choose_volume(volumes: Sequence[Volume], pattern: str | None, where: Path) -> tuple[Volume, tuple[Remark, ...]]:
    """The volume to read, and remarks on the choice.

    Args:
        volumes: at least one.
        pattern: "largest", or text that occurs in (or a pattern with `*` that fits) exactly one volume's description,
            number, UID, echo, b-value or what else its line names, without regard to case; None takes the only one.
        where: the source, for errors.

    Raises:
        ImageError: several, and none or several fit.
    """
    if len(volumes) == 1:
        only = volumes[0]
        if pattern is None or pattern.casefold() == LARGEST or _fitting(volumes, pattern):
            return only, ()
        remark = Remark(
            "series-not-named",
            "the source holds one volume, which is read although the pattern for series does not name it",
            got=only.describe(),
            remedy="check that it is the series that was meant",
        )
        return only, (remark,)
    if pattern is None:
        raise _several("the DICOM source holds several volumes", volumes, where)
    if pattern.casefold() == LARGEST:
        most = max(volume.voxels for volume in volumes)
        fitting = [volume for volume in volumes if volume.voxels == most]
    else:
        fitting = _fitting(volumes, pattern)
    if len(fitting) == 1:
        return fitting[0], ()
    if not fitting:
        raise _several(f"no volume of the DICOM source fits the pattern {pattern!r}", volumes, where)
    raise _several(f"several volumes of the DICOM source fit the pattern {pattern!r}", fitting, where)


def _several(subject: str, volumes: Sequence[Volume], where: Path) -> ImageError:
    common = set.intersection(*(set(volume.firm) for volume in volumes))
    lines = [volume.describe(common=common) for volume in volumes]
    repeated_lines = {line for line in lines if lines.count(line) > 1}
    lines = [
        volume.describe(uid=line in repeated_lines, common=common) for volume, line in zip(volumes, lines, strict=True)
    ]
    shown = lines[:_SHOWN] + ([f"... ({len(lines)} in all)"] if len(lines) > _SHOWN else [])
    return ImageError(
        subject,
        where=where,
        got="".join(f"\n    {line}" for line in shown),
        expected="one volume",
        remedy='choose one by --series "part of its line" or --series largest, or give each a folder of its own',
    )


def _fitting(volumes: Sequence[Volume], pattern: str) -> list[Volume]:
    """Those of which a field equals the pattern; if none does, those of which a field or the line contains it."""
    wanted = pattern.casefold()
    equal = [volume for volume in volumes if wanted in (field.casefold() for field in volume.fields)]
    if equal:
        return equal
    inside = wanted if any(sign in wanted for sign in "*?[") else f"*{_literal(wanted)}*"
    return [
        volume
        for volume in volumes
        if any(
            fnmatch.fnmatchcase(text.casefold(), inside)
            for text in (*volume.fields, ", ".join(volume.fields), volume.describe(uid=True))
        )
    ]


def _literal(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)


def _order(volume: Volume) -> tuple[float, str, tuple[tuple[str, str], ...], int]:
    attributes, first = volume.frames[0].header.attributes, volume.frames[0]
    try:
        number = attributes.number("SeriesNumber") or 0.0
    except ImageError:
        number = 0.0
    return number, attributes.text("SeriesInstanceUID"), first.firm, min(frame.instance for frame in volume.frames)


def _lie_alike(first: DicomFrame, other: DicomFrame) -> bool:
    """Whether two frames of a series have one orientation and spacing; planes without place are alone."""
    if (first.orientation is None) != (other.orientation is None):
        return False
    if first.orientation is not None and other.orientation is not None:
        turned = np.abs(np.subtract(first.orientation, other.orientation)).max()
        if turned > _SAME_DIRECTION:
            return False
    if first.position is None and first.modality in PLANAR_MODALITIES:
        return False
    if first.spacing is None or other.spacing is None:
        return first.spacing is other.spacing
    return bool(np.allclose(first.spacing, other.spacing, rtol=_SAME_SPACING, atol=0))


def _echoes(volume: Volume) -> list[Volume]:
    """The volume by echo times, but where most of them would have a single slice, or not all frames state one."""
    times = sorted({frame.echo_time for frame in volume.frames if frame.echo_time is not None})
    starts = times[:1] + [time for before, time in pairwise(times) if time - before > _SAME_ECHO_TIME]
    stated = all(frame.echo_time is not None for frame in volume.frames)
    if not stated or len(starts) < 2 or 2 * len(starts) > len(volume.frames):
        return [volume]
    parts: dict[int, list[DicomFrame]] = {}
    for frame in volume.frames:
        parts.setdefault(bisect_right(starts, frame.echo_time or 0.0), []).append(frame)
    return [
        Volume(tuple(frames), (*volume.told_by, dict(frames[0].loose)["TE"])) for _, frames in sorted(parts.items())
    ]


def _split(volume: Volume, same_pixels: SamePixels) -> list[Volume]:
    """The volume, or several where frames share a place."""
    repeats = repeated(volume.frames)
    if not repeats:
        return [volume]
    names = [name for name, _ in volume.frames[0].loose if name not in _TIMES]
    for whole in (True, False):  # first by what gives volumes of the same places, then by what separates them at all
        for name in names:
            parts = _parts(volume, name)
            if len(parts) > 1 and (_same_places(parts) if whole else _separates(repeats, name)):
                return [piece for part in parts for piece in _split(part, same_pixels)]
    if all(same_pixels(frames) for frames in repeats):
        return [volume]
    return _by_instance(volume) or [volume]


def repeated(frames: Sequence[DicomFrame]) -> list[list[DicomFrame]]:
    """Groups of two and more frames that share a depth."""
    placed = sorted((frame for frame in frames if frame.depth is not None), key=lambda frame: frame.depth or 0.0)
    groups: list[list[DicomFrame]] = []
    for frame in placed:
        if groups and abs((frame.depth or 0.0) - (groups[-1][0].depth or 0.0)) < SAME_DEPTH:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return [group for group in groups if len(group) > 1]


def in_one_place(frames: Sequence[DicomFrame]) -> bool:
    """Whether frames of one depth lie on each other, and not beside each other."""
    positions = np.array([frame.position for frame in frames])
    return bool(np.linalg.norm(positions - positions[0], axis=1).max() < _SAME_POSITION)


def _parts(volume: Volume, name: str) -> list[Volume]:
    """The volume's frames by their text of a trait."""
    parts: dict[str, list[DicomFrame]] = {}
    for frame in volume.frames:
        parts.setdefault(dict(frame.loose).get(name, ""), []).append(frame)
    return [Volume(tuple(frames), (*volume.told_by, *([text] if text else []))) for text, frames in parts.items()]


def _same_places(parts: Sequence[Volume]) -> bool:
    """Whether all parts have the same depths."""
    depths = [sorted({round((frame.depth or 0.0) / SAME_DEPTH / 10) for frame in part.frames}) for part in parts]
    return all(other == depths[0] for other in depths[1:])


def _separates(repeats: Sequence[Sequence[DicomFrame]], name: str) -> bool:
    """Whether all frames that share a place differ in a trait."""
    return all(len({dict(frame.loose).get(name) for frame in group}) == len(group) for group in repeats)


def _by_instance(volume: Volume) -> list[Volume]:
    """Repetitions that follow each other in the order of instances: all slices once, then all once more.

    Empty where places have different numbers of frames or the repetitions are mixed: nothing is guessed then.
    """
    depths = [frame.depth for frame in volume.frames]
    repeats = repeated(volume.frames)
    count = len(repeats[0])
    if None in depths or any(len(group) != count for group in repeats) or count * len(repeats) != len(depths):
        return []
    if not all(in_one_place(group) for group in repeats):
        return []
    ordered = [sorted(group, key=lambda frame: frame.instance) for group in repeats]
    turns = list(zip(*ordered, strict=True))
    for turn, following in pairwise(turns):
        if max(frame.instance for frame in turn) >= min(frame.instance for frame in following):
            return []
    return [Volume(turn, (*volume.told_by, f"repetition {number}")) for number, turn in enumerate(turns, start=1)]
