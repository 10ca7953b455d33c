"""Structures that label files name, as the values of a data set's labels.

A file that names its structures says of every voxel in which of them it lies: in none, in one, or in several. A label
scheme says the same of its values: that of a label, or, with regions, the set of regions that hold the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.data.image import Image, Remark, Segment
from autoseg.data.labels import LabelScheme
from autoseg.errors import ImageError
from autoseg.log import counted

Members = frozenset[str]
"""Names of the structures that a voxel lies in; empty where it lies in none."""

BACKGROUND, IGNORE = "background", "ignore"
"""Names that do not stand for a structure: of what is none, and of what was not annotated."""


@dataclass(frozen=True)
class Membership:
    """In which structures each voxel lies.

    Attributes:
        codes: (Z, Y, X) indices into `sets`.
        sets: the sets of structures that occur, the empty one first.
    """

    codes: np.ndarray
    sets: tuple[Members, ...]

    def voxels(self) -> dict[Members, int]:
        """How many voxels lie in each set of structures."""
        counts = np.bincount(self.codes.ravel(), minlength=len(self.sets))
        return {members: int(count) for members, count in zip(self.sets, counts, strict=True)}


def folded(name: str) -> str:
    """A name without what spellings of one name differ in: capitals, blanks, underscores and hyphens."""
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def in_channels(
    shape: tuple[int, int, int], masks: Iterable[tuple[str, tuple[slice, ...], np.ndarray]], count: int
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Masks of structures in as few channels as their overlaps allow: each in the first that has room for it.

    Args:
        shape: (Z, Y, X) of all.
        masks: name, where its block lies, and the block's voxels (bool).
        count: how many there are at most.

    Returns:
        (L, Z, Y, X) with 0 where a channel has no structure, L at least 1, and the segments, numbered from 1.
    """
    dtype = np.uint8 if count < 256 else np.uint16
    channels, segments = [np.zeros(shape, dtype)], []
    for number, (name, where, mask) in enumerate(masks, start=1):
        free = (index for index, channel in enumerate(channels) if not channel[where][mask].any())
        index = next(free, len(channels))
        if index == len(channels):
            channels.append(np.zeros(shape, dtype))
        channels[index][where][mask] = number
        segments.append(Segment(name, index, number))
    return np.stack(channels) if len(channels) > 1 else channels[0][None], tuple(segments)


