"""Preprocessing of cases against fixed numbers of nnU-Net v2, and of data sets through interruptions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import OUTSIDE, LabelScheme
from autoseg.errors import ConfigurationError, ImageError
from autoseg.preprocessing import prepare
from autoseg.preprocessing.class_locations import class_locations
from autoseg.preprocessing.prepare import preprocess_case, preprocess_dataset
from autoseg.preprocessing.store import finished_cases


def made_case(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[Image, np.ndarray]:
    """Two channels of pseudo-random whole numbers inside an ellipsoid, and labels, one voxel of them outside it."""
    n = np.arange(np.prod(shape)).reshape(shape)
    channels = np.stack([(n * 7919 + 31) % 1009, (n * 104729 + 17) % 4001 - 2000])
    z, y, x = np.indices(shape)
    half = shape[0] // 2
    body = ((z - half) / (half - 1)) ** 2 + ((y - 8) / 6) ** 2 + ((x - 9) / 7) ** 2 < 1
    labels = np.where(body, (n // 37) % 4, 0)
    labels[half - 2, 4, 4] = 1
    return Image((channels * body).astype(np.int16), Geometry(spacing=spacing)), labels.astype(np.int16)


@dataclass(frozen=True)
class Expected:
    """What nnU-Net 2.8.1's DefaultPreprocessor.run_case_npy gives for `made_case`.

    `moments` and `label_moment` weigh voxel i of the flat array by i % 101; `places` are, a class, the number of
    locations, the sum of their coordinates weighted by 1, 10, 100, and the first one drawn.
    """

    shape: tuple[int, int, int]
    crop_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    moments: tuple[float, float]
    squares: tuple[float, float]
    label_moment: int
    label_counts: dict[int, int]
    places: dict[str, tuple[int, int, list[int]]]


CASES = {
    "isotropic": (
        (15, 16, 18),
        (1.2, 1.0, 1.0),
        (1.0, 1.0, 1.1),
        (0, 1, 2),
        Expected(
            shape=(13, 11, 12),
            crop_box=((2, 13), (3, 14), (3, 16)),
            moments=(-21352.257712368842, 323.2218221489252),
            squares=(2494.062727393037, 781.2590070873798),
            label_moment=48587,
            label_counts={-1: 599, 0: 310, 1: 280, 2: 261, 3: 266},
            places={"a": (280, 164475, [5, 3, 1]), "b": (261, 158486, [5, 4, 5]), "c": (266, 165341, [7, 6, 11])},
        ),
    ),
    "anisotropic and transposed": (
        (9, 24, 20),
        (4.0, 0.8, 0.8),
        (0.7, 0.9, 5.0),
        (1, 2, 0),
        Expected(
            shape=(13, 12, 4),
            crop_box=((3, 14), (3, 16), (2, 7)),
            moments=(-7822.896584189497, 58.874599965952655),
            squares=(920.4571958843807, 253.37282891531146),
            label_moment=19568,
            label_counts={-1: 203, 0: 115, 1: 109, 2: 90, 3: 107},
            places={"a": (109, 21635, [10, 3, 1]), "b": (90, 18751, [4, 6, 1]), "c": (107, 24420, [9, 8, 2])},
        ),
    ),
    "2D": (
        (9, 24, 20),
        (4.0, 0.8, 0.8),
        (0.6, 0.7),
        (0, 1, 2),
        Expected(
            shape=(5, 15, 15),
            crop_box=((2, 7), (3, 14), (3, 16)),
            moments=(-5990.997148365015, 537.64712699339),
            squares=(1614.3590902954716, 509.7462187772972),
            label_moment=41127,
            label_counts={-1: 296, 0: 208, 1: 206, 2: 218, 3: 197},
            places={"a": (206, 154650, [0, 4, 6]), "b": (218, 167556, [4, 9, 2]), "c": (197, 155937, [3, 12, 11])},
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_equals_nnunet(name, make_plan):
    shape, spacing, target, transpose, expected = CASES[name]
    image, labels = made_case(shape, spacing)
    plan = make_plan(target, transpose, ("ct", "z-score"), (False, True))

    case = preprocess_case(image, labels, plan, plan.configurations["test"])

    assert case.properties.shape == expected.shape == case.data.shape[1:] == case.labels.shape
    assert case.properties.crop_box == expected.crop_box
    weights = (np.arange(case.labels.size) % 101).reshape(expected.shape)
    np.testing.assert_allclose([(c.astype(float) * weights).sum() for c in case.data], expected.moments, atol=0.05)
    np.testing.assert_allclose([(c.astype(float) ** 2).sum() for c in case.data], expected.squares, rtol=1e-5)
    assert (case.labels.astype(int) * weights).sum() == expected.label_moment
    values, counts = np.unique(case.labels, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == expected.label_counts
    locations = class_locations(case.labels, plan.labels)
    for label, (count, moment, first) in expected.places.items():
        assert len(locations[label]) == count
        assert (locations[label].astype(int) * [1, 10, 100]).sum() == moment
        assert locations[label][0].tolist() == first


def test_a_known_crop_box_changes_nothing(make_plan):
    image, labels = made_case((9, 24, 20), (4.0, 0.8, 0.8))
    plan = make_plan((0.7, 0.9, 5.0), (1, 2, 0), ("ct", "z-score"), (False, True))
    configuration = plan.configurations["test"]

    found = preprocess_case(image, labels, plan, configuration)
    told = preprocess_case(image, labels, plan, configuration, crop_box=((2, 7), (3, 14), (3, 16)))

    np.testing.assert_array_equal(found.data, told.data)
    np.testing.assert_array_equal(found.labels, told.labels)
    assert found.properties == told.properties


def test_a_case_without_labels_is_cropped_and_normalised_alike(make_plan):
    image, labels = made_case((15, 16, 18), (1.0, 1.0, 1.0))
    plan = make_plan(normalization=("none", "rescale"), use_mask=(False, False))

    with_labels = preprocess_case(image, labels, plan, plan.configurations["test"])
    without = preprocess_case(image, None, plan, plan.configurations["test"])

    assert without.labels is None
    np.testing.assert_array_equal(with_labels.data, without.data)


def test_an_image_of_zeros_is_kept_whole(make_plan):
    plan = make_plan(use_mask=(True,))
    image = Image(np.zeros((1, 4, 5, 6), np.uint8), Geometry())

    case = preprocess_case(image, np.zeros((4, 5, 6), np.int16), plan, plan.configurations["test"])

    assert case.properties.shape == (4, 5, 6)
    assert (case.labels == OUTSIDE).all()
    assert (case.data == 0).all()


def test_many_labels_need_a_wider_integer(make_plan):
    scheme = LabelScheme(names={"background": 0} | {f"class {i}": i for i in range(1, 128)}, ignore=200)
    plan = make_plan(labels=scheme)
    image = Image(np.ones((1, 2, 8, 16), np.float32), Geometry())
    labels = (np.arange(256) % 129).reshape(2, 8, 16).astype(np.int16)

    case = preprocess_case(image, labels, plan, plan.configurations["test"])

    assert case.labels.dtype == np.int16
    np.testing.assert_array_equal(case.labels, labels)


def test_inputs_are_left_alone(make_plan):
    image, labels = made_case((15, 16, 18), (1.0, 1.0, 1.0))
    image = image.with_array(image.array.astype(np.float32))
    array, values = image.array.copy(), labels.copy()
    plan = make_plan(normalization=("ct", "z-score"), use_mask=(False, False))

    preprocess_case(image, labels, plan, plan.configurations["test"])

    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(labels, values)


def test_wrong_channels_and_shapes_are_refused(make_plan):
    image, labels = made_case((9, 24, 20), (1.0, 1.0, 1.0))
    plan = make_plan()
    with pytest.raises(ImageError, match=r"number of channels does not fit[\s\S]*got: *2[\s\S]*expected: 1"):
        preprocess_case(image, labels, plan, plan.configurations["test"])

    plan = make_plan(normalization=("none", "none"), use_mask=(False, False))
    with pytest.raises(ImageError, match="different shapes"):
        preprocess_case(image, labels[1:], plan, plan.configurations["test"])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four small cases in files."""
    cases = []
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(4):
        image, labels = made_case((9, 18, 20 + i), (2.0, 1.0, 1.0))
        paths = tuple(folder / f"case{i}_{c:04d}.nii.gz" for c in range(2))
        label = folder / f"case{i}.nii.gz"
        for path, array in zip((*paths, label), (*image.array, labels), strict=True):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(written, str(path))
        cases.append(Case(id=f"case{i}", images=paths, label=label))
    return Dataset(
        name="test",
        folder=folder,
        layout="nnunet",
        channels=("CT", "T1"),
        labels=LabelScheme(names={"background": 0, "a": 1, "b": 2, "c": 3}),
        file_ending=".nii.gz",
        label_ending=".nii.gz",
        training=tuple(cases),
    )


