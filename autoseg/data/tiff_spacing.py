"""How far the pixels of a TIFF lie apart: side-car files, and the tags of OME, ImageJ and TIFF itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.axes import MILLIMETRES
from autoseg.errors import ImageError

if TYPE_CHECKING:
    import tifffile


def spacing_of(tiff: tifffile.TiffFile, path: Path) -> tuple[float, float, float] | None:
    """Spacing (z, y, x) in mm of the stored pixels; None if nothing is said.

    Raises:
        ImageError: a side-car or tags that give no spacing, or one that cannot be.
    """
    spacing = _sidecar_spacing(path)
    if spacing is not None:
        return spacing
    spacing = _tag_spacing(tiff)
    if spacing is None or all(0 < value < float("inf") for value in spacing):
        return spacing
    raise ImageError(
        "the tags of the TIFF give no spacing that can be",
        where=path,
        got=f"{spacing} mm (z, y, x)",
        expected="positive numbers",
        remedy=f'write the spacing in mm into {sidecars(path)[0].name}: {{"spacing": [z, y, x]}}',
    )


def sidecars(path: Path) -> tuple[Path, ...]:
    """Files that may hold the spacing of a TIFF: `x.json`, and for `x_0000.tif` also `x.json` without the channel."""
    stem = re.sub(r"(\.ome)?\.tiff?$", "", path.name, flags=re.IGNORECASE)
    names = dict.fromkeys((stem, re.sub(r"_\d{4}$", "", stem)))
    return tuple(path.with_name(name + ".json") for name in names)


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
        unit = MILLIMETRES.get(_unit_name(tiff.imagej_metadata.get("unit", "")), 1.0)
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
        sizes[axis] = float(pixels.get(f"PhysicalSize{axis}", "nan")) * MILLIMETRES.get(unit, 1.0)
    z = sizes["Z"] if sizes["Z"] > 0 else sizes["Y"]
    return z, sizes["Y"], sizes["X"]


def _unit_name(unit: str) -> str:
    return unit.replace("\\u00B5", "µ").strip().lower()
