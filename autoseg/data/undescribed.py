"""What a data set's files say of themselves where nothing describes them: endings, channels, label values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from autoseg.data import pictures, raster, tiff
from autoseg.data.files import ending_of, read_image, read_labels
from autoseg.errors import ImageError


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


def label_values(paths: Sequence[Path]) -> set[int]:
    """All values in label files; files that cannot be read are left to the check. Decoders release the GIL."""

    def values(path: Path) -> set[int]:
        try:
            return {int(value) for value in np.unique(read_labels(path).array)}
        except ImageError:
            return set()

    with ThreadPoolExecutor(max_workers=4) as pool:
        return set().union(*pool.map(values, paths))
