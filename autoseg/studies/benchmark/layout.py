"""The cases in the unpacked folder of a challenge: which files belong to each, and which are missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from autoseg.data.discovery import discover
from autoseg.data.files import ending_of, stem_of
from autoseg.data.listing import is_junk, split_channel
from autoseg.errors import DatasetError
from autoseg.studies.benchmark.files import PLACE, Alternative
from autoseg.studies.benchmark.specification import Specification


@dataclass(frozen=True)
class SourceCase:
    """One case in the folder of a challenge.

    Attributes:
        id: identifier in the data set that is made.
        images: image files that are there, one per channel, or one with all channels.
        label: file with label values; None if labels are made of masks, or it is missing.
        masks: training value and the files that are non-zero where it is, in the order in which they are laid.
        page: of the image and label files, for stacks whose pages are cases.
        missing: files that the case lacks, as paths in the folder.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None = None
    masks: tuple[tuple[int, tuple[Path, ...]], ...] = ()
    page: int | None = None
    missing: tuple[str, ...] = ()


def find_cases(specification: Specification, data: str | Path) -> tuple[SourceCase, ...]:
    """The training cases in the unpacked folder of a challenge, sorted by identifier, incomplete ones too.

    Raises:
        DatasetError: no such folder, no case in it, or two cases with one identifier.
    """
    data = Path(data).resolve()
    if not data.is_dir():
        raise DatasetError(
            "the folder does not exist",
            where=data,
            expected=f"the unpacked files of {specification.title}",
            remedy=specification.download,
        )
    layout = specification.layout
    if layout.form != "patterns":
        cases = list(_discovered(specification, data))
    else:
        by_alternative = [list(_by_patterns(specification, alternative, data)) for alternative in layout.alternatives]
        cases = max(by_alternative, key=len)
    if not cases:
        patterns = [f"\n    {alternative.images[0]}" for alternative in layout.alternatives]
        raise DatasetError(
            f"no case of {specification.title} is found",
            where=data,
            got=", ".join(sorted(path.name for path in data.iterdir())[:12]) or "an empty folder",
            expected=layout.description + "".join(patterns),
            remedy=specification.download,
        )
    cases.sort(key=lambda case: case.id)
    for first, second in pairwise(cases):
        if first.id == second.id:
            raise DatasetError("two cases have one identifier", where=data, got=first.id, remedy="remove one of them")
    return tuple(cases)


def _discovered(specification: Specification, data: Path) -> Iterator[SourceCase]:
    """Cases of a folder with a dataset.json; files that it lists in vain are missing in their cases."""
    dataset = discover(data)
    for case in dataset.training:
        lacking = dataset.missing_channels.get(case.id, ())
        yield SourceCase(case.id, case.images, case.label, missing=tuple(lacking))
    for path in dataset.unmatched_images:
        case_id = stem_of(path)
        if specification.layout.form == "nnunet":
            case_id = split_channel(case_id)[0]
        yield SourceCase(case_id, (path,), missing=(f"the label of {path.relative_to(data).as_posix()}",))
    for path in dataset.unmatched_labels:
        yield SourceCase(stem_of(path), (), path, missing=(f"the image of {path.relative_to(data).as_posix()}",))


def _by_patterns(specification: Specification, alternative: Alternative, data: Path) -> Iterator[SourceCase]:
    values = specification.labels.names
    for path, groups in _matches(alternative, data):
        missing: list[str] = []
        others = [_first(pattern, groups, data, missing) for pattern in alternative.images[1:]]
        images = (path, *(other for other in others if other is not None))
        label = None if alternative.label is None else _first(alternative.label, groups, data, missing)
        masks = tuple(
            (values[name], tuple(file for pattern in patterns for file in _files(pattern, groups, data, missing)))
            for name, patterns in alternative.masks.items()
        )
        case = SourceCase("", images, label, masks, missing=tuple(missing))
        pages = range(_pages(path)) if specification.layout.pages else (None,)
        for page in pages:
            name = specification.layout.identifier.format(**groups, page=page)
            yield replace(case, id=name, page=page)


def _matches(alternative: Alternative, data: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The paths of first images, sorted, with what stands in their placeholders."""
    pattern = alternative.images[0]
    expression = re.compile(_expression(pattern, alternative.where))
    for path in sorted(data.glob(_wildcards(pattern))):
        match = expression.fullmatch(path.relative_to(data).as_posix())
        if match is not None and not is_junk(path):
            yield path, match.groupdict()


def _files(pattern: str, groups: Mapping[str, str], data: Path, missing: list[str]) -> tuple[Path, ...]:
    """The files of a pattern whose placeholders are known, sorted; a pattern that nothing fits is missing."""
    glob = PLACE.sub(lambda match: groups[match[1]], pattern)
    files = tuple(path for path in sorted(data.glob(_wildcards(glob))) if not is_junk(path))
    if not files:
        missing.append(glob)
    return files


def _first(pattern: str, groups: Mapping[str, str], data: Path, missing: list[str]) -> Path | None:
    return next(iter(_files(pattern, groups, data, missing)), None)


def _wildcards(pattern: str) -> str:
    """A pattern for glob: placeholders as `*`, and brackets, which glob gives a meaning, as themselves."""
    return PLACE.sub("*", pattern.replace("[", "[[]"))


def _expression(pattern: str, where: Mapping[str, str]) -> str:
    """A pattern as a regular expression with a named group for each placeholder."""
    seen: set[str] = set()
    parts = []
    for piece in re.split(r"(\{\w+\}|\*)", pattern):
        placeholder = PLACE.fullmatch(piece)
        if placeholder is None:
            parts.append("[^/]*" if piece == "*" else re.escape(piece))
        elif placeholder[1] in seen:
            parts.append(f"(?P={placeholder[1]})")
        else:
            seen.add(placeholder[1])
            parts.append(f"(?P<{placeholder[1]}>{where.get(placeholder[1], '[^/]+?')})")
    return "".join(parts)


def _pages(path: Path) -> int:
    """Pages of a TIFF, from its header."""
    if ending_of(path) not in (".tif", ".tiff"):
        raise DatasetError("pages are read of TIFF files alone", where=path, expected="a .tif file")
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        return len(tiff.pages)
