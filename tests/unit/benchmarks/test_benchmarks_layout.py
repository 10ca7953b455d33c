from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import read_case, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from benchmarks.peer import layout

GEOMETRY = Geometry(spacing=(3.0, 1.0, 2.0), origin=(5.0, -7.0, 11.0))
RNG = np.random.default_rng(0)


def data_set(folder: Path, labels: LabelScheme, channels: int, files: int, values: list[int]) -> Dataset:
    """Two cases with random images and labels; `files` image files a case hold all channels together."""
    folder.mkdir()
    cases = []
    for name in ("one", "two"):
        images = tuple(folder / f"{name}_{i}.nii.gz" for i in range(files))
        for path in images:
            array = RNG.normal(size=(channels // files, 3, 4, 5)).astype(np.float32)
            write_image(path, Image(array, GEOMETRY))
        label = folder / f"{name}.nii.gz"
        write_labels(label, RNG.choice(values, size=(3, 4, 5)).astype(np.uint8), GEOMETRY)
        cases.append(Case(id=name, images=images, label=label))
    return Dataset(
        name="Some",
        folder=folder,
        layout="plain",
        channels=tuple(f"channel {i}" for i in range(channels)),
        labels=labels,
        file_ending=".nii.gz",
        label_ending=".nii.gz",
        training=tuple(cases),
    )


@pytest.mark.parametrize("files", [1, 2])
def test_the_raw_layout_holds_the_same_images_and_numbered_labels(tmp_path: Path, files: int) -> None:
    scheme = LabelScheme(names={"background": 0, "b": 9, "a": 4}, ignore=7)
    dataset = data_set(tmp_path / "data", scheme, channels=2, files=files, values=[0, 4, 7, 9])
    folder = layout.write_raw(dataset, tmp_path / "raw")
    assert folder == tmp_path / "raw" / layout.NAME
    found = discover(folder)
    assert found.identifiers == ("one", "two")
    assert found.channels == dataset.channels
    assert (found.labels.names, found.labels.ignore) == ({"background": 0, "a": 1, "b": 2}, 3)
    for ours, theirs in zip(dataset.training, found.training, strict=True):
        assert len(theirs.images) == 2
        np.testing.assert_array_equal(read_case(ours, 2).array, read_case(theirs, 2).array)
        assert theirs.label is not None
        assert ours.label is not None
        written = read_labels(theirs.label)
        np.testing.assert_array_equal(written.array[0], scheme.encode(read_labels(ours.label).array[0]))
        np.testing.assert_allclose(written.geometry.spacing, GEOMETRY.spacing)
        assert theirs.images[0].is_symlink() == (files == 2)


def test_regions_keep_their_order(tmp_path: Path) -> None:
    scheme = LabelScheme(
        names={"background": 0, "rim": 2, "core": 5}, regions={"whole": (2, 5), "core": (5,)}, region_order=(2, 5)
    )
    dataset = data_set(tmp_path / "data", scheme, channels=1, files=1, values=[0, 2, 5])
    found = discover(layout.write_raw(dataset, tmp_path / "raw"))
    assert found.labels.regions == {"whole": (1, 2), "core": (2,)}
    assert found.labels.region_order == (1, 2)


def test_a_data_set_is_not_written_twice_nor_without_labels(tmp_path: Path) -> None:
    dataset = data_set(tmp_path / "data", LabelScheme(names={"background": 0, "a": 1}), 1, 1, [0, 1])
    layout.write_raw(dataset, tmp_path / "raw")
    with pytest.raises(FileExistsError):
        layout.write_raw(dataset, tmp_path / "raw")
    unlabelled = dataset.with_(training=(dataset.training[0].with_(label=None),))
    with pytest.raises(ValueError, match="one has no label"):
        layout.write_raw(unlabelled, tmp_path / "other")
