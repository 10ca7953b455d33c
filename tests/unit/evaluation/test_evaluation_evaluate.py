"""Evaluating folders and lists of label files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_raw_labels, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ConfigurationError, DatasetError, ErrorGroup
from autoseg.evaluation.evaluate import evaluate, evaluate_files
from autoseg.evaluation.scheme import read_scheme
from autoseg.evaluation.scores import Scores
from autoseg.metrics.score import score_labels

GEOMETRY = Geometry(spacing=(2.0, 0.5, 0.5), origin=(10.0, -5.0, 3.0))
SHAPE = (6, 16, 16)


def _labels(seed: int, values: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """Smooth label maps, alike for all seeds and equal for none."""
    z, y, x = np.indices(SHAPE)
    radius = np.hypot(np.hypot((z - 3) * 2, y - 8), x - 7 - seed % 3)
    return np.asarray(values, np.int16)[np.where(radius < 3, 2, np.where(radius < 6, 1, 0))]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four cases; predictions and references differ by a shift."""
    for number in range(4):
        write_labels(tmp_path / "predictions" / f"case_{number}.nii.gz", _labels(number), GEOMETRY)
        write_labels(tmp_path / "references" / f"case_{number}.nii.gz", _labels(number + 1), GEOMETRY)
    return tmp_path / "predictions", tmp_path / "references"


def test_scores_are_those_of_the_arrays(folders: tuple[Path, Path]) -> None:
    result = evaluate(*folders)
    assert list(result.cases) == [f"case_{number}" for number in range(4)]
    foreground = {"1": (1,), "2": (2,)}
    expected = score_labels(_labels(2), _labels(3), foreground, GEOMETRY.spacing, dimension=3)
    assert result.cases["case_2"] == expected
    dice = [result.cases[case]["1"]["dice"] for case in result.cases]
    assert result.mean["1"]["dice"] == pytest.approx(np.mean(dice))
    assert (result.errors, result.missing_predictions, result.extra_predictions) == ({}, (), ())


def test_the_file_is_the_result(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "scores.json"
    result = evaluate(*folders, out=out)
    assert Scores.load(out) == result
    assert json.loads(out.read_text(encoding="utf-8")) == result.model_dump(mode="json")


def test_lists_of_files_and_other_endings(folders: tuple[Path, Path], tmp_path: Path) -> None:
    predictions, references = folders
    write_labels(tmp_path / "other" / "case_1.nrrd", _labels(1), GEOMETRY)
    result = evaluate([tmp_path / "other" / "case_1.nrrd"], sorted(references.iterdir())[:2])
    assert result.cases["case_1"] == evaluate(predictions, references).cases["case_1"]
    assert result.missing_predictions == ("case_0",)


def test_missing_and_extra_predictions_are_named(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("autoseg"), "propagate", True)
    predictions, references = folders
    (predictions / "case_0.nii.gz").unlink()
    (references / "case_3.nii.gz").unlink()
    result = evaluate(predictions, references)
    assert result.missing_predictions == ("case_0",)
    assert result.extra_predictions == ("case_3",)
    assert list(result.cases) == ["case_1", "case_2"]
    assert "1 reference without a prediction: case_0" in caplog.text
    assert "1 prediction without a reference: case_3" in caplog.text


def test_junk_and_other_files_are_passed_over(folders: tuple[Path, Path]) -> None:
    for name in ("._case_0.nii.gz", "summary.json", ".DS_Store"):
        (folders[0] / name).write_bytes(b"x")
    assert evaluate(*folders).extra_predictions == ()


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (Geometry(spacing=(2.0, 0.5, 0.6), origin=GEOMETRY.origin), "spacing is not its reference's"),
        (Geometry(spacing=GEOMETRY.spacing, origin=(11.5, -5.0, 3.0)), "origin is not its reference's"),
        (
            Geometry(GEOMETRY.spacing, GEOMETRY.origin, ((1, 0, 0), (0, -1, 0), (0, 0, -1))),
            "direction is not its reference's",
        ),
    ],
)
def test_another_geometry_is_an_error_of_that_case(
    folders: tuple[Path, Path], geometry: Geometry, message: str
) -> None:
    path = folders[0] / "case_1.nii.gz"
    write_labels(path, _labels(1), geometry)
    result = evaluate(*folders)
    assert list(result.cases) == ["case_0", "case_2", "case_3"]
    assert list(result.errors) == ["case_1"]
    assert message in result.errors["case_1"]
    assert str(path) in result.errors["case_1"]


def test_another_shape_or_a_damaged_file_is_an_error_of_that_case(folders: tuple[Path, Path]) -> None:
    write_labels(folders[0] / "case_0.nii.gz", _labels(0)[:-1], GEOMETRY)
    (folders[0] / "case_1.nii.gz").write_bytes(b"no image")
    result = evaluate(*folders)
    assert list(result.cases) == ["case_2", "case_3"]
    assert "shape is not its reference's" in result.errors["case_0"]
    assert "case_1.nii.gz" in result.errors["case_1"]