def membership(labels: Image) -> Membership:
    """In which of its segments each voxel of a label file lies; segments of one name are one structure."""
    codes, sets = np.zeros(labels.shape, np.int32), [Members()]
    for index, channel in enumerate(labels.array):
        names: dict[int, set[str]] = {}
        for segment in labels.segments:
            if segment.channel == index:
                names.setdefault(segment.value, set()).add(segment.name)
        values = sorted(names)
        inside = np.isin(channel, values)
        joint = codes[inside].astype(np.int64) * len(values) + np.searchsorted(values, channel[inside])
        pairs = np.unique(joint)
        after = []
        for pair in pairs.tolist():
            members = sets[pair // len(values)] | names[values[pair % len(values)]]
            if members not in sets:
                sets.append(members)
            after.append(sets.index(members))
        if len(pairs):
            codes[inside] = np.asarray(after, np.int32)[np.searchsorted(pairs, joint)]
    return Membership(codes, tuple(sets))


def label_map(labels: Image, scheme: LabelScheme | None, path: Path) -> Image:
    """A label file as one channel of values: `segment_values` where it names its structures, else as it is.

    Raises:
        ImageError: as `segment_values`, or no scheme is given for a file with names.
    """
    if not labels.segments:
        return labels
    if scheme is None:
        names = list(dict.fromkeys(segment.name for segment in labels.segments))
        raise ImageError(
            "the label file names its structures, and which values they stand for is not known here",
            where=path,
            got=", ".join(names[:10]) + (", ..." if len(names) > 10 else ""),
            expected="a file of values, or the labels of the data set beside",
            remedy="give a dataset.json that names them too, or convert the file",
        )
    remarks = (*labels.remarks, *_remarks(labels, scheme, path))
    return replace(labels, array=segment_values(labels, scheme, path)[None], segments=(), remarks=remarks)


def segment_values(labels: Image, scheme: LabelScheme, path: Path) -> np.ndarray:
    """The file values of a data set's labels, from the structures that a label file names.

    A voxel in one structure has the value of the label with its name (`named_labels`); with regions a voxel has the
    value that lies in exactly the regions that it is in. What lies in a structure "ignore" is not annotated, if the
    scheme has a value for that. Structures that the scheme does not name are passed over.

    Args:
        labels: with segments.
        scheme: of the data set.
        path: of the file, for errors.

    Returns:
        (Z, Y, X) integers.

    Raises:
        ImageError: no structure has the name of a label, a voxel is in several structures where the scheme has no
            value for that, or a structure could be either of two labels.
    """
    meanings = named_labels([segment.name for segment in labels.segments], scheme, path)
    if meanings and not any(meanings.values()):
        raise ImageError(
            "the label file has none of the data set's structures",
            where=path,
            got=", ".join(sorted(meanings)),
            expected=", ".join(scheme.foreground),
            remedy="give the labels in dataset.json the names of the structures",
        )
    found = membership(labels)
    values = _values_of_sets(scheme)
    table: list[int] = []
    homeless: dict[Members, int] = {}
    voxels = found.voxels()
    for members in found.sets:
        meant = Members(meaning for name in members if (meaning := meanings[name]) is not None)
        value = scheme.ignore if IGNORE in meant else values.get(meant - {_background(scheme)})
        if value is None and voxels[members]:  # sets that later channels add to are empty in the end
            homeless[meant] = homeless.get(meant, 0) + voxels[members]
        table.append(0 if value is None else value)
    if homeless:
        raise _no_value(homeless, scheme, path)
    smallest = np.min_scalar_type(max(table)) if min(table) >= 0 else np.int32
    return np.asarray(table, smallest)[found.codes]


def named_labels(names: Iterable[str], scheme: LabelScheme, path: Path) -> dict[str, str | None]:
    """Structure -> the label or region of its name; None where the scheme has none.

    Names are compared as they are, then without capitals, blanks, underscores and hyphens.

    Raises:
        ImageError: two labels differ in nothing else from a structure's name.
    """
    known = [*(scheme.regions or scheme.names), _background(scheme)]
    known += [IGNORE] if scheme.ignore is not None else []
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(known):
        alike.setdefault(folded(name), []).append(name)
    alike.setdefault(BACKGROUND, [_background(scheme)])
    meanings: dict[str, str | None] = {}
    for name in names:
        candidates = [name] if name in known else alike.get(folded(name), [])
        if len(candidates) > 1:
            raise ImageError(
                "a structure's name fits several labels of the data set",
                where=path,
                got=name,
                expected=f"exactly one of {', '.join(candidates)}",
                remedy="rename the structure in the file or the labels in dataset.json",
            )
        meanings[name] = candidates[0] if candidates else None
    return meanings


def _remarks(labels: Image, scheme: LabelScheme, path: Path) -> tuple[Remark, ...]:
    """What is to be said of a file's structures beside the data set's labels: those that are passed over."""
    names = [segment.name for segment in labels.segments]
    meanings = named_labels(names, scheme, path)
    remarks = []
    if strangers := sorted({name for name in names if meanings[name] is None}):
        remarks.append(
            Remark(
                "unnamed-structures",
                "the label file has structures that the data set does not name; they are passed over",
                got=", ".join(strangers),
                remedy="if one of them is meant, name it in the labels of dataset.json",
            )
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        remarks.append(
            Remark(
                "repeated-structures",
                "several structures of the label file have one name; they are taken as one",
                got=", ".join(repeated),
            )
        )
    return tuple(remarks)


def _values_of_sets(scheme: LabelScheme) -> Mapping[Members, int]:
    """Value of each set of labels or regions that has one; the smallest of several."""
    if not scheme.regions:
        none = {} if scheme.zero_is_class else {Members(): 0}
        labels = {Members([name]): value for name, value in scheme.names.items() if value != 0 or scheme.zero_is_class}
        return none | labels
    sets: dict[Members, int] = {}
    for value in scheme.file_values:
        if value == scheme.ignore:
            continue
        sets.setdefault(Members(name for name, values in scheme.regions.items() if value in values), value)
    return sets


def _background(scheme: LabelScheme) -> str:
    found = (name for name, value in scheme.names.items() if value == 0 and not scheme.zero_is_class)
    return next(found, BACKGROUND)


def _no_value(homeless: Mapping[Members, int], scheme: LabelScheme, path: Path) -> ImageError:
    told = sorted(homeless.items(), key=lambda item: -item[1])
    shown = ((" + ".join(sorted(members)) or "none", voxels) for members, voxels in told[:5])
    got = "; ".join(f"{names}: {counted(voxels, 'voxel')}" for names, voxels in shown)
    if len(told) == 1 and not told[0][0]:
        return ImageError(
            "voxels lie in no structure, and the data set has no background",
            where=path,
            got=got,
            expected=f"each voxel in one of {', '.join(scheme.foreground)}",
            remedy="mend the label file, or give the label of value 0 another one in dataset.json",
        )
    if not scheme.regions:
        return ImageError(
            "voxels lie in several structures at once, and the data set's labels are not regions",
            where=path,
            got=got + ("; ..." if len(told) > 5 else ""),
            expected="one structure in each voxel",
            remedy="mend the label file, or make the labels regions in dataset.json (a list of values each)",
        )
    sets = [" + ".join(sorted(members)) for members in _values_of_sets(scheme) if members]
    return ImageError(
        "voxels lie in structures for which together the data set has no value",
        where=path,
        got=got + ("; ..." if len(told) > 5 else ""),
        expected="; ".join(sets),
        remedy="mend the label file, or list one value under all these regions in dataset.json",
    )
