"""The contract of image formats."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from autoseg.data.formats import ImageFormat, image_formats
from autoseg.data.image import PLANE_SPACING, Geometry, Image
from autoseg.errors import AutosegError, ImageError
from autoseg.testing.samples import label_map
from autoseg.testing.subject import Subject

_TURNED = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
_LOSS = 12.0
"""Mean difference that a lossy format may make, of 255."""


def check_image_format(subject: Subject) -> None:
    """An image format keeps these promises, for volumes and planes of one or three channels and several dtypes.

    - It is an `ImageFormat` with a description in one line, and with endings that no other format has (folders have
      none).
    - What it writes it reads again: shape (C, Z, Y, X), values if it is lossless, and of the geometry what it says it
      holds. An image that it cannot hold it refuses by an `ImageError`; some it does hold.
    - A file of label values is read with these values.
    - A file that is empty or holds something else is an `ImageError`; where one is cut off, nothing is made up for what
      is missing. Reading changes no file.
    """
    form = subject.plugin
    subject.promise(isinstance(form, ImageFormat), "an ImageFormat", type(form).__name__)
    assert isinstance(form, ImageFormat)
    one_line = bool(form.description.strip()) and "\n" not in form.description
    subject.promise(one_line, "a description in one line", repr(form.description))
    own = [ending for ending in form.endings if image_formats().get(ending) is form]
    subject.promise(own == list(form.endings), "endings that lead to it", form.endings)
    if form.prepare is not None:
        form.prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ending in form.endings:
            for content in (b"", b"no image at all" * 40):
                found = _damaged(subject, form, folder / f"damaged{ending}", content)
                words = f"an ImageError for a {ending} file of {len(content)} bytes that is no image"
                subject.promise(found is None, words, None if found is None else found.array.shape)
        if form.write is None:
            return
        subject.promise(bool(form.endings), "an ending, to be written")
        for ending in form.endings:
            held = [
                _check_image(subject, form, folder / f"{number}{ending}", image)
                for number, image in enumerate(_images(form))
            ]
            subject.promise(any(held), f"an image that {ending} can hold", "all are refused")
            if form.lossless:
                _check_labels(subject, form, folder / f"labels{ending}")


def _images(form: ImageFormat) -> Iterator[Image]:
    rng = np.random.default_rng(4)
    for shape in ((1, 5, 9, 11), (1, 1, 16, 24), (3, 1, 16, 24), (2, 4, 6, 8)):
        smooth = np.linspace(0, 200, shape[-1])[None, None, None] + np.arange(shape[-2])[:, None]
        for dtype in (np.uint8, np.int16, np.uint16, np.float32):
            array = (smooth + rng.integers(0, 20, shape)).astype(dtype)
            yield Image(array, _geometry(form, plane=shape[1] == 1))


def _geometry(form: ImageFormat, *, plane: bool) -> Geometry:
    """One that the format says that it holds."""
    if form.geometry == "nothing":
        return Geometry.plane() if plane else Geometry()
    if plane:
        return Geometry.plane((0.75, 0.5))
    if form.geometry == "spacing":
        return Geometry(spacing=(2.5, 0.75, 0.5))
    return Geometry(spacing=(2.5, 0.75, 0.5), origin=(-10.0, 4.0, 7.5), direction=_TURNED)


def _check_image(subject: Subject, form: ImageFormat, path: Path, image: Image) -> bool:
    """Whether the format holds the image, which then comes back."""
    assert form.write is not None
    words = f"an image (C, Z, Y, X) {image.array.shape} of {image.array.dtype}, as it was written to {path.name}"
    try:
        form.write(path, image)
    except ImageError:
        return False
    subject.promise(path.is_file(), f"a file {path.name} after it was written")
    before = path.read_bytes()
    found = form.read(path)
    subject.promise(isinstance(found, Image), "an Image", type(found).__name__)
    subject.promise(path.read_bytes() == before, "a file that stays as it is when it is read")
    subject.promise(found.array.shape == image.array.shape, words, f"shape {found.array.shape}")
    if form.lossless:
        equal = bool(np.array_equal(found.array, image.array))
        subject.promise(equal, words, f"other values, of {found.array.dtype}")
    else:
        difference = float(np.abs(found.array.astype(float) - image.array.astype(float)).mean())
        subject.promise(difference < _LOSS, f"values that differ by less than {_LOSS:g} in the mean", difference)
    _check_geometry(subject, form, found.geometry, image.geometry)
    if len(list(path.parent.glob(f"{path.name.partition('.')[0]}.*"))) == 1:  # no header that names another file
        cut = _damaged(subject, form, path.with_name(f"cut_{path.name}"), before[: len(before) // 2])
        invented = cut is not None and cut.array.shape == found.array.shape
        invented = invented and not np.array_equal(cut.array, found.array)  # type: ignore[union-attr]
        subject.promise(not invented, f"no made-up voxels where half of a file {path.name} is missing")
    return True


def _check_geometry(subject: Subject, form: ImageFormat, found: Geometry, written: Geometry) -> None:
    if written.dimension == 3:
        subject.promise(found.dimension == 3, "a volume", f"{found.dimension} dimensions")
    elif found.dimension == 2:
        missing = found.spacing[0] == PLANE_SPACING
        subject.promise(missing, f"a z spacing of {PLANE_SPACING:g} in a plane", found.spacing)
    if form.geometry == "nothing":
        return
    first = 3 - written.dimension  # a plane may come back as a volume of one slice
    near = np.allclose(found.spacing[first:], written.spacing[first:], rtol=1e-5)
    subject.promise(bool(near), f"the spacing {written.spacing}", found.spacing)
    if form.geometry == "place":
        near = np.allclose(found.origin, written.origin, atol=1e-4)
        subject.promise(bool(near), f"the origin {written.origin}", found.origin)
        near = np.allclose(found.direction, written.direction, atol=1e-5)
        subject.promise(bool(near), f"the directions {written.direction}", found.direction)


def _check_labels(subject: Subject, form: ImageFormat, path: Path) -> None:
    assert form.write is not None
    for shape in ((6, 9, 11), (1, 14, 18)):
        labels = label_map(shape).astype(np.uint8)
        try:
            form.write(path, Image(labels[None], _geometry(form, plane=shape[0] == 1)))
        except ImageError:
            continue
        found = form.read(path) if form.read_labels is None else form.read_labels(path, None)
        subject.promise(bool(np.array_equal(found.array[0], labels)), "labels with the values that were written")


def _damaged(subject: Subject, form: ImageFormat, path: Path, content: bytes) -> Image | None:
    """What is read of a damaged file; None where that is an `ImageError`."""
    path.write_bytes(content)
    try:
        return form.read(path)
    except AutosegError as error:
        subject.promise(isinstance(error, ImageError), "an ImageError for a damaged file", type(error).__name__)
        return None