def test_rounded_headers_are_the_same_geometry(folders: tuple[Path, Path]) -> None:
    rounded = Geometry(spacing=(2.0001, 0.5, 0.5), origin=(10.001, -5.0, 3.0))
    write_labels(folders[0] / "case_0.nii.gz", _labels(0), rounded)
    assert evaluate(*folders).errors == {}


def test_nothing_that_can_be_compared_is_an_error(folders: tuple[Path, Path]) -> None:
    for path in folders[0].iterdir():
        path.write_bytes(b"no image")
    scheme = LabelScheme(names={"background": 0, "a": 1, "b": 2})
    with pytest.raises(ErrorGroup, match=r"no case can be evaluated \(4\)"):
        evaluate(*folders, spec=scheme)


SPECS: dict[str, tuple[dict, set[str]]] = {
    "msd": ({"labels": {"0": "background", "1": "organ", "2": "tumour"}}, {"organ", "tumour"}),
    "nnunet": ({"labels": {"background": 0, "organ": 1, "tumour": 2}}, {"organ", "tumour"}),
    "regions": (
        {"labels": {"background": 0, "whole": [1, 2], "tumour": [2]}, "regions_class_order": [1, 2]},
        {"whole", "tumour"},
    ),
    "run": ({"labels": {"names": {"background": 0, "organ": 1, "tumour": 2}}}, {"organ", "tumour"}),
}


@pytest.mark.parametrize("form", SPECS)
def test_labels_are_named_by_a_spec(folders: tuple[Path, Path], tmp_path: Path, form: str) -> None:
    description, names = SPECS[form]
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    result = evaluate(*folders, spec=tmp_path / "dataset.json")
    plain = evaluate(*folders)
    assert set(result.mean) == names
    assert result.mean["tumour"] == plain.mean["2"]
    if "organ" in names:
        assert result.mean["organ"] == plain.mean["1"]
    else:
        assert result.mean["whole"]["n_ref"] == plain.mean["1"]["n_ref"] + plain.mean["2"]["n_ref"]


def test_a_spec_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DatasetError, match="labels are not named"):
        read_scheme(tmp_path / "dataset.json")


def test_values_beyond_the_spec_are_an_error_of_that_case(folders: tuple[Path, Path]) -> None:
    write_labels(folders[0] / "case_0.nii.gz", _labels(0, (0, 1, 5)), GEOMETRY)
    result = evaluate(*folders, spec=LabelScheme(names={"background": 0, "a": 1, "b": 2}))
    assert list(result.cases) == ["case_1", "case_2", "case_3"]
    assert "not in the data set's labels" in result.errors["case_0"]
    assert "[5]" in result.errors["case_0"]


def test_values_need_not_be_consecutive(tmp_path: Path) -> None:
    write_labels(tmp_path / "p" / "a.nii.gz", _labels(0, (0, 10, 200)), GEOMETRY)
    write_labels(tmp_path / "r" / "a.nii.gz", _labels(1, (0, 10, 200)), GEOMETRY)
    result = evaluate(tmp_path / "p", tmp_path / "r")
    expected = score_labels(_labels(0), _labels(1), {"10": (1,), "200": (2,)}, GEOMETRY.spacing, dimension=3)
    assert result.cases["a"] == expected


def test_a_label_of_one_case_is_counted_as_undefined_in_the_others(folders: tuple[Path, Path]) -> None:
    write_labels(folders[0] / "case_0.nii.gz", _labels(0, (0, 1, 3)), GEOMETRY)
    write_labels(folders[1] / "case_0.nii.gz", _labels(0, (0, 1, 3)), GEOMETRY)
    result = evaluate(*folders)
    assert result.mean["3"]["dice"] == 1
    assert result.undefined["3"]["dice"] == 3
    assert result.cases["case_1"]["3"]["dice"] is None
    assert result.undefined["2"]["dice"] == 1


