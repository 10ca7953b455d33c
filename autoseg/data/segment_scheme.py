"""The labels of a data set whose files name their structures and which nothing else describes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.segments import BACKGROUND, IGNORE, Members, folded, membership
from autoseg.log import counted

_SHOWN = 20  # names that a warning lists


@dataclass(frozen=True)
class SegmentCensus:
    """The structures of one label file.

    Attributes:
        names: as the file has them, whether any voxel is in them or not.
        voxels: of each set of structures that voxels lie in together; those in none are left out.
    """

    names: frozenset[str]
    voxels: Mapping[Members, int]


def census(labels: Image) -> SegmentCensus:
    """Counts the voxels of a label file that names its structures."""
    voxels = membership(labels).voxels()
    inside = {members: count for members, count in voxels.items() if members and count}
    return SegmentCensus(frozenset(segment.name for segment in labels.segments), inside)


def scheme_of_segments(found: Sequence[SegmentCensus]) -> tuple[LabelScheme, tuple[str, ...]]:
    """The labels of a data set from the structures of all its label files.

    Structures have the values 1..K in the natural order of their names. As long as no voxel lies in two of them they
    are plain labels. Else each is a region: the sets of structures that voxels lie in have the values from K + 1 on,
    and a region holds the values of all sets that it is in. Regions stand from the largest to the smallest, since later
    ones are written over earlier ones: what lies inside another is then not lost. The value written for a region is
    that of its commonest set with structures before it alone, for what stands after it is written anew.

    Spellings of one name that differ in capitals, blanks, underscores and hyphens alone are one structure, called by
    the commonest of them, unless one file has several. Structures called "background" are none, and one called
    "ignore" is what was not annotated, as in a dataset.json.

    Args:
        found: one of each file.

    Returns:
        The scheme, and what was found and assumed, in words.
    """
    files = Counter(name for one in found for name in one.names)
    called = _called(found, files)
    voxels: Counter[Members] = Counter()
    for one in found:
        for members, count in one.voxels.items():
            meant = Members(called[name] for name in members)
            if IGNORE not in meant:
                voxels[meant - {BACKGROUND}] += count
    names = sorted({*called.values()} - {BACKGROUND, IGNORE}, key=_natural)
    together = [members for members in voxels if len(members) > 1]
    warnings = [_told(found, called, names)]
    warnings += _spellings(called, files)
    if together:
        scheme = _regions(names, voxels)
        warnings.append(_overlaps(found, called))
    else:
        scheme = LabelScheme(names={"background": 0} | {name: value for value, name in enumerate(names, start=1)})
    if IGNORE in called.values():
        scheme = scheme.with_(ignore=max(scheme.values) + 1)
        warnings.append("the structure called ignore is taken for what is not annotated")
    return scheme, tuple(warnings)


def _regions(names: Sequence[str], voxels: Mapping[Members, int]) -> LabelScheme:
    rank = {name: value for value, name in enumerate(names, start=1)}
    together = sorted(
        (members for members in voxels if len(members) > 1),
        key=lambda members: (len(members), sorted(rank[name] for name in members)),
    )
    values = {Members([name]): value for name, value in rank.items()}
    values |= {members: value for value, members in enumerate(together, start=len(names) + 1)}
    size = {name: sum(count for members, count in voxels.items() if name in members) for name in names}
    order = sorted(names, key=lambda name: (-size[name], rank[name]))
    regions = {name: tuple(value for members, value in values.items() if name in members) for name in order}
    written = []
    for index, name in enumerate(order):
        before = {*order[: index + 1]}
        possible = [members for members in values if name in members and members <= before]
        written.append(values[max(possible, key=lambda members: (voxels.get(members, 0), -values[members]))])
    return LabelScheme(
        names={"background": 0} | {name: values[0] for name, values in regions.items() if len(values) == 1},
        regions=regions,
        region_order=tuple(written),
    )


def _called(found: Iterable[SegmentCensus], files: Mapping[str, int]) -> dict[str, str]:
    """Name in a file -> name of the structure in the data set."""
    groups: dict[str, list[str]] = {}
    for name in sorted(files):
        groups.setdefault(folded(name), []).append(name)
    apart = {
        key
        for one in found
        for key, times in Counter(folded(name) for name in one.names).items()
        if times > 1 and key not in (BACKGROUND, IGNORE)
    }
    called = {}
    for key, spellings in groups.items():
        commonest = key if key in (BACKGROUND, IGNORE) else max(spellings, key=lambda name: files[name])
        called.update({name: name if key in apart else commonest for name in spellings})
    return called


def _told(found: Sequence[SegmentCensus], called: Mapping[str, str], names: Sequence[str]) -> str:
    times = Counter(name for one in found for name in {called[name] for name in one.names})
    shown = ", ".join(f"{name} ({counted(times[name], 'file')})" for name in names[:_SHOWN])
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"labels are not described; their files name {shown or 'no structure'}{more}"


def _spellings(called: Mapping[str, str], files: Mapping[str, int]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name in called:
        groups.setdefault(folded(name), []).append(name)
    told = []
    for names in (names for names in groups.values() if len(names) > 1):
        shown = ", ".join(f"{name!r} ({counted(files[name], 'file')})" for name in names)
        one = len({called[name] for name in names}) == 1
        told.append(
            f"names of structures that differ in spelling alone are taken as {'one' if one else 'several'}: {shown}"
        )
    return told


def _overlaps(found: Sequence[SegmentCensus], called: Mapping[str, str]) -> str:
    total: Counter[Members] = Counter()
    cases = 0
    for one in found:
        own = {Members(called[name] for name in members): count for members, count in one.voxels.items()}
        own = {members: count for members, count in own.items() if len(members - {BACKGROUND, IGNORE}) > 1}
        cases += bool(own)
        total.update(own)
    shown = "; ".join(
        f"{' + '.join(sorted(members, key=_natural))}: {counted(count, 'voxel')}"
        for members, count in total.most_common(5)
    )
    more = f"; ... ({len(total)} sets in all)" if len(total) > 5 else ""
    return f"structures overlap in {counted(cases, 'file')}, so they are regions ({shown}{more})"


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Orders "rib 2" before "rib 10"."""
    parts = re.split(r"(\d+)", name.casefold())
    return (*((0, int(part)) if part.isdecimal() else (1, part) for part in parts), (1, name))
