"""Image files by SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.image import Image
from autoseg.data.itk.conversion import Header, from_itk, header_of, library, reason_of, to_itk, unreadable
from autoseg.errors import ImageError

if TYPE_CHECKING:
    import SimpleITK as sitk

_GIPL_HEADER = 256  # bytes
_POSITION_TAG = "0020|0032"
_GAP_TOLERANCE = 0.1  # of the median distance between neighbouring DICOM slices


def read(path: Path) -> Image:
    """Reads one file that ITK knows; a fourth axis and vector components become channels.

    Raises:
        ImageError: ITK cannot read the file, or it has more axes than space and channels.
    """
    try:
        return from_itk(library().ReadImage(str(path)), path)
    except RuntimeError as error:
        raise unreadable(path, error) from None


def read_nifti_header(path: Path) -> Header:
    """Size, components and geometry of a NIfTI file, without its voxels.

    Raises:
        ImageError: ITK cannot read the header.
    """
    reader = library().ImageFileReader()
    reader.SetImageIO("NiftiImageIO")  # else ITK offers the file to every format that it knows, at twice the time
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, error) from None
    return header_of(reader, reader.GetNumberOfComponents())


def read_gipl(path: Path, content_bytes: int) -> Image:
    """Reads a GIPL file, whose truncation ITK does not notice.

    Args:
        path: of the file.
        content_bytes: bytes in it, once it is decompressed.

    Raises:
        ImageError: unreadable or truncated.
    """
    image = read(path)
    expected = _GIPL_HEADER + image.array.nbytes
    if content_bytes < expected:
        raise unreadable(path, f"{content_bytes} bytes where the header promises {expected}")
    return image


def read_series(folder: Path) -> Image:
    """Reads the one DICOM series of a folder as a volume, slices sorted by their position.

    Raises:
        ImageError: no series, several series, a slice that is missing, or slices that cannot be read.
    """
    reader = library().ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise ImageError(
            "the folder does not hold exactly one DICOM series",
            where=folder,
            got=f"{len(series)} series" + (": " + ", ".join(series) if series else ""),
            expected="one series",
            remedy="give every series a folder of its own" if series else "put the DICOM slices directly into it",
        )
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(folder, error) from None
    _check_gaps(reader, folder)
    return from_itk(image, folder)


def write(path: Path, image: Image) -> None:
    """Writes an image, compressed where the format can.

    Channels are vector components, or the fourth axis in NIfTI, as other programs expect them there.

    Raises:
        ImageError: the format cannot hold the image's dtype, or the file cannot be written.
    """
    if ".gipl" in path.suffixes and len(image.array) > 1:
        raise ImageError("GIPL holds one channel", where=path, got=f"{len(image.array)} channels", remedy="use .nii.gz")
    try:
        library().WriteImage(to_itk(image, fourth_axis=".nii" in path.suffixes), str(path), useCompression=True)
    except (RuntimeError, TypeError) as error:
        raise ImageError(
            f"cannot be written as {image.array.dtype}: {reason_of(error)}",
            where=path,
            remedy="check that the folder is writable and that the format holds such values (.nii.gz holds all)",
        ) from None


def _check_gaps(reader: sitk.ImageSeriesReader, folder: Path) -> None:
    """Refuses a series with a missing slice: GDCM stacks what it finds and only warns."""
    count = len(reader.GetFileNames())
    if count < 3 or not all(reader.HasMetaDataKey(i, _POSITION_TAG) for i in range(count)):
        return
    positions = np.array([[float(v) for v in reader.GetMetaData(i, _POSITION_TAG).split("\\")] for i in range(count)])
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(gaps))
    if usual > 0 and np.abs(gaps - usual).max() > _GAP_TOLERANCE * usual:
        index = int(np.abs(gaps - usual).argmax())
        raise ImageError(
            "the DICOM slices are not evenly spaced; a slice seems to be missing",
            where=folder,
            got=f"{gaps[index]:.3f} mm between slices {index + 1} and {index + 2} of {count}",
            expected=f"{usual:.3f} mm between all neighbouring slices",
            remedy="add the missing slice or resample the series",
        )
