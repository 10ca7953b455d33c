"""PNG, JPEG, BMP and TIFF: pictures without a place in the patient's world, at most with a spacing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data import itk
from autoseg.data.image import Geometry, Image
from autoseg.errors import ImageError

# Pillow and tifffile are imported where a picture is touched: most data sets hold none.
if TYPE_CHECKING:
    import tifffile
    from PIL import Image as Picture

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
TIFF_ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff")

_MILLIMETRES = {
    "nm": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "mm": 1.0, "cm": 10.0,
    "m": 1000.0, "inch": 25.4,
}  # fmt: skip


def read_picture(path: Path, *, palette_indices: bool = False) -> Image:
    """Reads a PNG, JPEG or BMP: grey (one channel) or RGB (three, also where all are equal); spacing 1.

    An alpha channel that says nothing (one value everywhere) is dropped.

    Args:
        palette_indices: give the indices of a picture with a palette, as label files use them, not its colours.

    Raises:
        ImageError: damaged or truncated.
    """
    from PIL import Image as Picture

    try:
        with Picture.open(path) as picture:
            array = _pixels(picture, path, palette_indices=palette_indices)
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise itk.unreadable(path, str(error)) from None
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    return Image(np.ascontiguousarray(array)[:, None], Geometry.plane())


def is_coloured(path: Path) -> bool:
    """Whether a PNG, JPEG or BMP is stored with colours (RGB or a palette), by its header; False if unreadable."""
    from PIL import Image as Picture

    try:
        with Picture.open(path) as picture:
            return picture.mode not in ("1", "L", "LA", "I", "F") and not picture.mode.startswith("I;")
    except (OSError, ValueError, SyntaxError):
        return False


def write_picture(path: Path, array: np.ndarray) -> None:
    """Writes (Y, X) or (Y, X, 3) values of type uint8, or (Y, X) uint16 as PNG."""
    from PIL import Image as Picture

    Picture.fromarray(array).save(path)


def read_tiff(path: Path) -> Image:
    """Reads a TIFF: one page is a plane, several are the slices of a volume, samples and axis C are channels.

    Spacing in mm comes from the side-car `x.json` ({"spacing": [z, y, x]}, also for `x_0000.tif`), else from OME or
    ImageJ tags, else, for volumes only, from the resolution tags with the slices as far apart as the rows (pictures
    carry a meaningless screen resolution there); else it is 1.

    Raises:
        ImageError: damaged, truncated, more axes than space and channels, or a wrong side-car.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            axes = series.axes
            if axes == "SYX" and series.keyframe.photometric != tifffile.PHOTOMETRIC.RGB:
                axes = "ZYX"  # how tifffile (and so scikit-image) writes a small volume: grey samples plane by plane
            try:
                array = series.asarray()
            except ValueError as error:
                if "imagecodecs" not in str(error):
                    raise
                array = itk.read(path).array  # compressed by a method that tifffile leaves to another package
                array, axes = (array[:, 0], "CYX") if array.shape[1] == 1 else (array, "CZYX")
            spacing = _sidecar_spacing(path) or _tag_spacing(tiff)
    except ImageError:
        raise
    except Exception as error:  # tifffile lets struct, zlib, index and its own errors through
        raise itk.unreadable(path, f"{type(error).__name__}: {error}") from None
    array = _order_axes(array, axes, path)
    if array.shape[1] == 1 and "Z" not in axes:
        return Image(array, Geometry.plane(spacing[1:] if spacing is not None else (1.0, 1.0)))
    return Image(array, Geometry(spacing=spacing or (1.0, 1.0, 1.0)))


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


def sidecars(path: Path) -> tuple[Path, ...]:
    """Files that may hold the spacing of a TIFF: `x.json`, and for `x_0000.tif` also `x.json` without the channel."""
    stem = re.sub(r"(\.ome)?\.tiff?$", "", path.name, flags=re.IGNORECASE)
    names = dict.fromkeys((stem, re.sub(r"_\d{4}$", "", stem)))
    return tuple(path.with_name(name + ".json") for name in names)


