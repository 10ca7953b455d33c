"""A network that a file registers and that tells nothing of itself: the whole way, with the file and without it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from SimpleITK import GetArrayFromImage, ReadImage

from autoseg import plugins
from autoseg.cli.main import run as autoseg
from autoseg.plan.record import Plan
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run

NAME = "3d_fullres"
STEPS = 4

PLUG_IN = """
from torch import nn
from autoseg.plugins import register, resolve

@register("network", "two-layers")
def two_layers(configuration, channels, outputs):
    return nn.Sequential(nn.Conv3d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, outputs, 3, padding=1))

@register("planner", "two-layers")
def plan(fingerprint, labels, context):
    decided = resolve("planner", "default")(fingerprint, labels, context)
    changed = {"3d_fullres": decided.configurations["3d_fullres"].with_(network="two-layers", batch_size=2)}
    return decided.with_(planner="two-layers", configurations=changed)
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that load the file; without them it is not there."""
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "two_layers.py"
    file.write_text(PLUG_IN, encoding="utf-8")
    return ["--plugin", str(file)]


def _run(plug_in: list[str], *arguments: object) -> int:
    plugins._registered.clear()  # each command is a process of its own
    return autoseg([*plug_in, *map(str, arguments)])


def _train(plug_in: list[str], run: Run, *more: str) -> int:
    length = ("--steps", STEPS, "--device", "cpu", "--workers", 0)
    return _run(plug_in, "train", run.root, "--configuration", NAME, "--fold", 0, *length, *more)


@pytest.mark.slow
def test_a_network_that_tells_nothing_goes_the_whole_way(
    prepared: Run, phantom: Path, plug_in: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    fresh_logging: None,
) -> None:  # fmt: skip
    run, other = Run(tmp_path / "run"), Run(tmp_path / "other")
    shutil.copytree(prepared.root, run.root)

    assert _run(plug_in, "plan", run.root, "--planner", "two-layers", "--device", "cpu") == 0
    captured = capsys.readouterr()
    for heading in ("receptive field", "parameters", "multiply-adds per step", "memory, mixed precision", "stages"):
        assert re.search(rf"^ *{heading} +not known *$", captured.out, flags=re.MULTILINE), captured.out
    (note,) = [text for text in Plan.load(run.plan).warnings if "two-layers" in text]
    assert note in captured.err

    assert _run(plug_in, "preprocess", run.root, "--configurations", NAME, "--workers", 0) == 0
    shutil.copytree(run.root, other.root)
    assert _train(plug_in, run) == 0
    _train(plug_in, other, "--set", "training.stop_after=2")
    assert not other.fold(NAME, 0).final.exists()

    for attempt in (
        lambda: _train([], other, "--resume"),
        lambda: _predict([], run, phantom, tmp_path / "none"),
    ):
        capsys.readouterr()
        assert attempt() == 2
        error = capsys.readouterr().err
        assert "unknown network 'two-layers'" in error
        assert "--plugin FILE" in error

    assert _train(plug_in, other, "--resume") == 0
    whole, resumed = (load_checkpoint(one.fold(NAME, 0).final)["network"] for one in (run, other))
    assert whole.keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)

    assert _predict(plug_in, run, phantom, tmp_path / "predicted") == 0
    (predicted,) = (tmp_path / "predicted").glob("*.nii.gz")
    image = next((phantom / "imagesTr").glob(f"{predicted.name.removesuffix('.nii.gz')}*"))
    assert GetArrayFromImage(ReadImage(predicted)).shape == GetArrayFromImage(ReadImage(image)).shape

    pages = []
    for options in (plug_in, []):
        assert _run(options, "report", run.root) == 0
        pages.append(run.report.read_text(encoding="utf-8"))
    for page in pages:
        (section,) = re.findall(r'<section id="plan">.*?</section>', page, flags=re.DOTALL)
        assert section.count(">not known<") == 11
        assert "<svg" not in section
        assert "receptive field of" not in page


def _predict(plug_in: list[str], run: Run, phantom: Path, out: Path) -> int:
    image = min((phantom / "imagesTr").iterdir())
    return _run(plug_in, "predict", run.root, image, "--out", out, "--device", "cpu")
