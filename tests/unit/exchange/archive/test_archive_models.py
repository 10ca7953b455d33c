"""A model as one file: what goes in, what comes out, and every way in which it can be broken."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from random_runs import configuration, random_run

from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.exchange.archive import writing as archive_writing
from autoseg.exchange.archive.reading import ArchiveError, read_manifest, unpack
from autoseg.exchange.archive.writing import write_archive
from autoseg.inference.estimate import FlagCheck, LabelReliability, Reliability, reliability_of
from autoseg.inference.predictor import Predictor
from autoseg.records import read_mapping, write_json
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run

_RELIABLE = LabelReliability(
    cases=3, unseen=0, always_found=True, correlation=0.7, interval=(0.1, 0.9), calibration=None, error=None,
    error_of_mean=None, threshold=None,
)  # fmt: skip
WEIGHTS = "3d_fullres/fold_0/checkpoint_final.pt"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two folds of 3d_fullres, which is the best, and one of 2d."""
    configurations = {"2d": configuration(2), "3d_fullres": configuration(3)}
    folds = {"2d": ["0"], "3d_fullres": ["0", "1"]}
    return random_run(tmp_path / "run", configurations, folds, best=["3d_fullres"])


@pytest.fixture
def model(run: Run, tmp_path: Path) -> Path:
    """The run's model file."""
    path = tmp_path / "model.zip"
    write_archive(run, path)
    return path


def _repack(model: Path, change: Callable[[dict[str, bytes]], None], *, rehash: bool = False) -> Path:
    """The model file with other members; `rehash` forges the manifest to fit them."""
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if rehash:
        manifest = json.loads(members["manifest.json"])
        manifest["files"] = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
            if name != "manifest.json"
        }
        members["manifest.json"] = json.dumps(manifest).encode()
    changed = model.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return changed


def test_a_model_file_predicts_what_the_run_predicts(run: Run, model: Path) -> None:
    image = np.random.default_rng(0).normal(size=(10, 14, 9)).astype(np.float32)
    expected = Predictor.load(run.root, device="cpu").predict(image, spacing=(1.5, 1.0, 1.0))
    run.root.rename(run.root.with_name("elsewhere"))
    found = Predictor.load(model, device="cpu").predict(image, spacing=(1.5, 1.0, 1.0))
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > 1


def test_it_holds_the_best_model_and_no_more(run: Run, model: Path) -> None:
    manifest = read_manifest(model)
    assert manifest.configurations == ("3d_fullres",)
    assert manifest.folds == {"3d_fullres": ("0", "1")}
    names = {"README.txt", "plan.json", "summary.json", WEIGHTS, WEIGHTS.replace("_0", "_1")}
    assert set(manifest.files) == names
    with zipfile.ZipFile(model) as archive:
        assert set(archive.namelist()) == names | {"manifest.json"}
        assert archive.read("README.txt").decode().count("\n") == 5
        assert archive.getinfo(WEIGHTS).compress_type == zipfile.ZIP_STORED
    unpacked = load_checkpoint(unpack(model) / WEIGHTS)
    original = load_checkpoint(run.root / WEIGHTS)
    assert unpacked.keys() == {"format", "network", "runtime", "step"}
    assert all(torch.equal(unpacked["network"][name], value) for name, value in original["network"].items())


