"""Label values of one side alone, and those that hardly occur: what is told, and what enters the means."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.files import write_labels
from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.evaluation.evaluate import evaluate, evaluate_files
from autoseg.evaluation.odd_values import OddValue
from autoseg.evaluation.scores import Scores
from autoseg.evaluation.value_map import ValueMap

SHAPE = (1, 60, 80)


def two_discs(seed: int, *, values: tuple[int, int] = (1, 2), shift: int = 0) -> np.ndarray:
    """A disc of 1200 to 1300 pixels and a smaller one beside it."""
    _, y, x = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.int16)
    labels[np.hypot(y - 30, x - 25 - seed % 3 - shift) < 20] = values[0]
    labels[np.hypot(y - 30, x - 65 - shift) < 10] = values[1]
    return labels


def save(folder: Path, name: str, labels: np.ndarray) -> None:
    write_labels(folder / f"{name}.png", labels, Geometry.plane())


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("autoseg"), "propagate", True)
    return caplog


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Ten cases with two classes, the predictions off by two pixels."""
    for number in range(10):
        save(tmp_path / "p", f"c{number}", two_discs(number, shift=2))
        save(tmp_path / "r", f"c{number}", two_discs(number))
    return tmp_path / "p", tmp_path / "r"


def spoil(folder: Path, name: str, *strays: tuple[int, int], values: tuple[int, int] = (1, 2)) -> None:
    """A label map with some pixels of other values along its first rows."""
    labels = two_discs(int(name[1:]), values=values)
    for row, (value, pixels) in enumerate(strays):
        labels[0, row, :pixels] = value
    save(folder, name, labels)


def test_sound_files_have_none(folders: tuple[Path, Path], warnings: pytest.LogCaptureFixture) -> None:
    result = evaluate(*folders)
    assert result.odd_values == ()
    assert "odd_values" not in result.model_dump(mode="json")
    assert warnings.text == ""


def test_values_that_mean_the_same_are_paired(tmp_path: Path, warnings: pytest.LogCaptureFixture) -> None:
    for number in range(4):
        save(tmp_path / "p", f"c{number}", two_discs(number, values=(1, 2), shift=1))
        save(tmp_path / "r", f"c{number}", two_discs(number, values=(255, 128)))
    result = evaluate(tmp_path / "p", tmp_path / "r", out=tmp_path / "scores.json")
    assert result.foreground_dice == 0
    found = {one.value: one for one in result.odd_values}
    assert {value: one.counterpart for value, one in found.items()} == {1: 255, 2: 128, 128: 2, 255: 1}
    discs = [two_discs(number) for number in range(4)]
    assert found[255].voxels_ref == sum(int((disc == 1).sum()) for disc in discs)
    assert (found[255].voxels_pred, found[255].cases_ref, found[255].cases_pred) == (0, 4, 0)
    assert found[255].examples == ("c0", "c1", "c2")
    moved = [two_discs(number, shift=1) for number in range(4)]
    together = sum(int(((one == 1) & (other == 1)).sum()) for one, other in zip(discs, moved, strict=True))
    assert found[255].overlap == pytest.approx(together / found[255].voxels_ref)
    assert Scores.load(tmp_path / "scores.json") == result
    assert "if they mean the same, --map 255:1" in warnings.text
    assert "if they mean the same, --map 128:2" in warnings.text
    mapped = evaluate(tmp_path / "p", tmp_path / "r", value_map={255: 1, 128: 2})
    assert mapped.odd_values == ()
    other = evaluate(tmp_path / "p", tmp_path / "r", value_map=ValueMap(predictions={1: 255, 2: 128}))
    assert mapped.mean["1"] == other.mean["255"]
    assert (mapped.foreground_dice or 0) > 0.9


