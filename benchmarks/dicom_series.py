"""DICOM series beside what another converter made of them.

    python benchmarks/dicom_series.py DATA [--series PATTERN]

DATA is walked through; each folder with DICOM files is read. Beside it, `NAME_ground_truth.nii.gz` is the reference, or
any `.nii.gz` in a folder `nifti/image` beside `dicom/image`. Where a folder holds several volumes and the reference has
four dimensions or channels, each volume is compared with one of its time points.

Prints a row per series: size (x, y, z), spacing in mm, axis codes, the largest difference of voxel values from the
reference, which is turned by permutations and flips alone to the orientation of the series, and how far corners lie
from the reference's, in mm; or why the series is refused. A reference that holds nothing but zeros at some of its time
points is wrong (its converter has written volumes of one temporal position over each other), which is said. Exit code:
0, or 1 where a series that is read differs in more than rounding from a reference that is not wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.data.dataset import Reading
from autoseg.data.dicom.reader import read_dicom, source_volumes, volume_image
from autoseg.data.dicom.storage import is_dicom_folder
from autoseg.data.image import Image
from autoseg.data.orientation import orientation_code
from autoseg.errors import ImageError

_ROUNDING = 1e-6
"""Largest difference that is none, relative to the largest value: single precision."""


@dataclass(frozen=True)
class SeriesRow:
    """What is printed of a series, and whether it is as its reference."""

    name: str
    text: str
    equal: bool = True


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--series", help="pattern that chooses among several volumes")
    arguments = parser.parse_args()
    equal = True
    for row in rows(arguments.data, Reading(series=arguments.series)):
        print(f"{row.name}\n    {row.text}", flush=True)
        equal &= row.equal
    return 0 if equal else 1


def rows(data: Path, reading: Reading) -> Iterator[SeriesRow]:
    """A row per series below a folder, several where the reference has the volumes of a folder as time points."""
    for folder in sorted(path for path in [data, *data.rglob("*")] if is_dicom_folder(path)):
        name = str(folder.relative_to(data))
        reference = reference_of(folder)
        try:
            images = [read_dicom(folder, reading)]
        except ImageError as error:
            yield SeriesRow(name, f"refused: {error.subject} ({' '.join((error.got or '').split())})")
            images = _all_volumes(folder, reading) if reference is not None else []
        for number, image in enumerate(images):
            told = f"{name} (volume {number + 1} of {len(images)})" if len(images) > 1 else name
            yield compared(told, image, reference, number if len(images) > 1 else None)


def compared(name: str, image: Image, reference: Path | None, moment: int | None) -> SeriesRow:
    """A series beside its reference.

    Args:
        name: of the series.
        image: as it is read.
        reference: NIfTI file; None for none.
        moment: index of the time point of a reference with four dimensions.
    """
    size = " x ".join(str(extent) for extent in image.shape[::-1])
    spacing = ", ".join(f"{step:.4f}" for step in image.geometry.spacing[::-1])
    remarks = "".join(f"; {remark.code}" for remark in image.remarks)
    told = f"{size} of {image.array.dtype}, {spacing} mm, {orientation_code(image.geometry)}{remarks}"
    if reference is None:
        return SeriesRow(name, f"{told}; no reference")
    values, corners, empty = turned_reference(reference, image, moment)
    if values is None:
        return SeriesRow(name, f"{told}; the reference has another size", equal=False)
    difference = float(np.abs(values - image.array.astype(np.float64)).max())
    equal = difference <= _ROUNDING * max(1.0, float(np.abs(values).max()))
    told += f"; largest difference {difference:.3g}, corners {corners:.2g} mm off"
    if not equal and empty:
        return SeriesRow(name, f"{told}; the reference is wrong: {empty} of its time points are 0 everywhere")
    return SeriesRow(name, told, equal)


def turned_reference(reference: Path, image: Image, moment: int | None) -> tuple[np.ndarray | None, float, int]:
    """The reference on an image's axes: values (C, Z, Y, X), distance of corners in mm, number of empty moments."""
    import nibabel
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

    stored = nibabel.nifti1.load(reference)
    assert stored.affine is not None
    affine = affine_of(image)
    turn = ornt_transform(io_orientation(stored.affine), io_orientation(affine))
    values = np.asanyarray(stored.dataobj)
    if values.dtype.names:
        values = np.stack([values[channel] for channel in "RGB"], axis=-1)
    extra = values.ndim - 3
    moved = stored.affine @ inv_ornt_aff(turn, values.shape[:3])
    values = apply_orientation(values, turn)
    empty = sum(not part.any() for part in np.moveaxis(values, -1, 0)) if extra else 0
    if extra and moment is not None:
        values = values[..., moment]
    elif not extra:
        values = values[..., None]
    if values.ndim == 3:
        values = values[..., None]
    values = values.transpose(3, 2, 1, 0)
    if values.shape != image.array.shape:
        return None, np.nan, empty
    ends = np.array(np.meshgrid(*[(0, extent - 1) for extent in image.shape[::-1]])).reshape(3, -1)
    off = (moved - affine)[:3, :3] @ ends + (moved - affine)[:3, 3:]
    return values.astype(np.float64), float(np.linalg.norm(off, axis=0).max()), empty


def affine_of(image: Image) -> np.ndarray:
    """NIfTI's affine (x, y, z; right, anterior, superior) of an image."""
    geometry = image.geometry
    matrix = np.eye(4)
    matrix[:3, :3] = (np.array(geometry.direction) * geometry.spacing)[::-1, ::-1]
    matrix[:3, 3] = geometry.origin[::-1]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def reference_of(folder: Path) -> Path | None:
    """The NIfTI file that another converter made of a series."""
    beside = folder.with_name(f"{folder.name}_ground_truth.nii.gz")
    if beside.is_file():
        return beside
    other = folder.parent.parent / "nifti" / folder.name
    return next(iter(sorted(other.glob("*.nii.gz"))), None) if folder.parent.name == "dicom" else None


def _all_volumes(folder: Path, reading: Reading) -> list[Image]:
    """Every volume of a folder with several, if all can be read."""
    try:
        return [volume_image(volume, folder, untilt=reading.untilt) for volume in source_volumes(folder)[0]]
    except ImageError:
        return []


if __name__ == "__main__":
    sys.exit(main())