def test_nothing_in_it_names_a_case_or_a_path(run: Run, tmp_path: Path) -> None:
    secrets = ["patient_0815", str(tmp_path), tmp_path.name]
    write_json(run.dataset, {"training": [{"id": secrets[0], "images": [str(run.root)]}]})
    write_json(run.fingerprint, {"cases": [{"id": secrets[0]}]})
    write_json(run.splits, [{"train": [secrets[0]], "val": []}])
    score = {"foreground": 0.5, "labels": {"liver": 0.5}}
    write_json(run.postprocessing, {"configurations": ["3d_fullres"], "before": score, "after": score, "cases": 3})
    plan = read_mapping(run.plan)
    write_json(run.plan, {**plan, "warnings": [f"{secrets[0]} is unusual"]})
    summary = read_mapping(run.summary)
    uncertainty = Reliability(
        configurations=("3d_fullres",), cases=3, labels={}, foreground=_RELIABLE,
        check=FlagCheck(cases=3, flagged=(secrets[0],), worst=()),
    )  # fmt: skip
    summary["uncertainty"] = uncertainty.model_dump(mode="json")
    summary["configurations"]["3d_fullres"]["cases"] = {secrets[0]: {}}
    write_json(run.summary, summary)
    write_archive(run, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
        assert json.loads(archive.read("summary.json"))["uncertainty"]["foreground"]["correlation"] == 0.7
        assert "postprocessing.json" in archive.namelist()
    assert reliability_of(Run(unpack(tmp_path / "model.zip")), ["3d_fullres"]) == uncertainty.with_(check=None)
    for content in (*contents, (tmp_path / "model.zip").read_bytes()):
        for secret in secrets:
            assert secret.encode() not in content


def test_the_same_run_gives_the_same_bytes_also_from_its_own_copy(run: Run, model: Path, tmp_path: Path) -> None:
    for source, name in ((run, "again.zip"), (Run(unpack(model)), "of_copy.zip")):
        write_archive(source, tmp_path / name)
        assert (tmp_path / name).read_bytes() == model.read_bytes()


def test_a_cascade_brings_its_previous_stage(tmp_path: Path) -> None:
    configurations = {
        "3d_lowres": configuration(3, next_stage="3d_cascade"),
        "3d_cascade": configuration(3, previous_stage="3d_lowres"),
        "2d": configuration(2),
    }
    folds = {"3d_lowres": ["0"], "3d_cascade": ["0"], "2d": ["all"]}
    run = random_run(tmp_path / "run", configurations, folds, best=["3d_cascade"])
    manifest = write_archive(run, tmp_path / "model.zip")
    assert manifest.configurations == ("3d_cascade",)
    assert manifest.folds == {"3d_lowres": ("0",), "3d_cascade": ("0",)}
    together = write_archive(run, tmp_path / "ensemble.zip", configuration="2d+3d_cascade")
    assert together.folds == {"2d": ("all",), **manifest.folds}


def test_another_choice_than_the_best_becomes_the_best_of_the_file(run: Run, tmp_path: Path) -> None:
    score = {"foreground": 0.5, "labels": {"liver": 0.5}}
    steps = ["largest-component:all-foreground"]
    write_json(run.postprocessing, {"configurations": ["3d_fullres"], "before": score, "after": score, "steps": steps})
    write_archive(run, tmp_path / "model.zip", configuration="2d")
    folder = Run(unpack(tmp_path / "model.zip"))
    assert read_mapping(folder.summary)["best"]["configurations"] == ["2d"]
    assert read_mapping(folder.summary)["best"]["foreground_mean_dice"] == 0.5
    assert not folder.postprocessing.exists()  # it was chosen for the other one
    assert Predictor.load(folder.root, device="cpu").predict(np.ones((8, 8, 8)), spacing=(1, 1, 1)).shape == (8, 8, 8)


def test_what_is_not_trained_cannot_be_shared(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean '3d_fullres'"):
        write_archive(run, tmp_path / "model.zip", configuration="3d_fulres")
    with pytest.raises(WorkspaceError, match="3d_fullres has no trained fold 4"):
        write_archive(run, tmp_path / "model.zip", folds=["0", "4"])
    run.summary.unlink()
    with pytest.raises(WorkspaceError, match="has not chosen a configuration yet"):
        write_archive(run, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def test_a_failed_export_leaves_the_file_that_was_there(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_writing.torch, "save", full)
    with pytest.raises(ArchiveError, match="No space left on device"):
        write_archive(run, model)
    assert model.read_bytes() == before
    assert {path.name for path in model.parent.iterdir()} == {"run", "model.zip"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_refused(model: Path, share: float) -> None:
    content = model.read_bytes()
    model.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(model)


def test_any_changed_byte_is_noticed_or_without_effect(model: Path) -> None:
    whole = model.read_bytes()
    expected = {path.relative_to(folder): path.read_bytes() for folder in [unpack(model)] for path in _files(folder)}
    refused = 0
    places = np.random.default_rng(0).integers(len(whole), size=150)
    for i, place in enumerate(places.tolist()):
        damaged = model.with_name(f"damaged{i}.zip")
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            folder = unpack(damaged)
        except ArchiveError:
            refused += 1
        else:  # in a time stamp, a version or a comment of the zip itself
            assert {path.relative_to(folder): path.read_bytes() for path in _files(folder)} == expected
    assert refused > 100


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_one_changed_byte_in_the_weights_is_noticed_without_the_zips_own_check(model: Path) -> None:
    def flip(members: dict[str, bytes]) -> None:
        content = bytearray(members[WEIGHTS])
        content[len(content) // 2] ^= 1
        members[WEIGHTS] = bytes(content)

    with pytest.raises(ArchiveError, match=f"damaged.*\n.*{WEIGHTS} has other bytes"):
        unpack(_repack(model, flip))


def test_missing_and_unknown_files_are_named(model: Path) -> None:
    with pytest.raises(ArchiveError, match=f"missing: {WEIGHTS}"):
        unpack(_repack(model, lambda members: members.pop(WEIGHTS) and None))
    with pytest.raises(ArchiveError, match=r"unknown: extra/notes\.txt"):
        unpack(_repack(model, lambda members: members.update({"extra/notes.txt": b"hello"})))
    with zipfile.ZipFile(model, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("plan.json", b"{}")
    with pytest.raises(ArchiveError, match="a file occurs twice"):
        unpack(model)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:evil.txt", "a//b"])
def test_no_path_leaves_the_folder(model: Path, name: str) -> None:
    forged = _repack(model, lambda members: members.update({name: b"evil"}), rehash=True)
    with pytest.raises(ArchiveError, match="a path leads out of the folder"):
        unpack(forged)


def test_a_newer_format_and_a_foreign_zip_say_what_to_do(model: Path, tmp_path: Path) -> None:
    def newer(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        members["manifest.json"] = json.dumps({**manifest, "format": 2, "autoseg": "9.0", "compression": "x"}).encode()

    with pytest.raises(ArchiveError, match=r"newer version(.|\n)*autoseg 9.0(.|\n)*pip install --upgrade"):
        unpack(_repack(model, newer))
    with pytest.raises(ArchiveError, match="is not a model of autoseg"):
        unpack(_repack(model, lambda members: members.pop("manifest.json") and None))
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(_repack(model, lambda members: members.update({"manifest.json": b'{"format": 1}'})))
    with pytest.raises(ArchiveError, match="cannot be read"):
        unpack(tmp_path / "nowhere.zip")


class _Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def test_code_in_place_of_weights_does_not_run(model: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = pickle.dumps(_Code(marker), protocol=2)
    pickle.loads(code)
    assert marker.exists()  # it would run
    marker.unlink()
    forged = _repack(model, lambda members: members.update({WEIGHTS: code}), rehash=True)
    with pytest.raises(WorkspaceError, match="holds more than tensors"):
        Predictor.load(forged, device="cpu")
    assert not marker.exists()


def test_a_file_is_unpacked_once_and_removed_at_the_end(run: Run, model: Path) -> None:
    assert unpack(model) == unpack(model)
    first = unpack(model)
    write_archive(run, model, folds=["1"])
    assert unpack(model) != first
    script = "import sys, pathlib, autoseg.exchange.archive.reading as a; print(a.unpack(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(model)]
    folder = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert "autoseg-model-" in folder
    assert not Path(folder).exists()
