"""TIFF by tifffile: planes, volumes and channels, as they are stored or as they are to be seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.image import Geometry, Image, Remark
from autoseg.data.raster import LOSSY_LABELS, UPRIGHT, turned, turned_remark, unreadable, without_alpha
from autoseg.data.tiff_log import damage, tifffile_lines
from autoseg.data.tiff_samples import check_samples, is_sampled_by_page, meant_values
from autoseg.data.tiff_segments import check_segments
from autoseg.data.tiff_spacing import spacing_of
from autoseg.errors import ImageError

# tifffile and the codecs are imported where a TIFF is touched: most data sets hold none.
if TYPE_CHECKING:
    import tifffile

_SLIDE_SCANNERS = ("svs", "ndpi", "scn", "bif", "philips", "avs", "qpi", "indica", "ventana")
_ORIENTATION_TAG = 274
_RGB = 2  # photometric interpretation
_LOSSY = {6, 7, 22610, 33003, 33004, 33005, 33007, 34712, 34887, 34892, 34934, 50001, 50002, 52546}
"""Compression schemes that may change values: JPEG, JPEG 2000, JPEG XR, JPEG XL, LERC, WebP."""
_PAGES = "ZIQ"
"""tifffile's names of axes that are slices: z, pages that nothing describes, and what no name fits."""


def read_tiff(path: Path) -> Image:
    """Reads a TIFF: one page is a plane, several are the slices of a volume, samples and axis C are channels.

    Values are as they are to be seen: a palette's colours, white-is-zero inverted, CMYK and YCbCr of JPEG as RGB,
    opacity that says nothing dropped (`raster.without_alpha`), pages upright as their orientation says. The tables of
    colours that ImageJ shows grey images by are left out; so are gamma and profiles. Of a pyramid the full resolution
    counts, of a slide scanner's file the slide.

    Spacing in mm comes from the side-car `x.json` ({"spacing": [z, y, x]}, also for `x_0000.tif`), else from OME or
    ImageJ tags, else, for volumes only, from the resolution tags with the slices as far apart as the rows (pictures
    carry a meaningless screen resolution there); else it is 1.

    Raises:
        ImageError: damaged, truncated, larger than the machine's memory, several different images, more axes than space
            and channels, values or colours that are not supported, or a wrong side-car.
    """
    return _read(path, labels=False)


def read_tiff_labels(path: Path) -> Image:
    """Like `read_tiff`, for labels: a palette's indices, and white-is-zero as it is stored unless of one bit.

    Raises:
        ImageError: as `read_tiff`, or labels that differ in their opacity alone.
    """
    return _read(path, labels=True)


def is_coloured_plane(path: Path) -> bool:
    """Whether a TIFF is one page with colours (RGB, a palette or the like), by its header; False if unreadable."""
    import tifffile

    try:
        with tifffile_lines(), tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            return len(tiff.pages) == 1 and int(page.photometric) in (2, 3, 5, 6) and not tiff.is_imagej
    except Exception:  # whatever a damaged file makes of tifffile; who reads it will say so
        return False


