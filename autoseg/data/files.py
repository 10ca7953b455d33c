"""Reading and writing images of every accepted format as `Image`, and label maps with integer values."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.data.colour_masks import colour_counts, colour_table, is_colour_mask, labels_of_colours, refusal
from autoseg.data.dataset import Case, Reading
from autoseg.data.dicom.reader import read_dicom
from autoseg.data.dicom.storage import is_dicom_file, is_dicom_folder
from autoseg.data.formats import DICOM, JPEG, ImageFormat, format_of, image_formats
from autoseg.data.image import Geometry, Image
from autoseg.data.junk import is_junk
from autoseg.data.labels import LabelScheme
from autoseg.data.mask_folder import read_masks
from autoseg.data.placement import laid_on, same_spacing
from autoseg.data.rounding import smallest_integers, whole_labels
from autoseg.data.segments import label_map
from autoseg.errors import ImageError


def known_endings() -> tuple[str, ...]:
    """Endings of the files that can be read. A folder of DICOM slices, which has none, is an image too."""
    return tuple(image_formats())


def ending_of(path: str | Path) -> str:
    """The longest known ending of a file name, in lower case (".nii.gz"); "" for a folder or an unknown ending."""
    name = Path(path).name.lower()
    fitting = [ending for ending in image_formats() if name.endswith(ending) and len(name) > len(ending)]
    return max(fitting, key=len, default="")


def stem_of(path: str | Path) -> str:
    """The file name without its known ending; a folder's name as it is."""
    name, ending = Path(path).name, ending_of(path)
    return name[: len(name) - len(ending)] if ending else name


def writable_ending(ending: str) -> str:
    """The ending of files that stand for such files: itself, or ".nii.gz" of a format that is read only (DICOM)."""
    form = format_of(ending)
    return ".nii.gz" if form is not None and form.write is None else ending


def holds_labels_alone(path: Path) -> bool:
    """Whether files with this ending are never images."""
    form = format_of(ending_of(path))
    return form is not None and form.labels_only


