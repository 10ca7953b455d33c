"""3D Slicer's segmentations (`.seg.nrrd`): a label map in one or several layers, whose header names the segments.

The fields `SegmentN_Name`, `SegmentN_LabelValue` and `SegmentN_Layer` say which voxels a segment has, as in
https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html. Versions of Slicer before 4.11 had a
layer of ones for each segment and wrote neither value nor layer. The array may be cropped to the segments; its own
origin then says where it lies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.data import itk, nrrd
from autoseg.data.image import Image, Segment
from autoseg.errors import ImageError

_FIELD = re.compile(r"^Segment(?P<number>\d+)_(?P<field>ID|Name|LabelValue|Layer)$")


def read_segmentation(path: Path) -> Image:
    """Reads a segmentation of 3D Slicer.

    Returns:
        Array (L, Z, Y, X) of its layers, with their segments; a file without fields of segments is a label map as any
        other.

    Raises:
        ImageError: unreadable, a field that is no number, a segment in a layer that is not there, two segments that
            have the same voxels, or voxels that no segment has.
    """
    nrrd.check_voxels(path)
    image, fields = itk.read_with_fields(path)
    segments = _segments(fields, path)
    if not segments:
        return image
    layers = len(image.array)
    if outside := [segment for segment in segments if segment.channel >= layers]:
        raise _damaged(path, f"layer {outside[0].channel} of segment {outside[0].name!r}", f"0 to {layers - 1}")
    if any(segment.value == 0 for segment in segments):
        raise _damaged(path, "a segment with the value 0, which stands for none", "values from 1 on")
    places = Counter((segment.channel, segment.value) for segment in segments)
    if max(places.values()) > 1:
        (layer, value), _ = places.most_common(1)[0]
        names = [segment.name for segment in segments if (segment.channel, segment.value) == (layer, value)]
        raise _damaged(path, f"value {value} of layer {layer} for {', '.join(names)}", "one segment for each value")
    for layer, channel in enumerate(image.array):
        known = [0, *(segment.value for segment in segments if segment.channel == layer)]
        strangers = channel[~np.isin(channel, known)]
        if strangers.size:
            values = ", ".join(f"{value:g}" for value in np.unique(strangers)[:5])
            raise _damaged(path, f"{values} in layer {layer} ({strangers.size} voxels)", "values that a segment has")
    return replace(image, segments=segments)


def _segments(fields: Mapping[str, str], path: Path) -> tuple[Segment, ...]:
    found: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        if match := _FIELD.match(key):
            found.setdefault(int(match["number"]), {})[match["field"]] = value.strip()
    segments = []
    for index, (number, said) in enumerate(sorted(found.items())):
        name = said.get("Name") or said.get("ID") or f"Segment {number}"
        layer = _whole(said.get("Layer", str(index)), f"Segment{number}_Layer", path)
        segments.append(Segment(name, layer, _whole(said.get("LabelValue", "1"), f"Segment{number}_LabelValue", path)))
    return tuple(segments)


def _whole(text: str, field: str, path: Path) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise _damaged(path, f"{field}: {text[:40]!r}", "a whole number")
    return int(text)


def _damaged(path: Path, got: str, expected: str) -> ImageError:
    return ImageError(
        "the segments in the header do not fit the voxels",
        where=path,
        got=got,
        expected=expected,
        remedy="load the segmentation in 3D Slicer and save it anew",
    )
