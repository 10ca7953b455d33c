"""What a data set's files say of themselves where nothing describes them: endings, channels, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data import pictures, raster, tiff
from autoseg.data.colour_masks import colour_counts, colour_table, is_colour_mask, listed_colours, proposed_values
from autoseg.data.dataset import Reading
from autoseg.data.description import discovered_labels
from autoseg.data.files import ending_of, read_image, read_raw_labels
from autoseg.data.formats import format_of
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.rounding import whole_labels
from autoseg.data.segment_scheme import SegmentCensus, census, scheme_of_segments
from autoseg.errors import DatasetError, ImageError
from autoseg.log import counted

_MANY_VALUES = 64  # more label values than this are likely one value per object

LabelledFiles = tuple[tuple[Path, ...], Path]
"""Image files and label file of a case."""


@dataclass(frozen=True)
class LabelContents:
    """What label files hold: values, or structures with names. One of the two is empty.

    Attributes:
        values: all that occur in files without names.
        structures: of each file with names.
    """

    values: frozenset[int]
    structures: tuple[SegmentCensus, ...]


def common_ending(paths: Iterable[Path]) -> str:
    """The most frequent ending; the alphabetically first of equals; "" for none and for DICOM folders."""
    counts = Counter(ending_of(path) for path in paths)
    return min(counts, key=lambda ending: (-counts[ending], ending)) if counts else ""


def written_ending(labels: Iterable[Path], images: str) -> str:
    """In which format predictions are written: the labels', else the images', whichever can be written."""
    forms = {ending: format_of(ending) for ending in (common_ending(labels), images)}
    return next((ending for ending, form in forms.items() if form is not None and form.write is not None), ".nii.gz")


def channel_names(cases: Sequence[tuple[Path, ...]], reading: Reading | None = None) -> tuple[str, ...]:
    """Names for channels that nothing describes, from the files of some cases.

    R, G, B if any picture is coloured, else image0, ... (nnU-Net's rules give all of these a z-score each).
    """
    usual = Counter(len(files) for files in cases).most_common(1)[0][0]
    if usual > 1:
        return tuple(f"image{number}" for number in range(usual))
    first = [files[0] for files in cases]
    if any(pictures.is_coloured(path) for path in first if ending_of(path) in raster.PICTURE_ENDINGS):
        return "R", "G", "B"
    if any(tiff.is_coloured_plane(path) for path in first if ending_of(path) in raster.TIFF_ENDINGS):
        return "R", "G", "B"
    for path, *_ in cases:
        try:
            image = read_image(path, reading)
        except ImageError:
            continue  # check reports it
        plane_tiff = ending_of(path) in raster.TIFF_ENDINGS and image.geometry.dimension == 2
        if plane_tiff and len(image.array) == 3:
            return "R", "G", "B"
        return tuple(f"image{number}" for number in range(len(image.array)))
    return ("image0",)


def found_labels(cases: Sequence[LabelledFiles], reading: Reading) -> tuple[LabelScheme, tuple[str, ...]]:
    """The labels that nothing describes, and what was found and assumed, in words.

    Args:
        cases: image files and label file of each.
        reading: its label values, if it lists any, are all there are, and no file is read.

    Raises:
        DatasetError: as `label_contents`.
    """
    if reading.labels or not cases:
        given = set(reading.labels)
        return _valued(given), value_warnings(given, given=True)
    contents = label_contents(cases, reading)
    if contents.structures:
        return scheme_of_segments(contents.structures)
    values = set(contents.values)
    return _valued(values), value_warnings(values, given=False)


def label_contents(cases: Sequence[LabelledFiles], reading: Reading) -> LabelContents:
    """What all label files hold; files that cannot be read are left to the check. Decoders release the GIL.

    Args:
        cases: image files and label file of each.
        reading: which values the colours of pictures have.

    Raises:
        DatasetError: most are pictures with colours that have no value (it lists the colours of all files), or some
            files name structures and others have values, which nothing brings together.
    """

    def contents(case: LabelledFiles) -> frozenset[int] | SegmentCensus | None:
        try:
            labels = whole_labels(_labels(case, reading), case[1])
        except ImageError:
            return None
        return census(labels) if labels.segments else frozenset(np.unique(labels.array).tolist())

    with ThreadPoolExecutor(max_workers=4) as pool:
        every = dict(zip([label for _, label in cases], pool.map(contents, cases), strict=True))
    if not reading.label_colours:
        _refuse_colours([path for path, one in every.items() if one is None], len(cases))
    named = {path: one for path, one in every.items() if isinstance(one, SegmentCensus)}
    plain = {path: one - {0} for path, one in every.items() if isinstance(one, frozenset)}
    if named and any(plain.values()):
        example = next(path for path, one in plain.items() if one)
        raise DatasetError(
            "some label files name their structures and others have values alone",
            where=example.parent,
            got=f"{counted(len(named), 'file')} with names ({next(iter(named)).name}), {example.name} with values",
            expected="files of one kind, or a dataset.json that says which value each name has",
            remedy="describe the labels in a dataset.json",
        )
    return LabelContents(frozenset().union(*plain.values(), {0} if plain else ()), tuple(named.values()))


def value_warnings(values: set[int], *, given: bool) -> tuple[str, ...]:
    """What is assumed of label values, in words; less where the user gave them."""
    warnings = [] if given else [f"labels are not described; found values {shortened(sorted(values))}"]
    if len(values) > _MANY_VALUES:
        warnings.append(f"{len(values)} label values: one value per object? Classes are needed, not instances")
    if 255 in values and len(values - {0, 255}) > 0 and not given:
        warnings.append('value 255 is taken as a class; if it means "not annotated", say so in a dataset.json')
    return tuple(warnings)


def _valued(values: set[int]) -> LabelScheme:
    """Of all but negative ones, of which the check tells."""
    return discovered_labels({value for value in values if value >= 0})


def _labels(case: LabelledFiles, reading: Reading) -> Image:
    """A label file as it is; contours, which have no voxels without the image that they lie in, are read with it."""
    images, label = case
    try:
        return read_raw_labels(label, reading=reading)
    except ImageError:
        form = format_of(ending_of(label))
        if form is not None and form.pictures:
            raise
        return read_raw_labels(label, read_image(images[0], reading), reading)


def shortened(values: Sequence[object]) -> str:
    """The first ten, and how many there are if these are not all."""
    shown = ", ".join(str(value) for value in values[:10])
    return shown if len(values) <= 10 else f"{shown}, ... ({len(values)} in all)"


def _refuse_colours(paths: Sequence[Path], files: int) -> None:
    """Raises the error for label files most of which are pictures with colours; `paths` could not be read."""
    counts_of_each = [counts for path in paths if (counts := _colours(path)) is not None]
    if not counts_of_each or 2 * len(counts_of_each) < files:
        return
    table = colour_table(counts_of_each)
    raise DatasetError(
        "the labels are pictures with colours, and nothing says which class each one is",
        where=paths[0].parent,
        got=f"{counted(len(counts_of_each), 'picture')} with {listed_colours(table)}",
        expected="grey pictures with a whole number per pixel, or a value for each colour",
        remedy=proposed_values(table),
    )


def _colours(path: Path) -> dict[int, int] | None:
    """Pixels by colour; None if it is no picture with colours."""
    form = format_of(ending_of(path))
    if form is None or not form.pictures:
        return None
    try:
        image = form.read(path) if form.read_labels is None else form.read_labels(path, None)
        return colour_counts(image, path) if is_colour_mask(image) else None
    except ImageError:
        return None
