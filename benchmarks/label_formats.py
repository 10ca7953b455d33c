"""Labels that name their structures beside masks that another program made of them.

    python benchmarks/label_formats.py DATA

DATA is walked through for DICOM segmentations, DICOM structure sets and 3D Slicer's segmentations. Masks are the NRRD
and NIfTI files near them: below the same folder, or below the next ones above up to DATA. A structure set is filled on
every image near it, DICOM or NIfTI, since its contours have no voxels of their own.

Prints a row per structure: its voxels, the mask that fits it best (a file and one of its values, on the same voxels of
the world), the Dice with it and how many voxels differ; remarks and refusals too. Exit code: 0, or 1 where the Dice of
a structure with that mask is below 0.98, or below 1 for files that have voxels themselves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.data.dicom.label_objects import label_object
from autoseg.data.dicom.storage import is_dicom_file, is_dicom_folder
from autoseg.data.files import ending_of, read_image, read_raw_labels
from autoseg.data.image import Image
from autoseg.data.placement import laid_on
from autoseg.errors import ImageError

_MASKS = (".nrrd", ".nii.gz", ".nii")
_LEAST = 0.98
"""Dice of contours with a mask that another program filled, whose rule for voxels on an edge may be another."""


@dataclass(frozen=True)
class StructureRow:
    """A structure beside the mask that fits it best."""

    name: str
    text: str
    dice: float | None


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    good = True
    for path in sorted(file for file in data.rglob("*") if file.is_file() and _holds_structures(file)):
        for image in images_near(path, data) if _is_contours(path) else [None]:
            told = str(path.relative_to(data)) + ("" if image is None else f" on {image.relative_to(data)}")
            print(told, flush=True)
            least = 1.0 if image is None else _LEAST
            for row in rows(path, image, data):
                print(f"    {row.name:<20} {row.text}", flush=True)
                good &= row.dice is None or row.dice >= least
    return 0 if good else 1


def rows(path: Path, image: Path | None, data: Path) -> Iterator[StructureRow]:
    """A row per structure of a label file, and one per remark."""
    try:
        labels = read_raw_labels(path, None if image is None else read_image(image))
    except ImageError as error:
        yield StructureRow("refused", f"{error.subject} ({error.got})", None)
        return
    masks = list(masks_near(path, data, labels))
    for segment in labels.segments:
        inside = labels.array[segment.channel] == segment.value
        scores = [(dice(inside, mask), name, int((inside != mask).sum())) for name, mask in masks]
        if not scores:
            yield StructureRow(segment.name, f"{int(inside.sum()):>7} voxels, no mask on these voxels", None)
            continue
        best, name, differing = max(scores)
        text = f"{int(inside.sum()):>7} voxels, Dice {best:.4f}, {differing} voxels differ from {name}"
        yield StructureRow(segment.name, text, best)
    for remark in labels.remarks:
        yield StructureRow("remark", f"{remark.code}{'' if remark.got is None else f': {remark.got}'}", None)


def masks_near(path: Path, data: Path, labels: Image) -> Iterator[tuple[str, np.ndarray]]:
    """(file and value, mask) of the nearest files that lie on the voxels of some labels."""
    for folder in _folders_near(path, data):
        found = False
        for file in sorted(folder.rglob("*")):
            if file == path or ending_of(file) not in _MASKS:
                continue
            try:
                mask = laid_on(read_image(file), labels, where=file).array
            except ImageError:
                continue
            values = np.unique(mask)
            if len(mask) != 1 or len(values) > 64:
                continue  # an image
            found = True
            yield from ((f"{file.name}, value {value:g}", mask[0] == value) for value in values if value != 0)
        if found:
            return


def images_near(path: Path, data: Path) -> Sequence[Path]:
    """The nearest DICOM folders and NIfTI files that are images."""
    for folder in _folders_near(path, data):
        series = [one for one in sorted(folder.rglob("*")) if is_dicom_folder(one) and label_object(one) is None]
        if series:
            volumes = [file for one in _folders_near(path, data)[:3] for file in sorted(one.rglob("*.nii.gz"))]
            return [*series, *(file for file in dict.fromkeys(volumes) if "mask" not in str(file.relative_to(data)))]
    return []


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks; 1 for two empty ones."""
    total = int(one.sum() + other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def _folders_near(path: Path, data: Path) -> list[Path]:
    return [folder for folder in path.parents if folder == data or data in folder.parents]


def _holds_structures(file: Path) -> bool:
    if ending_of(file) == ".seg.nrrd":
        return True
    try:
        return is_dicom_file(file) and label_object(file) is not None
    except ImageError:
        return False


def _is_contours(path: Path) -> bool:
    try:
        read_raw_labels(path)
    except ImageError as error:
        return "contours need" in error.subject
    return False


if __name__ == "__main__":
    sys.exit(main())