@pytest.fixture
def plan(make_plan):
    return make_plan((1.5, 1.5, 1.5), (0, 1, 2), ("ct", "z-score"), (False, True))


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.case.json")}


def test_a_dataset_becomes_a_store(dataset, plan, tmp_path):
    with preprocess_dataset(dataset, plan, "test", tmp_path / "store", workers=2) as store:
        assert store.cases == dataset.identifiers
        image, labels = made_case((9, 18, 22), (2.0, 1.0, 1.0))
        case = preprocess_case(image, labels, plan, plan.configurations["test"])
        data, stored_labels = store.read("case2")
        np.testing.assert_array_equal(data, case.data)
        np.testing.assert_array_equal(stored_labels, case.labels)
        assert store.properties("case2").shape == case.properties.shape
        for name, locations in class_locations(case.labels, plan.labels).items():
            np.testing.assert_array_equal(store.locations("case2")[name], locations)


def test_preprocessing_goes_on_where_it_stopped(dataset, plan, tmp_path, monkeypatch):
    folder = tmp_path / "store"
    real = prepare.write_case

    def stops_at_third(folder, case, *arguments, **options):
        if case == "case2":
            raise KeyboardInterrupt
        real(folder, case, *arguments, **options)

    monkeypatch.setattr(prepare, "write_case", stops_at_third)
    with pytest.raises(KeyboardInterrupt):
        preprocess_dataset(dataset, plan, "test", folder, workers=1)
    assert finished_cases(folder) == ("case0", "case1")
    before = times(folder)

    monkeypatch.setattr(prepare, "write_case", real)
    store = preprocess_dataset(dataset, plan, "test", folder, workers=1)

    assert store.cases == dataset.identifiers
    assert {name: times(folder)[name] for name in before} == before