def _pixels(picture: Picture.Image, path: Path, *, palette_indices: bool) -> np.ndarray:
    if picture.mode in ("RGB", "RGBA") and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        return np.moveaxis(itk.read(path).array[:, 0], 0, -1)  # Pillow would drop the lower eight bits
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8)
    if picture.mode in ("P", "PA"):
        if palette_indices:
            return np.asarray(picture.convert("P"))
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    array = np.asarray(picture)
    if picture.mode in ("RGBA", "LA") and array[..., -1].min() == array[..., -1].max():
        array = array[..., 0] if picture.mode == "LA" else array[..., :3]
    return array


def _order_axes(array: np.ndarray, axes: str, path: Path) -> np.ndarray:
    """To (C, Z, Y, X); any one axis of pages (Z, I, Q, T) that is longer than 1 counts as Z."""
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
    if channels == ["S"] and len(array) == 4 and array[3].min() == array[3].max():
        array = array[:3]
    return np.ascontiguousarray(array)


def _sidecar_spacing(path: Path) -> tuple[float, float, float] | None:
    for file in sidecars(path):
        if not file.is_file():
            continue
        try:
            values = [float(value) for value in json.loads(file.read_text(encoding="utf-8"))["spacing"]]
            if len(values) not in (2, 3) or not all(0 < value < float("inf") for value in values):
                raise ValueError(values)
        except (ValueError, TypeError, KeyError):
            raise ImageError(
                "the side-car of the TIFF does not give a spacing",
                where=file,
                expected='{"spacing": [z, y, x]} with three positive numbers in mm',
                remedy="mend or remove the side-car",
            ) from None
        return values[-3] if len(values) == 3 else 1.0, values[-2], values[-1]
    return None


def _tag_spacing(tiff: tifffile.TiffFile) -> tuple[float, float, float] | None:
    """Spacing (z, y, x) in mm from OME, ImageJ or (volumes only) resolution tags; None if nothing is said."""
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_spacing(tiff.ome_metadata)
    tags = tiff.pages[0].tags  # type: ignore[union-attr]
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    (x_count, x_over), (y_count, y_over) = tags["XResolution"].value, tags["YResolution"].value
    if not (x_count and x_over and y_count and y_over):
        return None
    x, y = x_over / x_count, y_over / y_count  # units per pixel
    if tiff.imagej_metadata is not None:
        unit = _MILLIMETRES.get(_unit_name(tiff.imagej_metadata.get("unit", "")), 1.0)
        return float(tiff.imagej_metadata.get("spacing", 1.0)) * unit, y * unit, x * unit
    unit_tag = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 1
    millimetres = {2: 25.4, 3: 10.0}.get(unit_tag)  # TIFF 6.0: 1 none, 2 inch, 3 centimetre
    if millimetres is None or len(tiff.pages) == 1:
        return None
    return y * millimetres, y * millimetres, x * millimetres


def _ome_spacing(xml: str) -> tuple[float, float, float] | None:
    from xml.etree import ElementTree

    pixels = next((node for node in ElementTree.fromstring(xml).iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib or "PhysicalSizeY" not in pixels.attrib:
        return None
    sizes = {}
    for axis in "ZYX":
        unit = _unit_name(pixels.get(f"PhysicalSize{axis}Unit", "µm"))  # OME's schema: micrometre by default
        sizes[axis] = float(pixels.get(f"PhysicalSize{axis}", "nan")) * _MILLIMETRES.get(unit, 1.0)
    z = sizes["Z"] if sizes["Z"] > 0 else sizes["Y"]
    return z, sizes["Y"], sizes["X"]


def _unit_name(unit: str) -> str:
    return unit.replace("\\u00B5", "µ").strip().lower()
