"""`autoseg raters` on folders of label files: what it writes, what it names, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoseg.cli.main import run
from autoseg.data.files import read_image, read_labels, write_labels
from autoseg.data.image import Geometry
from autoseg.errors import ConfigurationError
from autoseg.evaluation.evaluate import evaluate
from autoseg.studies.raters.agreement import Agreement
from autoseg.studies.raters.pipeline.compare_raters import compare_raters, name_raters

GEOMETRY = Geometry(spacing=(3.0, 0.5, 0.5), origin=(1.0, -2.0, 4.0))
LABELS = {"background": 0, "organ": 10, "tumour": 20}


def drawing(shift: int) -> np.ndarray:
    labels = np.zeros((6, 16, 16), np.int16)
    labels[1:5, 4:12, 3:11] = 10
    labels[2:4, 6:9, 5:8] = 20
    return np.roll(labels, shift, axis=2)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Three raters, of which the last lacks a case, in two formats."""
    made = [tmp_path / name for name in "abc"]
    for shift, folder in enumerate(made):
        for case in ("case_1", "case_2") if folder.name != "c" else ("case_1",):
            write_labels(folder / f"{case}{'.nrrd' if shift else '.nii.gz'}", drawing(shift), GEOMETRY)
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "dataset.json"
    path.write_text(
        json.dumps({"labels": LABELS, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}), encoding="utf-8"
    )
    return path


def test_the_command_prints_and_writes(
    folders: list[Path], spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["raters", *map(str, folders), "--out", str(out), "--spec", str(spec), "--consensus", "majority"]
    assert run([*arguments, "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "organ: a model with Dice" in printed
    found = Agreement.load(out / "agreement.json")
    assert found.labels == ("organ", "tumour")
    assert found.missing == {"c": ("case_2",)}
    one, other = (drawing(shift) == 20 for shift in (0, 1))
    expected = 2 * (one & other).sum() / (one.sum() + other.sum())
    pair = next(pair for pair in found.pairs if pair.raters == ("a", "b"))
    assert pair.labels["tumour"]["dice"].mean == pytest.approx(expected)
    assert pair.labels["tumour"]["dice"].cases == 2
    assert pair.labels["tumour"]["hd95"].mean == pytest.approx(0.5)
    image = read_labels(out / "consensus" / "case_1.nii.gz")
    assert np.array_equal(image.array[0], drawing(1))  # the middle one of three
    assert image.geometry.origin == pytest.approx(GEOMETRY.origin)


def test_a_model_is_scored_against_the_consensus(folders: list[Path], tmp_path: Path) -> None:
    compare_raters(folders, tmp_path / "out", consensus="staple", workers=1)
    scores = evaluate(folders[1], tmp_path / "out" / "consensus", workers=1)
    assert scores.cases["case_1"]["10"]["dice"] == 1


def test_soft_labels_are_shares_in_channels(folders: list[Path], spec: Path, tmp_path: Path) -> None:
    found = compare_raters(folders, tmp_path / "out", spec=spec, consensus="soft", workers=1)
    assert found.channels == ("organ", "tumour")
    image = read_image(tmp_path / "out" / "consensus" / "case_1.nii.gz")
    assert image.array.dtype == np.float32
    for channel, value in zip(image.array, (10, 20), strict=True):
        assert channel == pytest.approx(np.mean([drawing(shift) == value for shift in range(3)], axis=0))
    with pytest.raises(ConfigurationError, match="another kind"):
        compare_raters(folders, tmp_path / "out", spec=spec, consensus="majority", workers=1)


def test_a_dataset_json_beside_the_files_names_the_labels(folders: list[Path], spec: Path, tmp_path: Path) -> None:
    spec.rename(folders[1] / "dataset.json")
    assert compare_raters(folders, tmp_path / "out", workers=1).labels == ("organ", "tumour")


def test_cases_that_cannot_be_compared_are_named(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels(folders[0] / "alone.nii.gz", drawing(0), GEOMETRY)
    for folder, spacing in zip(folders, (0.5, 0.5, 0.6), strict=True):
        write_labels(folder / "grid.nii.gz", drawing(0), Geometry(spacing=(3.0, 0.5, spacing)))
    arguments = ["raters", *map(str, folders), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert "alone: only one rater labelled the case" in said
    assert "add another rater's file" in said
    assert "grid: c's spacing is not a's" in said
    found = Agreement.load(tmp_path / "out" / "agreement.json")
    assert list(found.cases) == ["case_1", "case_2"]
    assert list(found.errors) == ["alone", "grid"]


def test_wrong_requests_are_refused(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigurationError, match="at least two folders"):
        compare_raters(folders[:1], out)
    with pytest.raises(ConfigurationError, match="given twice"):
        compare_raters([folders[0], folders[0]], out)
    with pytest.raises(ConfigurationError, match="with --spec"):
        compare_raters(folders, out, consensus="soft")
    with pytest.raises(ConfigurationError, match="did you mean 'majority'"):
        compare_raters(folders, out, consensus="majorty")
    for path in folders[0].iterdir():
        path.rename(path.with_name(f"other_{path.name}"))
    with pytest.raises(ConfigurationError, match="no case was labelled by two raters"):
        compare_raters(folders[:2], out)
    assert not out.exists()


def test_raters_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    paths = [tmp_path / one / "labels" for one in ("anna", "bert")]
    assert list(name_raters(paths)) == ["anna/labels", "bert/labels"]
    assert list(name_raters([tmp_path / "anna", tmp_path / "bert"])) == ["anna", "bert"]