def test_labels_that_nobody_named_are_scored_as_named_ones_in_one_reading(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in folders:
        write_labels(folder / "case_3.nii.gz", _labels(3, (0, 10, 2)), GEOMETRY)
    scheme = LabelScheme(names={"background": 0, "1": 1, "2": 2, "10": 10})
    expected = evaluate(*folders, spec=scheme)
    read: list[Path] = []

    def counted(path: Path, *arguments: Any) -> Image:
        read.append(path)
        return read_raw_labels(path, *arguments)

    for module in ("autoseg.data.files", "autoseg.evaluation.references"):
        monkeypatch.setattr(f"{module}.read_raw_labels", counted)
    assert evaluate(*folders, workers=1) == expected
    assert len(read) == len(set(read)) == 8
    assert list(expected.cases["case_0"]) == ["1", "2", "10"]


def test_negative_values_are_an_error_of_that_case(folders: tuple[Path, Path]) -> None:
    write_labels(folders[0] / "case_0.nii.gz", _labels(0, (0, -2, 3)), GEOMETRY)
    result = evaluate(*folders)
    assert list(result.errors) == ["case_0"]
    assert "negative label values" in result.errors["case_0"]


def test_the_ignore_label_is_left_out(tmp_path: Path) -> None:
    reference = _labels(1)
    reference[:, 10:] = 3
    write_labels(tmp_path / "p" / "a.nii.gz", _labels(0), GEOMETRY)
    write_labels(tmp_path / "r" / "a.nii.gz", reference, GEOMETRY)
    scheme = LabelScheme(names={"background": 0, "a": 1, "b": 2}, ignore=3)
    row = evaluate(tmp_path / "p", tmp_path / "r", spec=scheme).cases["a"]["a"]
    assert row["n_pred"] == (_labels(0)[:, :10] == 1).sum()


def test_pictures_are_scored_as_planes(tmp_path: Path) -> None:
    first, second = np.zeros((2, 1, 20, 30), np.uint8)
    first[0, 5:15, 5:15] = second[0, 5:15, 8:18] = 1
    write_labels(tmp_path / "p" / "a.png", first, Geometry.plane())
    write_labels(tmp_path / "r" / "a.png", second, Geometry.plane())
    row = evaluate(tmp_path / "p", tmp_path / "r").cases["a"]["1"]
    assert row["hausdorff"] == pytest.approx(3)
    assert row["volume_ref"] == 100
    assert row["dice"] == pytest.approx(0.7)


def test_chosen_metrics(folders: tuple[Path, Path]) -> None:
    row = evaluate(*folders, metrics=["dice", "nsd"], tolerance_mm=50).mean["1"]
    assert {"dice", "nsd"} <= set(row)
    assert "hd95" not in row
    assert row["nsd"] == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p, r: evaluate(p / "nowhere", r), "folder of predictions does not exist"),
        (lambda p, r: evaluate(p, []), "no prediction has the name of a reference"),
        (lambda p, r: evaluate([p / "case_0.nii.gz", p / "case_0.mha"], r), "two predictions have the same name"),
        (lambda p, r: evaluate(p, r, metrics=["hd59"]), "did you mean 'hd95'"),
    ],
)
def test_wrong_requests_are_refused(
    folders: tuple[Path, Path], spoil: Callable[[Path, Path], object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        spoil(*folders)


def test_evaluate_files_without_pairs_is_an_empty_summary() -> None:
    result = evaluate_files({}, LabelScheme(names={"background": 0, "a": 1}))
    assert (result.cases, result.errors, result.mean, result.foreground_dice) == ({}, {}, {}, None)
    assert (result.missing_predictions, result.extra_predictions) == (None, None)


def test_every_error_is_of_the_tree(folders: tuple[Path, Path]) -> None:
    scheme = LabelScheme(names={"background": 0, "a": 1})
    with pytest.raises(AutosegError) as caught:
        evaluate(*folders, spec=scheme)
    assert "expected" in str(caught.value)


def test_a_case_counts_for_the_classes_that_were_looked_for(folders: tuple[Path, Path], tmp_path: Path) -> None:
    spec = tmp_path / "dataset.json"
    description: dict[str, Any] = {"labels": {"background": 0, "outer": 1, "inner": 2}}
    spec.write_text(json.dumps(description), encoding="utf-8")
    whole = evaluate(*folders, spec=spec)
    table = {"case_0": ["outer"], "case_2": ["inner"], "of_another_folder": ["outer"]}
    spec.write_text(json.dumps({**description, "annotated": table}), encoding="utf-8")
    result = evaluate(*folders, spec=spec)
    names = ["outer"], ["outer", "inner"], ["inner"], ["outer", "inner"]
    assert [list(rows) for rows in result.cases.values()] == list(names)
    assert all(rows[name] == whole.cases[case][name] for case, rows in result.cases.items() for name in rows)
    dice = [whole.cases[f"case_{number}"]["outer"]["dice"] for number in (0, 1, 3)]
    assert result.mean["outer"]["dice"] == pytest.approx(np.mean(dice))
    assert result.counted == {"outer": 3, "inner": 3}
    spec.write_text(json.dumps({**description, "annotated": {"case_0": ["heart"]}}), encoding="utf-8")
    with pytest.raises(DatasetError, match="no class 'heart'"):
        evaluate(*folders, spec=spec)


def test_a_table_beside_dataset_json_and_that_of_a_run(folders: tuple[Path, Path], tmp_path: Path) -> None:
    spec = tmp_path / "dataset.json"
    spec.write_text(json.dumps({"labels": {"background": 0, "outer": 1, "inner": 2}}), encoding="utf-8")
    (tmp_path / "annotated.csv").write_text("case,classes\ncase_1,outer\n", encoding="utf-8")
    counted = evaluate(*folders, spec=spec).counted
    scheme = LabelScheme(names={"background": 0, "outer": 1, "inner": 2})
    cases = [Case(id="case_1", images=(tmp_path / "x.nii.gz",), annotated=("outer",))]
    run = Dataset(
        name="d", folder=tmp_path, layout="plain", channels=("m",), labels=scheme, file_ending=".nii.gz",
        label_ending=".nii.gz", training=tuple(cases),
    )  # fmt: skip
    run.save(tmp_path / "run" / "dataset.json")
    assert counted == evaluate(*folders, spec=tmp_path / "run" / "dataset.json").counted == {"outer": 4, "inner": 3}