def mask_files(folder: Path) -> dict[str, Path]:
    """Name without ending -> file of the images directly in a folder; empty where there is no such folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {stem_of(file): file for file in files if file.is_file() and ending_of(file) and not is_junk(file)}


def is_label_folder(path: Path) -> bool:
    """Whether a folder holds the labels of one case: a file for each structure, or DICOM objects."""
    return is_dicom_folder(path) or bool(mask_files(path))


def load_reader(path: str | Path) -> None:
    """Imports the library that reads such a file, so that processes forked after this need not, each on its own."""
    form = format_of(ending_of(path)) or DICOM
    if form.prepare is not None:
        form.prepare()


def read_image(path: str | Path, reading: Reading | None = None) -> Image:
    """Reads one image in any of the formats of `autoseg list image-formats`, or a folder of DICOM slices.

    A fourth axis, vector components and colours are channels.

    Args:
        path: a file, or a folder of DICOM slices.
        reading: how it is read where the file leaves a choice; None refuses such a file.

    Returns:
        Array (C, Z, Y, X) in the file's dtype; Z = 1 and `Geometry.dimension` 2 for planes.

    Raises:
        ImageError: missing, damaged, truncated, of an unknown format, or with too many axes.
    """
    return _read(Path(path), reading or Reading())


def read_case(case: Case, channels: int | None = None) -> Image:
    """Reads all channels of a case into one image, placed as the first channel's file is.

    Args:
        channels: what is expected, if known; decides whether a picture is taken as grey or as RGB (`fit_picture`).

    Returns:
        Array (C, Z, Y, X); files of different dtypes get the one that holds all.

    Raises:
        ImageError: a file cannot be read, or shapes, spacings or places differ between the files.
    """
    images = [read_image(path, case.reading) for path in case.images]
    image = stack_channels(case.images, images, trust=case.reading.trust_arrays)
    return image if channels is None else fit_picture(image, case, channels)


def fit_picture(image: Image, case: Case, channels: int) -> Image:
    """Grey pictures among RGB ones: a single-file picture or TIFF is grey or RGB as the data set needs it.

    Grey becomes RGB with equal channels where three are expected, and RGB with equal channels becomes grey where one
    is. Anything else is returned as it is.
    """
    have = len(image.array)
    form = format_of(ending_of(case.images[0])) if len(case.images) == 1 else None
    if form is None or not form.pictures or image.geometry.dimension != 2 or {have, channels} != {1, 3}:
        return image
    if have == 1:
        return image.with_array(np.repeat(image.array, 3, axis=0))
    equal = all(np.array_equal(image.array[0], channel) for channel in image.array[1:])
    return image.with_array(image.array[:1]) if equal else image


def stack_channels(paths: tuple[Path, ...], images: list[Image], *, trust: bool = False) -> Image:
    """The images of one case as one image, on the voxels of the first.

    Args:
        paths: of the images.
        images: in the order of the channels.
        trust: lay arrays of equal shape on each other where the headers place them differently.

    Raises:
        ImageError: no images, or shapes, spacings or places differ.
    """
    if not images:
        raise ImageError("the case has no image files", remedy="give at least one image file")
    first = images[0]
    laid = [first]
    for path, image in zip(paths[1:], images[1:], strict=True):
        if placed(path) and placed(paths[0]):
            try:
                laid.append(laid_on(image, first, where=path, trust=trust))
                continue
            except ImageError:
                _refuse_other_grid(path, image, paths[0], first)
                raise
        _refuse_other_grid(path, image, paths[0], first)
        laid.append(image)
    if len(images) == 1:
        return first
    remarks = [
        remark if path == paths[0] else replace(remark, got=": ".join(filter(None, (path.name, remark.got))))
        for path, image in zip(paths, laid, strict=True)
        for remark in image.remarks
    ]
    return replace(first, array=np.concatenate([image.array for image in laid]), remarks=tuple(remarks))


def placed(path: Path) -> bool:
    """Whether a file's format says where in the world its voxels lie."""
    return (format_of(ending_of(path)) or DICOM).geometry == "place"


def _refuse_other_grid(path: Path, image: Image, first_path: Path, first: Image) -> None:
    if image.shape != first.shape:
        raise ImageError(
            "channels of one case have different shapes",
            where=path,
            got=image.shape,
            expected=f"{first.shape} as in {first_path.name}",
            remedy="resample the channels to one grid",
        )
    if not same_spacing(image.geometry, first.geometry):
        raise ImageError(
            "channels of one case have different spacings",
            where=path,
            got=f"{image.geometry.spacing} mm",
            expected=f"{first.geometry.spacing} mm as in {first_path.name}",
            remedy="correct the header or resample the channels to one grid",
        )


def read_labels(
    path: str | Path,
    onto: Image | None = None,
    reading: Reading | None = None,
    scheme: LabelScheme | None = None,
) -> Image:
    """Reads a label map, or a folder with a mask of each structure.

    Floating-point files with values that are whole but for rounding are accepted, with a remark; of a picture with
    colours, equal channels count as one, and a palette's indices are the values, unless the colours have values.

    Args:
        path: of the file.
        onto: the image that is labelled; only formats without voxels of their own (DICOM RTSTRUCT) need it.
        reading: which value each colour of a picture has (`Reading.label_colours`); None for none.
        scheme: the labels of the data set, whose values the structures get that a file names; None where there are
            values in files alone.

    Returns:
        Array (1, Z, Y, X) of an integer dtype with the values of the file, or of the scheme for named structures.

    Raises:
        ImageError: unreadable, several different channels, colours without a value, values that are not whole numbers,
            or named structures for which the scheme has no values.
    """
    return label_map(whole_labels(read_raw_labels(path, onto, reading), Path(path)), scheme, Path(path))


