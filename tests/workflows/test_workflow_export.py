"""A model leaves the run folder and works where nothing of the run is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer
from typer.testing import CliRunner

from autoseg import pipeline
from autoseg.cli.export import export
from autoseg.cli.option_records import with_option_records
from autoseg.data.dataset import Dataset
from autoseg.data.files import read_labels
from autoseg.workspace import Run


def _export(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(with_option_records(export))
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_zip_predicts_in_a_fresh_process_without_the_run(
    trained: Run, copy_run: Callable[[Run], Run], phantom: Path, tmp_path: Path
) -> None:
    run, elsewhere = copy_run(trained), tmp_path / "elsewhere"
    elsewhere.mkdir()
    expected = tmp_path / "expected"
    pipeline.predict(run.root, [phantom / "imagesTr"], expected, device="cpu")
    output = _export(run.root, "--format", "zip", "--out", elsewhere / "model.zip")
    assert "3d_fullres: fold 0" in output
    run.root.rename(tmp_path / "gone")
    command = [sys.executable, "-m", "autoseg", "predict", "model.zip", str(phantom / "imagesTr"), "--out", "labels"]
    process = subprocess.run([*command, "--device", "cpu"], cwd=elsewhere, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    files = sorted(expected.glob("*.nii.gz"))
    assert len(files) == 6
    for path in files:
        found = read_labels(elsewhere / "labels" / path.name)
        np.testing.assert_array_equal(found.array, read_labels(path).array)
        assert found.geometry == read_labels(path).geometry


def test_a_zip_of_a_trained_run_names_no_case_and_no_path(trained: Run, phantom: Path, tmp_path: Path) -> None:
    _export(trained.root, "--out", tmp_path / "model.zip")
    secrets = [*Dataset.load(trained.dataset).identifiers, str(phantom.parent), str(trained.root), str(Path.home())]
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert len(secrets) == 9
    for secret in secrets:
        assert not [name for name, content in contents.items() if secret.encode() in content], secret
        assert secret.encode() not in (tmp_path / "model.zip").read_bytes()


def test_the_command_prints_how_the_onnx_graph_compares(trained: Run, tmp_path: Path) -> None:
    output = _export(trained.root, "--format", "onnx", "--out", tmp_path / "model.onnx", "--folds", "0")
    assert f"{tmp_path / 'model.onnx'}" in output
    assert "3d_fullres: mean of fold 0" in output
    assert "equal labels" in output
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.json"}
