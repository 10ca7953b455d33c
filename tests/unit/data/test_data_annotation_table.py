"""The table of classes that were looked for: its forms, what it makes of the cases, and its errors all together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.annotation_table import annotated_of_cases, never_looked_for
from autoseg.data.check import read_and_check
from autoseg.data.dataset import Dataset
from autoseg.data.discovery import discover
from autoseg.errors import DatasetError

LABELS = {"background": 0, "liver": 1, "spleen": 2, "kidney": 4}
EXPECTED = {"a": ("liver",), "b": ("spleen", "kidney")}  # c has all


def volume(path: Path, *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.resize(np.array(values, np.uint8), (3, 4, 5))
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def make(folder: Path, table: Any = None, *, csv: str | None = None, described: bool = True) -> Path:
    """Cases a, b, c with the labels that `EXPECTED` allows."""
    for name, values in {"a": (0, 1), "b": (0, 2, 4), "c": (0, 1, 2, 4)}.items():
        channel = "_0000" if described else ""
        volume(folder / ("imagesTr" if described else "images") / f"{name}{channel}.nii.gz", *range(60))
        volume(folder / ("labelsTr" if described else "labels") / f"{name}.nii.gz", *values)
    if described:
        description = {"channel_names": {"0": "CT"}, "labels": LABELS, "file_ending": ".nii.gz"}
        if table is not None:
            description["annotated"] = table
        (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    if csv is not None:
        (folder / "annotated.csv").write_text(csv, encoding="utf-8")
    return folder


def message(folder: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        discover(folder)
    return str(caught.value)


def test_without_a_table_all_classes_were_looked_for(tmp_path: Path) -> None:
    dataset = discover(make(tmp_path))
    assert [case.annotated for case in dataset.training] == [None] * 3
    assert annotated_of_cases(dataset.training) == {}


@pytest.mark.parametrize(
    "csv",
    [
        "case,classes\na,liver\nb,kidney;spleen\n",
        '\ufeffcase;classes\na;liver\nb;"spleen;kidney"\n',
        "classes\tid\nliver\ta\nspleen; kidney\tb\n\n",
        "case,liver,spleen,kidney\na,1,0,0\nb,0,1,1\nc,1,1,1\n",
        "name;kidney;liver;spleen\nb;1;0;1\na;0;1;0\n",
    ],
)
def test_both_forms_of_the_csv_file(tmp_path: Path, csv: str) -> None:
    dataset = discover(make(tmp_path, csv=csv))
    assert annotated_of_cases(dataset.training) == EXPECTED
    assert dataset.ignored == ()
    assert never_looked_for(dataset.training[:2], dataset.labels) == ()
    assert never_looked_for(dataset.training[:1], dataset.labels) == ("spleen", "kidney")


def test_the_field_of_dataset_json_is_the_table_or_names_its_file(tmp_path: Path) -> None:
    table = {"b": ["kidney", "spleen"], "a": ["liver"], "c": ["liver", "spleen", "kidney"]}
    dataset = discover(make(tmp_path / "table", table))
    assert annotated_of_cases(dataset.training) == EXPECTED
    named = make(tmp_path / "named", "tables/looked.csv")
    (named / "tables").mkdir()
    (named / "tables" / "looked.csv").write_text("case,classes\na,liver\nb,spleen;kidney\n", encoding="utf-8")
    assert annotated_of_cases(discover(named).training) == EXPECTED


def test_plain_folders_name_classes_by_their_values(tmp_path: Path) -> None:
    dataset = discover(make(tmp_path, csv="case,classes\na,1\nb,2;4\n", described=False))
    assert annotated_of_cases(dataset.training) == {"a": ("1",), "b": ("2", "4")}


def test_a_data_set_keeps_its_table_in_its_file(tmp_path: Path) -> None:
    dataset = discover(make(tmp_path, {"a": ["liver"], "b": ["spleen", "kidney"]}))
    dataset.save(tmp_path / "run.json")
    assert Dataset.load(tmp_path / "run.json") == dataset
    older = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    for case in older["training"]:
        del case["annotated"]
    assert annotated_of_cases(Dataset.from_mapping(older).training) == {}


def test_all_errors_of_a_table_are_told_together(tmp_path: Path) -> None:
    told = message(make(tmp_path, {"a": ["livr"], "bb": ["spleen"], "b": [], "c": "liver"}))
    assert "4 errors" in told
    assert "a: there is no class 'livr'; did you mean 'liver'?" in told
    assert "bb: there is no such case with a label; did you mean 'b'?" in told
    assert "b: no class was looked for" in told
    assert "c: a list of class names is expected" in told
    assert "dataset.json: annotated" in told


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ("case,classes\na,liver\na,spleen\n", ["a: the case has two rows"]),
        ("case,classes\na,liver,spleen\n", ["a: the row has not as many fields"]),
        ("case,classes\na,\n", ["a: no class was looked for"]),
        ("case,liver,spleen,kidney\na,1,x,\n", ["a: 0 or 1 is expected; got spleen 'x', kidney ''"]),
        ("case,liver,spleen\na,1,0\n", ["columns", "case, liver, spleen"]),
        ("case,liver,spleen,kidney,heart\na,1,0,1,1\n", ["columns", "heart"]),
        ("", ["columns", "an empty file"]),
        ("case,classes\na,liver\nb,liver\nc,liver\n", ["spleen, kidney: looked for in no case"]),
    ],
)
def test_errors_of_the_csv_file(tmp_path: Path, csv: str, words: list[str]) -> None:
    told = message(make(tmp_path, csv=csv))
    assert "annotated.csv" in told
    for word in words:
        assert word in told


def test_two_tables_no_table_and_no_file(tmp_path: Path) -> None:
    assert "two tables" in message(make(tmp_path / "two", {"a": ["liver"]}, csv="case,classes\na,liver\n"))
    assert "is not understood" in message(make(tmp_path / "number", 3))
    assert "cannot be read" in message(make(tmp_path / "absent", "absent.csv"))


def test_labels_of_a_class_that_was_not_looked_for_are_an_error(tmp_path: Path) -> None:
    dataset = discover(make(tmp_path, {"b": ["kidney"], "a": ["liver"]}))
    checked = [read_and_check(case, dataset) for case in dataset.training]
    assert [item.usable for item in checked] == [True, False, True]
    (problem,) = checked[1].problems
    assert (problem.code, problem.severity, problem.got) == ("label-not-annotated", "error", "spleen")
    assert "case b" in problem.what
    assert problem.file.endswith("b.nii.gz")


def test_values_of_a_region_that_was_looked_for_are_no_error(tmp_path: Path) -> None:
    """Of nested regions the outer one may be looked for alone; an inner value is part of it all the same."""
    folder = make(tmp_path)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    description |= {
        "labels": {"background": 0, "whole": [1, 2, 4], "core": [2]}, "regions_class_order": [1, 2],
        "annotated": {"a": ["whole"], "b": ["core"]},
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    dataset = discover(folder)
    checked = {case.id: read_and_check(case, dataset) for case in dataset.training}
    assert checked["a"].problems == ()
    assert [problem.code for problem in checked["b"].problems] == ["label-not-annotated"]  # 4 is of the whole alone
