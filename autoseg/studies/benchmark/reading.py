"""The voxels of a case in the folder of a challenge: images as they are used, labels in the values of the data set."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from autoseg.data.files import read_image, read_labels
from autoseg.data.image import PLANE_SPACING, Geometry, Image
from autoseg.errors import DatasetError, ImageError
from autoseg.studies.benchmark.files import Layout
from autoseg.studies.benchmark.layout import SourceCase
from autoseg.studies.benchmark.sections import Labels


def read_source_image(path: Path, page: int | None, layout: Layout) -> Image:
    """One image file of a case, as the data set has it: a page of a stack, raw pixels, averaged, with its spacing.

    Returns:
        Array (C, Z, Y, X) in the file's dtype.

    Raises:
        ImageError: unreadable, or a raw file of another size than stated.
    """
    image = read_image(path) if layout.raw is None else _read_raw(path, layout.raw.shape, layout.raw.dtype)
    image = _page(image, page)
    if layout.shrink > 1:
        image = image.with_array(_block_means(image.array, layout.shrink))
    return _placed(image, layout)


def read_source_labels(case: SourceCase, layout: Layout) -> Image:
    """The labels of a case as the challenge has them; of masks and instances, in the values of the data set.

    Returns:
        Array (1, Z, Y, X) of integers.

    Raises:
        ImageError: unreadable, or masks of different shapes.
        DatasetError: the case has no labels.
    """
    if case.label is not None:
        labels = _page(_read_mask(case.label), case.page)
        if layout.instances:
            labels = labels.with_array((labels.array > 0).astype(np.uint8))
        return _placed(labels, layout)
    merged: Image | None = None
    for value, files in case.masks:
        for file in files:
            mask = _page(_read_mask(file), case.page)
            if merged is None:
                merged = mask.with_array(np.zeros(mask.array.shape, np.uint8))
            if mask.array.shape != merged.array.shape:
                raise ImageError(
                    "masks of one case have different shapes", where=file, got=mask.shape, expected=merged.shape
                )
            merged.array[mask.array != 0] = value
    if merged is None:
        raise DatasetError("the case has no labels", where=case.id, got=", ".join(case.missing) or None)
    return _placed(merged, layout)


def to_dataset_values(raw: np.ndarray, labels: Labels, *, derived: bool) -> np.ndarray:
    """Label values of the challenge's files -> those of the data set.

    Args:
        raw: any shape, integers.
        labels: the table.
        derived: whether the values are the data set's already, because they were made of masks or instances.

    Returns:
        The same shape, uint8.

    Raises:
        DatasetError: a value that the specification does not know.
    """
    if unknown := unknown_values(raw, labels, derived=derived):
        raise DatasetError(
            "the labels have values that the specification does not know",
            got=", ".join(map(str, unknown)),
            expected=", ".join(map(str, labels.known_values)),
        )
    if derived or not labels.file_values:
        return raw.astype(np.uint8)
    result = np.zeros(raw.shape, np.uint8)
    for value, target in labels.file_values.items():
        result[raw == value] = target
    return result


def unknown_values(raw: np.ndarray, labels: Labels, *, derived: bool) -> tuple[int, ...]:
    """Values of a label array, sorted, that the specification does not know; see `to_dataset_values`."""
    allowed = set(labels.names.values()) if derived else set(labels.known_values)
    return tuple(sorted({int(value) for value in np.unique(raw)} - allowed))


def label_digest(labels: np.ndarray) -> str:
    """SHA-256 of a label map's content, the same whatever file format, compression or dtype holds it.

    Hashed are the axes' lengths as decimal numbers divided by spaces, a line feed, and the values of the data set as
    bytes, last axis fastest.

    Args:
        labels: (Z, Y, X), values 0 to 255.
    """
    head = " ".join(str(length) for length in labels.shape) + "\n"
    digest = hashlib.sha256(head.encode("ascii"), usedforsecurity=False)
    digest.update(np.ascontiguousarray(labels, np.uint8).tobytes())
    return digest.hexdigest()


def _read_raw(path: Path, shape: tuple[int, int], dtype: str) -> Image:
    kind = np.dtype(dtype)
    expected = shape[0] * shape[1] * kind.itemsize
    if (size := path.stat().st_size) != expected:
        raise ImageError("the raw image has another size", where=path, got=f"{size} bytes", expected=expected)
    pixels = np.fromfile(path, kind).reshape(1, 1, *shape)
    return Image(pixels.astype(kind.newbyteorder("=")), Geometry.plane())


def _read_mask(path: Path) -> Image:
    if path.suffix.lower() != ".gif":
        return read_labels(path)
    from PIL import Image as Picture

    try:
        with Picture.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError("the image cannot be read", where=path, got=str(error), remedy="fetch it again") from None
    return Image(pixels[None, None].copy(), Geometry.plane())


def _page(image: Image, page: int | None) -> Image:
    if page is None:
        return image
    return Image(image.array[:, page : page + 1], Geometry.plane(image.geometry.spacing[1:]))


def _block_means(array: np.ndarray, factor: int) -> np.ndarray:
    """(C, Z, Y, X) -> (C, Z, Y // factor, X // factor), means of blocks in the dtype of the array, rounded."""
    channels, slices, rows, columns = array.shape
    rows, columns = rows // factor, columns // factor
    cut = array[:, :, : rows * factor, : columns * factor]
    means = cut.reshape(channels, slices, rows, factor, columns, factor).mean(axis=(3, 5))
    return means if array.dtype.kind == "f" else np.rint(means).astype(array.dtype)


def _placed(image: Image, layout: Layout) -> Image:
    """With the specification's spacing, where it has one."""
    if layout.spacing is None:
        return image
    return Image(image.array, Geometry((PLANE_SPACING, *layout.spacing), dimension=2))
