"""Models outside of their run folders: each file is read by the format that knows it, and written by name."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from random_runs import configuration, random_run

from autoseg import plugins
from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.inference.formats import ModelFormat, model_folder, write_model
from autoseg.inference.predictor import Predictor
from autoseg.plan.record import Plan
from autoseg.workspace import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return random_run(tmp_path / "run", {"2d": configuration(2)}, {"2d": ["0"]}, best=["2d"])


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> ModelFormat:
    """The format "moved": a text file that names the run folder; its files start with "moved"."""

    def write(run: Path, out: Path, *, configuration: str | None, folds: Sequence[str] | None) -> Iterator[str]:
        out.write_text(f"moved {run} {configuration} {folds}", encoding="utf-8")
        yield f"moved: {out}"

    def read(path: Path) -> Path | None:
        kind, _, rest = path.read_bytes().partition(b" ")
        return Path(rest.decode().split()[0]) if kind == b"moved" else None

    monkeypatch.setattr(plugins, "_registered", {})
    return plugins.register("model format", "moved")(ModelFormat("to a place", write=write, read=read))


def test_a_run_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert model_folder(tmp_path) == tmp_path


@pytest.mark.usefixtures("moved")
def test_a_file_is_read_by_the_format_that_knows_it(run: Run, tmp_path: Path) -> None:
    assert write_model("moved", run.root, tmp_path / "model.txt") == (f"moved: {tmp_path / 'model.txt'}",)
    assert (tmp_path / "model.txt").read_text(encoding="utf-8") == f"moved {run.root} None None"
    assert model_folder(tmp_path / "model.txt") == run.root
    image = np.random.default_rng(0).normal(size=(4, 9, 10)).astype(np.float32)
    expected = Predictor.load(run.root, device="cpu").predict(image, spacing=(1, 1, 1))
    found = Predictor.load(tmp_path / "model.txt", device="cpu").predict(image, spacing=(1, 1, 1))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("moved")
def test_a_model_file_is_written_again_in_another_format(run: Run, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("a.txt", "b.zip", "c.txt"))
    write_model("moved", run.root, first)
    lines = write_model("zip", first, second, configuration="2d", folds=["0"])
    assert lines[0].startswith(f"model: {second}, ")
    assert lines[0].endswith(" MB, 5 files")
    assert lines[1:] == ("  2d: fold 0", f"use it with: autoseg predict {second} IMAGES --out DIR")
    write_model("moved", second, third, configuration="2d", folds=["0"])
    _, folder, *rest = third.read_text(encoding="utf-8").split()
    assert rest == ["2d", "['0']"]
    assert (Path(folder) / "2d" / "fold_0" / "checkpoint_final.pt").exists()


def test_a_zip_is_known_by_its_first_bytes_and_by_its_name(run: Run, tmp_path: Path) -> None:
    write_model("zip", run.root, tmp_path / "model.zip")
    shutil.copy(tmp_path / "model.zip", tmp_path / "model.backup")
    assert Plan.load(Run(model_folder(tmp_path / "model.backup")).plan) == Plan.load(run.plan)
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    with pytest.raises(WorkspaceError, match=r"text\.zip: the model file is damaged"):
        model_folder(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(WorkspaceError, match="is not a model of autoseg"):
        model_folder(tmp_path / "other.zip")


@pytest.mark.usefixtures("moved")
def test_a_file_that_no_format_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(WorkspaceError, match=r"no trained model(.|\n)*a format that is read: moved, zip"):
        model_folder(tmp_path / "model.onnx")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        model_folder(tmp_path / "nowhere.zip")


def test_what_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="is a directory"):
        write_model("zip", tmp_path / "nowhere", tmp_path)
    with pytest.raises(ConfigurationError, match="did you mean 'onnx'"):
        write_model("onx", tmp_path / "nowhere", tmp_path / "model")
    monkeypatch.setattr(plugins, "_registered", {})
    plugins.register("model format", "old")(ModelFormat("of the past", read=lambda path: None))
    with pytest.raises(ConfigurationError, match="models are read from the format 'old' and not written in it"):
        write_model("old", tmp_path / "nowhere", tmp_path / "model")


def test_looking_for_a_reader_imports_no_writer(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model("zip", run.root, tmp_path / "model.zip")
    writers = [f"autoseg.exchange.{name}.writing" for name in ("archive", "onnx")]
    for name in writers:
        monkeypatch.delitem(sys.modules, name, raising=False)
    model_folder(tmp_path / "model.zip")
    assert not [name for name in writers if name in sys.modules]
