"""3D Slicer's segmentations, written byte by byte as Slicer writes them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.files import read_labels, read_raw_labels
from autoseg.data.image import Segment
from autoseg.data.labels import LabelScheme
from autoseg.errors import ImageError

SHAPE = (4, 5, 6)


def write_segmentation(
    path: Path,
    layers: np.ndarray,
    fields: Mapping[str, str],
    *,
    list_axis: str = "first",
    space: str = "left-posterior",
) -> None:
    """(L, Z, Y, X) as NRRD; the list of layers is the first or the last axis, or, of one layer, not there."""
    kinds, directions = ["domain"] * 3, ["(0.5,0,0)", "(0,0.75,0)", "(0,0,2)"]
    sizes = [str(length) for length in layers.shape[:0:-1]]
    stored = layers.transpose(1, 2, 3, 0)
    if list_axis == "first":
        kinds, directions, sizes = ["list", *kinds], ["none", *directions], [str(len(layers)), *sizes]
    elif list_axis == "last":
        kinds, directions, sizes = [*kinds, "list"], [*directions, "none"], [*sizes, str(len(layers))]
        stored = layers
    header = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "type: unsigned char",
        f"dimension: {len(kinds)}",
        f"space: {space}-superior",
        f"sizes: {' '.join(sizes)}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(kinds)}",
        "encoding: gzip",
        "space origin: (10,20,30)",
        *(f"{key}:={value}" for key, value in fields.items()),
    ]
    content = gzip.compress(np.ascontiguousarray(stored, np.uint8).tobytes())
    path.write_bytes(("\n".join(header) + "\n\n").encode() + content)


def segment(number: int, name: str, value: int, layer: int) -> dict[str, str]:
    said = {"ID": f"Segment_{number}", "Name": name, "LabelValue": value, "Layer": layer, "Color": "0.5 0.7 0.6"}
    return {f"Segment{number}_{key}": str(entry) for key, entry in said.items()}


def two_layers() -> np.ndarray:
    layers = np.zeros((2, *SHAPE), np.uint8)
    layers[0, 1:3, 1:4, 1:5], layers[0, 0, 0, :3], layers[1, 1:2, 2:5, 2:6] = 1, 2, 1
    return layers


FIELDS = {**segment(0, "Liver", 1, 0), **segment(1, "Spléen", 2, 0), **segment(2, "Tumour", 1, 1)}


@pytest.mark.parametrize("list_axis", ["first", "last"])
def test_layers_and_names_are_read(tmp_path: Path, list_axis: str) -> None:
    path = tmp_path / "case.seg.nrrd"
    write_segmentation(path, two_layers(), FIELDS, list_axis=list_axis)
    labels = read_raw_labels(path)
    np.testing.assert_array_equal(labels.array, two_layers())
    assert labels.segments == (Segment("Liver", 0, 1), Segment("Spléen", 0, 2), Segment("Tumour", 1, 1))
    assert labels.geometry.spacing == (2.0, 0.75, 0.5)
    assert labels.geometry.origin == (30.0, 20.0, 10.0)


def test_one_layer_has_no_list(tmp_path: Path) -> None:
    path = tmp_path / "case.seg.nrrd"
    fields = {**segment(0, "Liver", 1, 0), **segment(1, "Spleen", 2, 0)}
    write_segmentation(path, two_layers()[:1], fields, list_axis="none", space="right-anterior")
    scheme = LabelScheme(names={"background": 0, "spleen": 1, "liver": 2})
    labels = read_labels(path, scheme=scheme)
    np.testing.assert_array_equal(labels.array[0], np.array([0, 2, 1])[two_layers()[0]])
    assert (labels.segments, labels.geometry.origin) == ((), (30.0, -20.0, -10.0))
    with pytest.raises(ImageError, match="names its structures"):
        read_labels(path)


def test_older_versions_have_a_layer_for_each_segment(tmp_path: Path) -> None:
    path = tmp_path / "case.seg.nrrd"
    fields = {"Segment0_Name": "Liver", "Segment0_ID": "a", "Segment1_ID": "Segment_2", "Segment1_Tags": "x"}
    write_segmentation(path, (two_layers() == 1).astype(np.uint8), fields)
    assert read_raw_labels(path).segments == (Segment("Liver", 0, 1), Segment("Segment_2", 1, 1))


def test_without_fields_it_is_a_label_map(tmp_path: Path) -> None:
    path = tmp_path / "case.seg.nrrd"
    write_segmentation(path, two_layers()[:1], {}, list_axis="none")
    np.testing.assert_array_equal(read_labels(path).array, two_layers()[:1])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({**FIELDS, "Segment2_Layer": "2"}, "layer 2 of segment 'Tumour'"),
        ({**FIELDS, "Segment2_Layer": "-1"}, "'-1'"),
        ({**FIELDS, "Segment1_LabelValue": "one"}, "'one'"),
        ({**FIELDS, "Segment1_LabelValue": "1"}, "value 1 of layer 0 for Liver, Spléen"),
        ({**FIELDS, "Segment1_LabelValue": "0"}, "value 0"),
        (segment(0, "Liver", 1, 0) | segment(1, "Tumour", 1, 1), "2 in layer 0 (3 voxels)"),
    ],
)
def test_fields_that_do_not_fit_are_an_error(tmp_path: Path, fields: dict[str, str], told: str) -> None:
    path = tmp_path / "case.seg.nrrd"
    write_segmentation(path, two_layers(), fields)
    with pytest.raises(ImageError, match="do not fit the voxels") as caught:
        read_raw_labels(path)
    assert told in str(caught.value.got)


def test_names_in_another_encoding_are_read(tmp_path: Path) -> None:
    path = tmp_path / "case.seg.nrrd"
    write_segmentation(path, two_layers(), FIELDS)
    path.write_bytes(path.read_bytes().replace("Spléen".encode(), "Spléen".encode("latin-1")))
    assert [segment.name for segment in read_raw_labels(path).segments] == ["Liver", "Spléen", "Tumour"]


def test_damaged_files_are_an_error_or_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "case.seg.nrrd"
    write_segmentation(path, two_layers(), FIELDS)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=4):
            damaged[place] = int(rng.integers(256))
        path.write_bytes(bytes(damaged))
        try:
            "".join(segment.name for segment in read_raw_labels(path).segments).encode()
        except ImageError:
            refused += 1
    assert refused > 60


def test_half_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "case.seg.nrrd"
    write_segmentation(path, two_layers(), FIELDS)
    content = path.read_bytes()
    for length in (len(content) - 12, len(content) - 40, len(content) // 2, 300, 20):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError):
            read_raw_labels(path)
