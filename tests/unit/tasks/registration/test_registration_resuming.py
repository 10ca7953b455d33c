from pathlib import Path

import pytest

from autoseg.errors import WorkspaceError
from autoseg.records import Record
from autoseg.tasks.registration.pipeline.resuming import begin


class Wish(Record):
    stages: tuple[str, ...]
    seed: int = 0
    done: tuple[int, ...] = ()


def test_a_new_folder_is_begun_and_one_in_use_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "wish.json"
    assert begin(file, Wish(stages=("affine",)), resume=False) == Wish(stages=("affine",))
    with pytest.raises(WorkspaceError, match="in use"):
        begin(file, Wish(stages=("affine",)), resume=False)
    assert Wish.load(file) == Wish(stages=("affine",))


def test_going_on_needs_the_same_choices_and_names_those_that_differ(tmp_path: Path) -> None:
    file = tmp_path / "wish.json"
    begin(file, Wish(stages=("affine",), done=(1, 2)), resume=False)
    with pytest.raises(WorkspaceError, match="seed 4 instead of 0") as raised:
        begin(file, Wish(stages=("affine",), seed=4, done=(1, 2)), resume=True)
    assert "stages" not in str(raised.value)
    with pytest.raises(WorkspaceError):
        begin(file, Wish(stages=("affine",)), resume=True)
    found = begin(file, Wish(stages=("affine",)), resume=True, choices=lambda one: one.with_(done=()))
    assert found.done == (1, 2)
