"""The previous stage's labels are read back as they were written, anywhere, by anyone."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.labels import OUTSIDE, LabelScheme
from autoseg.errors import WorkspaceError
from autoseg.preprocessing.previous_stage import PreviousStage, previous_stage_channels, write_previous

SCHEME = LabelScheme(names={"background": 0, "a": 3, "b": 7, "c": 9}, ignore=12)
REGIONS = LabelScheme(
    names={"background": 0}, regions={"whole": (1, 2, 3), "core": (2, 3), "inner": (3,)}, region_order=(1, 2, 3)
)


def labels(shape: tuple[int, int, int] = (11, 20, 17), highest: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, highest + 1, shape).astype(np.int16)


@pytest.mark.parametrize("scheme", [SCHEME, REGIONS])
def test_channels_are_one_hot_and_lead_back_to_the_labels(scheme: LabelScheme) -> None:
    given = labels()
    channels = previous_stage_channels(given, scheme)
    assert (channels.shape, channels.dtype) == ((3, *given.shape), np.float32)
    assert set(np.unique(channels)) == {0, 1}
    assert np.array_equal(np.einsum("kzyx,k->zyx", channels, [1, 2, 3]), given)


def test_background_and_outside_are_zero_in_every_channel() -> None:
    given = np.full((2, 3, 4), OUTSIDE, np.int16)
    given[1] = 0
    assert not previous_stage_channels(given, SCHEME).any()


@pytest.mark.parametrize(("highest", "kept"), [(3, np.int8), (300, np.int16)])
def test_boxes_are_those_of_the_array_padded_with_outside(tmp_path: Path, highest: int, kept: type) -> None:
    given = labels(highest=highest)
    path = write_previous(tmp_path / "next_stage", "x", given, (8, 8, 8))
    reader = PreviousStage({"x": path}, SCHEME)
    assert [file.name for file in path.parent.iterdir()] == ["x.b2nd"]
    assert reader._open("x").dtype == kept
    assert (reader.cases, reader.shape("x")) == (("x",), given.shape)
    assert np.array_equal(reader.read("x"), given)
    padded = np.pad(given, 30, constant_values=OUTSIDE)
    for start, size in [
        ((0, 0, 0), (8, 8, 8)),
        ((-3, 5, 12), (8, 8, 8)),
        ((-20, 0, 0), (40, 30, 30)),
        ((25, 0, 0), (4, 4, 4)),
    ]:
        box = reader.read_box("x", start, size)
        index = tuple(slice(s + 30, s + 30 + n) for s, n in zip(start, size, strict=True))
        assert np.array_equal(box, padded[index])
        assert box.dtype == np.int16
        box[...] = 5  # memory of its own
    assert np.array_equal(reader.read("x"), given)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_previous(tmp_path, "x", labels(), (8, 8, 8))
    path = write_previous(tmp_path, "x", labels((4, 4, 4)) * 0, (8, 8))
    assert np.array_equal(PreviousStage({"x": path}, SCHEME).read("x"), np.zeros((4, 4, 4)))
    assert [file.name for file in tmp_path.iterdir()] == ["x.b2nd"]


def _sum_in_child(reader: PreviousStage, queue: multiprocessing.Queue) -> None:
    queue.put(int(reader.read_box("x", (1, 2, 3), (5, 5, 5)).sum()))


def test_it_is_read_after_a_fork_and_after_pickling(tmp_path: Path) -> None:
    reader = PreviousStage({"x": write_previous(tmp_path, "x", labels(), (8, 8, 8))}, SCHEME)
    expected = int(reader.read_box("x", (1, 2, 3), (5, 5, 5)).sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(reader, queue))
    child.start()
    assert queue.get(timeout=30) == expected
    child.join(timeout=30)
    assert int(pickle.loads(pickle.dumps(reader)).read_box("x", (1, 2, 3), (5, 5, 5)).sum()) == expected


def test_a_case_without_labels_is_named(tmp_path: Path) -> None:
    reader = PreviousStage({"x": tmp_path / "x.b2nd"}, SCHEME)
    for case in ("x", "y"):
        with pytest.raises(WorkspaceError, match=f"no prediction of case '{case}'"):
            reader.read(case)
