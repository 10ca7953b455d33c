"""Image files by SimpleITK."""

from __future__ import annotations

from pathlib import Path

from autoseg.data.image import Image
from autoseg.data.itk.conversion import Header, from_itk, header_of, library, reason_of, to_itk, unreadable
from autoseg.errors import ImageError

_GIPL_HEADER = 256  # bytes


def read(path: Path) -> Image:
    """Reads one file that ITK knows; a fourth axis and vector components become channels.

    Raises:
        ImageError: ITK cannot read the file, or it has more axes than space and channels.
    """
    try:
        return from_itk(library().ReadImage(str(path)), path)
    except RuntimeError as error:
        raise unreadable(path, error) from None


def read_with_fields(path: Path) -> tuple[Image, dict[str, str]]:
    """Reads one file as `read`, and the key/value fields that its header has beside.

    Raises:
        ImageError: as `read`.
    """
    try:
        image = library().ReadImage(str(path))
        fields = {key: _text(image.GetMetaData(key)) for key in image.GetMetaDataKeys() if key.isascii()}
    except RuntimeError as error:
        raise unreadable(path, error) from None
    return from_itk(image, path), fields


def _text(value: str) -> str:
    """A field as it is, or as Latin-1 if it is no UTF-8; Python keeps such bytes as surrogates."""
    stored = value.encode("utf-8", "surrogateescape")
    try:
        return stored.decode("utf-8")
    except UnicodeDecodeError:
        return stored.decode("latin-1")


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


def read_meta_header(path: Path) -> Header:
    """Size, components and geometry of a MetaImage, without its voxels.

    Raises:
        ImageError: ITK cannot read the header.
    """
    reader = library().ImageFileReader()
    reader.SetImageIO("MetaImageIO")
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
