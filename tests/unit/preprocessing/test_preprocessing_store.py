"""Patch reading against slicing of the same arrays in memory."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.image import Geometry
from autoseg.data.labels import OUTSIDE
from autoseg.errors import WorkspaceError
from autoseg.preprocessing.record import CaseProperties, PreparedCase
from autoseg.preprocessing.store import Store, StoreInfo, claim, write_case


def prepared(shape: tuple[int, int, int], channels: int, dtype: type = np.int8, seed: int = 0) -> PreparedCase:
    rng = np.random.default_rng(seed)
    properties = CaseProperties(
        channels=channels,
        geometry=Geometry(),
        transpose=(0, 1, 2),
        shape_before_crop=shape,
        crop_box=tuple((0, n) for n in shape),
        shape=shape,
        spacing=(1.0, 1.0, 1.0),
    )
    data = rng.normal(size=(channels, *shape)).astype(np.float32)
    return PreparedCase(data, rng.integers(-1, 4, size=shape).astype(dtype), properties)


PLACES = {"a": np.array([[1, 2, 3], [4, 5, 6]], np.int16), "absent": np.empty((0, 3), np.int16)}
CASES = {
    "first": prepared((20, 33, 41), 2),
    "first_seg": prepared((5, 6, 7), 1, np.int16, seed=1),  # a name that could be taken for another case's labels
    "flat": prepared((1, 50, 40), 3, seed=2),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    claim(tmp_path, StoreInfo(digest="x"))
    for name, case in CASES.items():
        patch = (16, 20) if name == "flat" else (8, 16, 16)
        write_case(tmp_path, name, case, PLACES, patch_size=patch, source="y")
    return Store(tmp_path)


def sliced(case: PreparedCase, start: tuple[int, int, int], size: tuple[int, int, int]):
    """The box by padding the whole array, without any of the store's arithmetic."""
    far = 60
    image = np.pad(case.data, ((0, 0), *((far, far),) * 3))
    labels = np.pad(case.labels, far, constant_values=OUTSIDE)
    box = tuple(slice(s + far, s + far + n) for s, n in zip(start, size, strict=True))
    return image[(slice(None), *box)], labels[box]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("start", "size"),
    [
        ((0, 0, 0), (5, 6, 7)),
        ((2, 3, 4), (1, 2, 2)),
        ((-3, -4, -5), (8, 16, 16)),
        ((-30, 2, 2), (20, 4, 4)),  # misses the image
        ((-2, -2, -2), (50, 55, 50)),  # holds all of it
        ((3, 30, 35), (4, 8, 10)),
    ],
)
def test_a_box_equals_a_slice_of_the_padded_arrays(store, name, start, size):
    image, labels = store.read_box(name, start, size)

    expected_image, expected_labels = sliced(CASES[name], start, size)
    np.testing.assert_array_equal(image, expected_image)
    np.testing.assert_array_equal(labels, expected_labels)
    assert image.dtype == np.float32
    assert labels.dtype == np.int16
    image += 1  # own, writable memory
    labels += 1


def test_cases_and_shapes(store):
    assert store.cases == ("first", "first_seg", "flat")
    assert store.shape("flat") == (3, 1, 50, 40)


@pytest.mark.parametrize("name", CASES)
def test_a_whole_case_comes_back(store, name):
    image, labels = store.read(name)

    np.testing.assert_array_equal(image, CASES[name].data)
    np.testing.assert_array_equal(labels, CASES[name].labels)
    assert store.properties(name) == CASES[name].properties


def test_locations_come_back(store):
    locations = store.locations("first")

    assert list(locations) == ["a", "absent"]
    np.testing.assert_array_equal(locations["a"], PLACES["a"])
    assert locations["absent"].shape == (0, 3)
    with pytest.raises(ValueError, match="read-only"):
        locations["a"][0] = 0


def test_a_case_without_any_location(tmp_path):
    claim(tmp_path, StoreInfo(digest="x"))
    nothing = {"a": np.empty((0, 3), np.int16)}
    write_case(tmp_path, "empty", prepared((4, 4, 4), 1), nothing, patch_size=(4, 4, 4), source="y")

    assert Store(tmp_path).locations("empty")["a"].shape == (0, 3)


def test_a_case_is_there_only_with_its_record(store):
    (store.folder / "first.case.json").unlink()

    assert Store(store.folder).cases == ("first_seg", "flat")
    with pytest.raises(WorkspaceError, match="has no case 'first'"):
        store.read_box("first", (0, 0, 0), (1, 1, 1))


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(WorkspaceError, match="holds no preprocessed data"):
        Store(tmp_path)


def test_a_case_without_labels_is_not_stored(tmp_path):
    case = PreparedCase(CASES["first"].data, None, CASES["first"].properties)
    with pytest.raises(ValueError, match="with labels"):
        write_case(tmp_path, "x", case, {}, patch_size=(4, 4, 4), source="y")


def test_nothing_half_written_is_left(store):
    assert not [path.name for path in store.folder.iterdir() if path.name.startswith(".")]


def test_a_store_can_be_pickled_and_closed(store):
    other = pickle.loads(pickle.dumps(store))
    other.read_box("first", (0, 0, 0), (4, 4, 4))
    other.close()

    np.testing.assert_array_equal(other.read("first")[0], CASES["first"].data)


def _read_in_child(store: Store, queue) -> None:
    queue.put(float(store.read_box("first", (1, 1, 1), (9, 9, 9))[0].sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
def test_an_open_store_survives_a_fork(store):
    here = float(store.read_box("first", (1, 1, 1), (9, 9, 9))[0].sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(store, queue))
    child.start()

    assert queue.get(timeout=30) == here
    child.join(30)
    assert child.exitcode == 0
