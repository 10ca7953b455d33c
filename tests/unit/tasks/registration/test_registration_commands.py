"""What the options of the commands become: one request, with nothing lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from registered_images import write_pair

from autoseg.cli.main import run
from autoseg.tasks.registration.methods import RegistrationOptions
from autoseg.tasks.registration.pipeline import atlas, pair, propagation
from autoseg.tasks.registration.pipeline.inputs import PairFiles
from autoseg.tasks.registration.pipeline.pair import LearnedModel
from autoseg.tasks.registration.pipeline.request import RegistrationRequest, SubjectsRequest

pytestmark = pytest.mark.usefixtures("fresh_logging")


class Stop(Exception):
    """Instead of the work itself."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the pipeline is called with: its arguments in order, and by name."""
    call: dict[str, Any] = {}

    def take(*values: Any, **named: Any) -> None:
        call.update({"values": values, **named})
        raise Stop

    monkeypatch.setattr(pair, "register_files", take)
    monkeypatch.setattr(propagation, "propagate_labels", take)
    monkeypatch.setattr(atlas, "build_atlas", take)
    return call


def call(*arguments: object) -> None:
    with pytest.raises(Stop):
        run([str(argument) for argument in arguments])


def test_every_option_of_register_arrives(tmp_path: Path, asked: dict[str, Any]) -> None:
    files = write_pair(tmp_path)
    spec = tmp_path / "dataset.json"
    spec.write_text("{}", encoding="utf-8")
    given = {name: files[name] for name in ("fixed_labels", "moving_labels", "fixed_landmarks", "moving_landmarks")}
    given |= {"mask": files["fixed_labels"], "moving_mask": files["moving_labels"], "spec": spec}
    arguments = [text for name, path in given.items() for text in (f"--{name.replace('_', '-')}", path)]
    call(
        "register", files["fixed"], files["moving"], "--out", tmp_path / "out", "--method", "drmime",
        "--stages", "rigid,deformable", "--similarity", "mind", "--deformable-similarity", "ncc",
        "--parameterisation", "velocity", "--regularizer", "diffusion=0.2", "--regularizer", "folding=3",
        "--levels", "2", "--iterations", "7", "--learning-rate", "0.3", "--simultaneous", *arguments,
        "--landmark-unit", "voxel", "--label-interpolation", "linear", "--seed", "5", "--device", "cpu",
    )  # fmt: skip
    options = RegistrationOptions(
        stages=("rigid", "deformable"), similarity="mind", deformable_similarity="ncc", parameterisation="velocity",
        regularizers={"diffusion": 0.2, "folding": 3.0}, levels=2, iterations=7, learning_rate=0.3, simultaneous=True,
    )  # fmt: skip
    inputs = PairFiles(files["fixed"], files["moving"], landmark_unit="voxel", **given)  # type: ignore[arg-type]
    assert asked["values"] == (inputs, tmp_path / "out", RegistrationRequest("drmime", options, 5, "cpu"))
    assert asked["model"] is None
    assert asked["label_interpolation"] == "linear"
    assert asked["command"][:2] == ["autoseg", "register"]


def test_what_is_left_out_is_left_to_the_method(tmp_path: Path, asked: dict[str, Any]) -> None:
    files = write_pair(tmp_path)
    call("register", files["fixed"], files["moving"], "--out", tmp_path / "out")
    _, _, request = asked["values"]
    assert request == RegistrationRequest(options=RegistrationOptions())
    assert request.options.model_fields_set == {"parameterisation", "simultaneous"}


def test_a_network_is_asked_for_linear_stages_only_where_they_are_named(tmp_path: Path, asked: dict[str, Any]) -> None:
    files = write_pair(tmp_path)
    (tmp_path / "run").mkdir()
    sides = files["fixed"], files["moving"], "--out", tmp_path / "out"
    model = "--model", tmp_path / "run", "--fold", "2", "--regularization", "0.5", "--instance-optimisation", "0"
    call("register", *sides, *model)
    assert asked["values"][2].options is None
    assert asked["model"] == LearnedModel(tmp_path / "run", "2", 0.5, 0)
    call("register", *sides, *model, "--stages", "center,affine")
    assert asked["values"][2].options.stages == ("center", "affine")


def test_options_that_make_no_sense_are_refused_before_a_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_pair(tmp_path)
    sides = [str(files["fixed"]), str(files["moving"]), "--out", str(tmp_path / "out")]
    for option, value in (("--fold", "0"), ("--regularization", "1"), ("--instance-optimisation", "3")):
        assert run(["register", *sides, option, value]) == 2
        assert "need --model RUN" in capsys.readouterr().err
    assert run(["register", *sides, "--regularizer", "diffusion"]) == 2
    assert "is not NAME=WEIGHT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["propagate-labels", "build-atlas"])
def test_every_option_about_subjects_arrives(command: str, tmp_path: Path, asked: dict[str, Any]) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text("", encoding="utf-8")
    folders = [tmp_path / name for name in (("data", "new") if command == "propagate-labels" else ("data",))]
    for folder in folders:
        folder.mkdir()
    call(
        "--plugin", plugin, command, *folders, "--out", tmp_path / "out", "--method", "own", "--stages", "rigid",
        "--similarity", "ssd", "--seed", "4", "--device", "cpu", "--workers", "3", "--resume",
        "--atlases" if command == "propagate-labels" else "--iterations", "6",
    )  # fmt: skip
    options = RegistrationOptions(stages=("rigid",), similarity="ssd")
    request = SubjectsRequest(RegistrationRequest("own", options, 4, "cpu"), 3, True, (plugin,))
    first = (
        (folders[0], folders[1:], tmp_path / "out") if command == "propagate-labels" else (folders[0], tmp_path / "out")
    )
    assert asked["values"] == (*first, request)
    assert asked["atlases" if command == "propagate-labels" else "iterations"] == 6