def test_values_change_places_at_once(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    swapped = evaluate(predictions, references, value_map={1: 2, 2: 1})
    assert swapped.foreground_dice == 0
    again = evaluate(predictions, references, value_map=ValueMap(references={1: 2, 2: 1}, predictions={1: 2, 2: 1}))
    plain = evaluate(predictions, references)
    assert (again.mean["1"], again.mean["2"]) == (plain.mean["2"], plain.mean["1"])


def test_stray_values_are_told_and_no_classes_of_the_mean(
    folders: tuple[Path, Path], warnings: pytest.LogCaptureFixture
) -> None:
    predictions, references = folders
    spoil(references, "c3", (37, 4), (91, 3), (140, 2), (222, 1))
    spoil(references, "c7", (37, 5))
    result = evaluate(predictions, references)
    assert list(result.mean) == ["1", "2"]
    assert all(list(rows) == ["1", "2"] for rows in result.cases.values())
    assert (result.foreground_dice or 0) > 0.8
    assert [(one.value, one.voxels_ref, one.cases_ref, one.scored) for one in result.odd_values] == [
        (37, 9, 2, False), (91, 3, 1, False), (140, 2, 1, False), (222, 1, 1, False)
    ]  # fmt: skip
    assert (
        "4 label values left out of the scores, taken for background: 37 (9 voxels in 2 references only: c3, c7)"
        in (warnings.text)
    )


def test_a_small_value_of_one_file_is_stray_and_a_large_one_is_a_class(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    spoil(references, "c0", (9, 40))  # more than a thousandth of what is labelled, of one file alone
    assert [(one.value, one.scored) for one in evaluate(predictions, references).odd_values] == [(9, False)]
    spoil(references, "c0", (9, 80), values=(9, 2))  # the disc itself
    (odd,) = evaluate(predictions, references).odd_values
    assert (odd.value, odd.scored, odd.cases_ref) == (9, True, 1)


def test_what_is_described_or_agreed_on_is_never_left_out(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    spoil(references, "c0", (7, 3))
    scheme = LabelScheme(names={"background": 0, "cell": 1, "nucleus": 2, "lesion": 7})
    described = evaluate(predictions, references, spec=scheme)
    assert described.mean["lesion"]["dice"] == 0
    assert [(one.value, one.scored) for one in described.odd_values] == [(7, True)]
    spoil(predictions, "c0", (7, 2))
    agreed = evaluate(predictions, references)
    assert agreed.mean["7"]["dice"] == pytest.approx(0.8)
    assert agreed.odd_values == ()


def test_a_list_of_values_makes_all_others_background(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    spoil(references, "c0", (7, 60))
    plain = evaluate(predictions, references, spec=LabelScheme(names={"background": 0, "1": 1, "2": 2, "7": 7}))
    listed = evaluate(predictions, references, spec=[1])
    assert listed.mean == {"1": plain.mean["1"]}
    assert listed.errors == {}
    assert [(one.value, one.scored) for one in listed.odd_values] == [(2, False), (7, False)]
    assert evaluate(predictions, references, spec=(1, 2, 7)).mean == plain.mean


def test_a_list_of_values_pairs_one_with_one_beyond_it(tmp_path: Path, warnings: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        save(tmp_path / "p", f"c{number}", two_discs(number))
        save(tmp_path / "r", f"c{number}", two_discs(number, values=(255, 2)))
    result = evaluate(tmp_path / "p", tmp_path / "r", spec=[1, 2])
    assert [(one.value, one.counterpart, one.scored) for one in result.odd_values] == [(1, 255, True), (255, 1, False)]
    assert "--map 255:1" in warnings.text


def test_voxels_without_annotation_are_no_odd_values(tmp_path: Path) -> None:
    reference = two_discs(0)
    reference[0, :, 40:] = 9
    save(tmp_path / "r", "a", reference)
    save(tmp_path / "p", "a", two_discs(0))
    scheme = LabelScheme(names={"background": 0, "a": 1, "b": 2}, ignore=9)
    # the second disc lies where nobody looked
    assert evaluate(tmp_path / "p", tmp_path / "r", spec=scheme).odd_values == ()


def test_classes_that_were_not_looked_for_are_no_odd_values(folders: tuple[Path, Path], tmp_path: Path) -> None:
    predictions, references = folders
    for number in range(10):
        save(references, f"c{number}", np.where(two_discs(number) == 2, 0, two_discs(number)))
    description = {"labels": {"background": 0, "cell": 1, "nucleus": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    assert [one.value for one in evaluate(*folders, spec=tmp_path / "dataset.json").odd_values] == [2]
    annotated = {"annotated": {f"c{number}": ["cell"] for number in range(10)}}
    (tmp_path / "dataset.json").write_text(json.dumps(description | annotated), encoding="utf-8")
    assert evaluate(predictions, references, spec=tmp_path / "dataset.json").odd_values == ()


def test_one_pair_of_files_says_nothing_of_single_files(tmp_path: Path) -> None:
    save(tmp_path / "p", "a", two_discs(0))
    save(tmp_path / "r", "a", two_discs(0, values=(1, 3)))
    odd = evaluate(tmp_path / "p", tmp_path / "r").odd_values
    assert [(one.value, one.scored, one.counterpart) for one in odd] == [(2, True, 3), (3, True, 2)]


def test_validation_of_a_data_set_does_not_look_for_them(folders: tuple[Path, Path]) -> None:
    pairs = {path.stem: (folders[0] / path.name, path) for path in folders[1].iterdir()}
    scheme = LabelScheme(names={"background": 0, "a": 1, "b": 2, "c": 3})
    assert evaluate_files(pairs, scheme).odd_values == ()
    spoil(folders[1], "c0", (7, 3))
    assert [one.value for one in evaluate_files(pairs, None).odd_values] == [7]


def test_files_of_earlier_versions_are_read(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = evaluate(*folders, out=tmp_path / "scores.json")
    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert "odd_values" not in content
    assert Scores.load(tmp_path / "scores.json") == result
    odd = OddValue(value=3, scored=True, voxels_ref=1, voxels_pred=0, cases_ref=1, cases_pred=0, examples=("a",))
    result.with_(odd_values=(odd,)).save(tmp_path / "scores.json")
    assert Scores.load(tmp_path / "scores.json").odd_values == (odd,)