def read_raw_labels(path: str | Path, onto: Image | None = None, reading: Reading | None = None) -> Image:
    """Like `read_labels`, with the values and dtype as they are: array (1, Z, Y, X), or (L, Z, Y, X) with segments."""
    path = Path(path)
    picture = path.is_file() and (form := format_of(ending_of(path))) is not None and form.pictures
    if picture and reading is not None and reading.label_colours:
        image = _read(path, reading)  # a palette's colours, not its indices
        return labels_of_colours(image, path, reading.label_colours, nearest=reading.nearest_colours)
    if path.is_dir() and not is_dicom_folder(path) and (masks := mask_files(path)):
        if len(masks) == 1 and holds_labels_alone(file := next(iter(masks.values()))):
            return read_raw_labels(file, onto, reading)
        return read_masks(path, masks, read_labels)
    form = _form(path)
    image = form.read(path) if form.read_labels is None else form.read_labels(path, onto)
    if len(image.array) == 1 or image.segments:
        return image
    if all(np.array_equal(image.array[0], channel) for channel in image.array[1:]):
        return image.with_array(image.array[:1])
    if picture and is_colour_mask(image):
        raise refusal(colour_table([colour_counts(image, path)]), path)
    raise ImageError(
        "the label file has several channels that differ",
        where=path,
        got=f"{len(image.array)} channels",
        expected="one channel with a whole number per voxel",
        remedy="write the labels as one grey channel",
    )


def write_labels(path: str | Path, labels: np.ndarray, geometry: Geometry) -> None:
    """Writes a label map, losslessly compressed where the format can, in the format of the ending.

    The file appears whole or not at all; parent folders are made.

    Args:
        path: a file with one of `known_endings`.
        labels: (Z, Y, X) integers or bool; written with the smallest integer type that holds them.
        geometry: where the voxels lie; formats without geometry (PNG, BMP) leave it out.

    Raises:
        ImageError: unknown or lossy (JPEG) ending, or a format that cannot hold the values or a volume.
    """
    path = Path(path)
    form = format_of(ending_of(path))
    if form is not None and not form.lossless:
        name = "JPEG" if form is JPEG else ending_of(path)
        raise ImageError(f"{name} changes label values", where=path, expected="a lossless format", remedy="use .png")
    write_image(path, Image(smallest_integers(labels)[None], geometry))


def write_image(path: str | Path, image: Image) -> None:
    """Writes an image in the format of the ending, compressed where the format can, whole or not at all.

    Raises:
        ImageError: unknown ending, or a format that cannot hold the dtype, channels or a volume, or is read only.
    """
    path = Path(path)
    form = format_of(ending_of(path))
    if form is None:
        raise _unknown_ending(path)
    if form.write is None:
        raise ImageError("images in this format are read only", where=path, remedy="use .nii.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Formats with a header and a data file (.nhdr, .mhd) name the data file in the header, so the names must stand
    # already while writing: all is written in a folder beside, then moved, the header last.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        try:
            form.write(temporary, image)
        except ImageError as error:
            raise ImageError(
                error.subject, where=path, got=error.got, expected=error.expected, remedy=error.remedy
            ) from error
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == temporary):
            file.replace(path.with_name(file.name))


def _read(path: Path, reading: Reading) -> Image:
    form = _form(path)
    return read_dicom(path, reading) if form is DICOM else form.read(path)


def _form(path: Path) -> ImageFormat:
    """The format of a file that is there, by its ending; DICOM files need none."""
    if path.is_dir():
        return DICOM
    if not path.is_file():
        raise ImageError("the image file is missing", where=path, remedy="check the path or remove the case")
    form = format_of(ending_of(path))
    if form is None:
        if is_dicom_file(path):
            return DICOM
        raise _unknown_ending(path)
    return form


def _unknown_ending(path: Path) -> ImageError:
    return ImageError("unknown ending of an image file", where=path, expected=", ".join(known_endings()))