def write_tiff(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    """Writes (C, Z, Y, X) as OME-TIFF with its spacing in mm, compressed without loss."""
    import tifffile

    z, y, x = geometry.spacing
    metadata = {"PhysicalSizeX": x, "PhysicalSizeXUnit": "mm", "PhysicalSizeY": y, "PhysicalSizeYUnit": "mm"}
    axes = "CZYX"
    if geometry.dimension == 2:
        array, axes = array[:, 0], "CYX"
    else:
        metadata |= {"PhysicalSizeZ": z, "PhysicalSizeZUnit": "mm"}
    if len(array) == 1:
        array, axes = array[0], axes[1:]
    tifffile.imwrite(
        path, array, ome=True, metadata={"axes": axes, **metadata}, compression="zlib", photometric="minisblack"
    )


def _read(path: Path, *, labels: bool) -> Image:
    import tifffile

    with tifffile_lines() as lines:
        try:
            with tifffile.TiffFile(path) as tiff:
                image = _image(tiff, path, lines, labels=labels)
        except ImageError:
            raise
        except Exception as error:  # tifffile lets struct, zlib, index, the codecs' and its own errors through
            raise unreadable(path, f"{type(error).__name__}: {error}") from None
    _raise_damage(lines, path)
    return image


def _image(tiff: tifffile.TiffFile, path: Path, lines: list[str], *, labels: bool) -> Image:
    series, remarks = _main_series(tiff, path)
    _raise_damage(lines, path)
    page = series.keyframe
    check_samples(page, path)
    remarks += check_segments(series, path, tiff.filehandle.size)
    axes = series.axes
    array, pages = _order_axes(series.asarray(maxworkers=1), axes, path)
    if is_sampled_by_page(series):
        axes, array = "ZYX", array.transpose(1, 0, 2, 3)
        remarks += (_paged("samples, each a plane of its own"),)
    elif pages is not None and pages not in _PAGES:
        remarks += (_paged("points in time" if pages == "T" else f"axis {pages} of tifffile"),)
    array, more = meant_values(array, page, path, labels=labels, display_tables=tiff.is_imagej)
    remarks += more
    if "S" in axes and (alpha := _alpha(page, array)) is not None:
        array, more = without_alpha(array, alpha, path, labels=labels)
        remarks += more
    if labels and int(page.compression) in _LOSSY:
        remarks += (LOSSY_LABELS,)
    spacing = spacing_of(tiff, path)
    orientation = _orientation(series, path)
    if orientation != UPRIGHT:
        array = turned(array, orientation)
        remarks += (turned_remark(orientation),)
        if orientation >= 5 and spacing is not None:
            spacing = spacing[0], spacing[2], spacing[1]
    if array.shape[1] == 1 and "Z" not in axes:
        return Image(array, Geometry.plane(spacing[1:] if spacing is not None else (1.0, 1.0)), remarks)
    return Image(array, Geometry(spacing=spacing or (1.0, 1.0, 1.0)), remarks)


def _main_series(tiff: tifffile.TiffFile, path: Path) -> tuple[tifffile.TiffPageSeries, tuple[Remark, ...]]:
    """The image of a file that may hold smaller versions of it, or a scanner's pictures of the slide's label.

    Raises:
        ImageError: several images, none of which is the one.
    """
    every = [series for series in tiff.series if series.size]
    full = [series for series in every if not series.keyframe.is_reduced] or every
    if not full:
        raise unreadable(path, "no pixels")
    if len(full) > 1 and full[0].kind in _SLIDE_SCANNERS:
        names = ", ".join(series.name or "without a name" for series in full[1:])
        return full[0], (
            Remark("slide-pictures", "pictures that a slide scanner stores beside the slide were left out", got=names),
        )
    if len(full) > 1:
        raise ImageError(
            "the TIFF holds several images",
            where=path,
            got="; ".join(_described(series) for series in full[:8]) + ("; ..." if len(full) > 8 else ""),
            expected="one image: pages of one size and type",
            remedy="write the image that is meant as a file of its own",
        )
    return full[0], ()


def _alpha(page: tifffile.TiffPage, array: np.ndarray) -> int | None:
    """Which of the samples (C, ...) is opacity: what the file calls so, or a fourth of RGB that is constant."""
    extra = [int(kind) for kind in page.extrasamples]
    channel = next((len(array) - len(extra) + number for number, kind in enumerate(extra) if kind in (1, 2)), None)
    if channel is not None:
        return channel if 0 < channel < len(array) else None
    unnamed = int(page.photometric or 0) == _RGB and len(array) == 4
    return 3 if unnamed and array[3].size and array[3].min() == array[3].max() else None


def _described(series: tifffile.TiffPageSeries) -> str:
    name = f"{series.name!r} " if series.name else ""
    return f"{name}{' x '.join(map(str, series.shape))} ({series.axes}) of {series.dtype}"


def _orientation(series: tifffile.TiffPageSeries, path: Path) -> int:
    """The orientation of all pages.

    Raises:
        ImageError: pages that lie differently.
    """
    import tifffile

    pages = [page for page in series.pages if isinstance(page, tifffile.TiffPage)]
    stated = {page.tags.valueof(_ORIENTATION_TAG, UPRIGHT) for page in pages} or {UPRIGHT}
    if len(stated) > 1:
        raise ImageError(
            "the pages of the TIFF are turned differently",
            where=path,
            got=f"orientations {', '.join(map(str, stated))}",
            remedy="write all pages upright",
        )
    (orientation,) = stated
    if orientation == 0:  # some writers' "not known"
        return UPRIGHT
    if orientation not in range(1, 9):
        raise unreadable(path, f"orientation {orientation}, which is none of 1 to 8")
    return int(orientation)


def _order_axes(array: np.ndarray, axes: str, path: Path) -> tuple[np.ndarray, str | None]:
    """To (C, Z, Y, X), and what Z is in the file: any one axis of pages that is longer than 1."""
    if array.ndim != len(axes):
        raise unreadable(path, f"an array of shape {array.shape} for the axes {axes}")
    kept = [axis for axis, name in enumerate(axes) if array.shape[axis] > 1 or name in "YXZ"]
    array = array.reshape([array.shape[axis] for axis in kept])
    names = [axes[axis] for axis in kept]
    channels = [name for name in names if name in "SC"]
    pages = [name for name in names if name not in "SCYX"]
    if len(channels) > 1 or len(pages) > 1 or not {"Y", "X"} <= set(names):
        raise ImageError(
            "the TIFF has too many axes",
            where=path,
            got=f"axes {axes}",
            expected="axes among C, Z, Y, X",
            remedy="write each time point as a file of its own",
        )
    order = [names.index(name) for name in (*channels, *pages, "Y", "X")]
    array = array.transpose(order)
    if not pages:
        array = array[..., None, :, :]
    if not channels:
        array = array[None]
    return np.ascontiguousarray(array), pages[0] if pages else None


def _paged(kind: str) -> Remark:
    return Remark(
        "pages-as-slices",
        "pages that the file does not call slices were taken for the slices of a volume",
        got=kind,
        remedy="write them as channels (axis C) or as files of their own, if they are no slices",
    )


def _raise_damage(lines: list[str], path: Path) -> None:
    line = damage(lines)
    if line is not None:
        raise unreadable(path, line)
