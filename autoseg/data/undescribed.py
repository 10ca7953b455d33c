"""What a data set's files say of themselves where nothing describes them: endings, channels, label values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from autoseg.data import pictures, raster, tiff
from autoseg.data.colour_masks import colour_counts, colour_table, is_colour_mask, listed_colours, proposed_values
from autoseg.data.dataset import Reading
from autoseg.data.files import ending_of, read_image, read_labels
from autoseg.data.formats import format_of
from autoseg.errors import DatasetError, ImageError
from autoseg.log import counted

_MANY_VALUES = 64  # more label values than this are likely one value per object


def common_ending(paths: Iterable[Path]) -> str:
    """The most frequent ending; the alphabetically first of equals; "" for none and for DICOM folders."""
    counts = Counter(ending_of(path) for path in paths)
    return min(counts, key=lambda ending: (-counts[ending], ending)) if counts else ""


def channel_names(cases: Sequence[tuple[Path, ...]]) -> tuple[str, ...]:
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
            image = read_image(path)
        except ImageError:
            continue  # check reports it
        plane_tiff = ending_of(path) in raster.TIFF_ENDINGS and image.geometry.dimension == 2
        if plane_tiff and len(image.array) == 3:
            return "R", "G", "B"
        return tuple(f"image{number}" for number in range(len(image.array)))
    return ("image0",)


def label_values(paths: Sequence[Path], reading: Reading | None = None) -> set[int]:
    """All values in label files; files that cannot be read are left to the check. Decoders release the GIL.

    Args:
        paths: of the label files.
        reading: which values the colours of pictures have.

    Raises:
        DatasetError: most are pictures with colours that have no value; it lists the colours of all files.
    """

    def values(path: Path) -> set[int] | None:
        try:
            return {int(value) for value in np.unique(read_labels(path, reading=reading).array)}
        except ImageError:
            return None

    with ThreadPoolExecutor(max_workers=4) as pool:
        every = list(pool.map(values, paths))
    if reading is None or not reading.label_colours:
        _refuse_colours([path for path, one in zip(paths, every, strict=True) if one is None], len(paths))
    return set().union(*(one for one in every if one is not None))


def value_warnings(values: set[int], *, given: bool) -> tuple[str, ...]:
    """What is assumed of label values, in words; less where the user gave them."""
    warnings = [] if given else [f"labels are not described; found values {shortened(sorted(values))}"]
    if len(values) > _MANY_VALUES:
        warnings.append(f"{len(values)} label values: one value per object? Classes are needed, not instances")
    if 255 in values and len(values - {0, 255}) > 0 and not given:
        warnings.append('value 255 is taken as a class; if it means "not annotated", say so in a dataset.json')
    return tuple(warnings)


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