def test_another_plan_makes_a_store_stale_and_other_files_stay(dataset, plan, make_plan, tmp_path):
    folder = tmp_path / "store"
    preprocess_dataset(dataset, plan, "test", folder, workers=1)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")

    other = make_plan((1.0, 2.0, 2.0), (0, 1, 2), ("ct", "z-score"), (False, True))
    store = preprocess_dataset(dataset, other, "test", folder, workers=1)

    assert store.properties("case0").spacing == (1.0, 2.0, 2.0)
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_store_of_another_version_is_redone(dataset, plan, tmp_path):
    folder = tmp_path / "store"
    preprocess_dataset(dataset, plan, "test", folder, workers=1)
    (folder / "store.json").write_text('{"format": 99, "unheard": "of"}', encoding="utf-8")
    before = times(folder)

    preprocess_dataset(dataset, plan, "test", folder, workers=1)

    assert all(times(folder)[name] > before[name] for name in before)


def test_a_replaced_file_and_a_removed_case_are_noticed(dataset, plan, tmp_path):
    folder = tmp_path / "store"
    preprocess_dataset(dataset, plan, "test", folder, workers=1)
    before = times(folder)
    label = dataset.training[1].label
    written = sitk.ReadImage(str(label)) * 0
    sitk.WriteImage(written, str(label))

    fewer = dataset.model_copy(update={"training": dataset.training[:3]})
    store = preprocess_dataset(fewer, plan, "test", folder, workers=1)

    assert store.cases == ("case0", "case1", "case2")
    assert len(store.locations("case1")["a"]) == 0
    after = times(folder)
    assert after["case0.case.json"] == before["case0.case.json"]
    assert not list(folder.glob("case3*"))


def test_an_error_names_the_case(dataset, plan, tmp_path):
    dataset.training[2].images[1].write_bytes(b"nothing")

    with pytest.raises(ImageError, match=r"case2_0001.nii.gz: case case2 cannot be preprocessed: .* cannot be read"):
        preprocess_dataset(dataset, plan, "test", tmp_path / "store", workers=2)


def test_an_unknown_configuration_is_refused(dataset, plan, tmp_path):
    with pytest.raises(ConfigurationError, match=r"unknown configuration 'tset'[\s\S]*did you mean 'test'"):
        preprocess_dataset(dataset, plan, "tset", tmp_path / "store", workers=1)
