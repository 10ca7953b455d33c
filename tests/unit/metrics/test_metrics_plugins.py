"""A metric that a file registers is computed, listed and reported like those built in, after them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from autoseg import plugins
from autoseg.cli.main import run
from autoseg.data.files import write_labels
from autoseg.data.image import Geometry
from autoseg.errors import ConfigurationError, PluginError
from autoseg.evaluation.evaluate import evaluate
from autoseg.metrics.table import METRICS, select
from autoseg.report.metrics import shown

PLUG_IN = """
from autoseg.metrics.table import Metric
from autoseg.plugins import register

def error(pair):
    n = pair.counts.n_ref
    return abs(pair.counts.n_pred - n) / n if n else None

METRIC = Metric("volume_error", "Volume error", "", "lower", (0.0, float("inf")), "|P - R| / R", "mine", error)
register("metric", "volume_error")(METRIC)
"""


@pytest.fixture(autouse=True)
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "volume_error.py"
    file.write_text(PLUG_IN, encoding="utf-8")
    return file


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for case in range(3):
        labels = np.zeros((4, 9, 9), np.uint8)
        labels[1:3, 2:6, 2:6] = 1
        write_labels(tmp_path / "references" / f"{case}.nii.gz", labels, Geometry())
        labels[1:3, 2:6, 6] = 1
        write_labels(tmp_path / "predictions" / f"{case}.nii.gz", labels, Geometry())
    return tmp_path / "predictions", tmp_path / "references"


def test_the_built_in_ones_come_first_in_their_order(plug_in: Path) -> None:
    before = list(METRICS)
    assert before == list(plugins.BUILT_IN["metric"])
    plugins.load_file(plug_in)
    assert list(METRICS) == [*before, "volume_error"]
    assert [one.name for one in select()] == list(METRICS)
    assert [one.name for one in shown(["n_pred", "volume_error", "iou", "hd95"])] == ["hd95", "iou", "volume_error"]


def test_it_is_scored_and_listed(
    plug_in: Path, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    assert run(["--plugin", str(plug_in), "evaluate", *map(str, folders), "--out", str(out), "--workers", "1"]) == 0
    row = json.loads(out.read_text(encoding="utf-8"))["cases"]["0"]["1"]
    assert row["volume_error"] == pytest.approx(0.25)
    plugins._registered.clear()
    capsys.readouterr()
    assert run(["--plugin", str(plug_in), "list", "metrics"]) == 0
    assert "volume_error" in capsys.readouterr().out


def test_other_processes_know_it(plug_in: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoseg.evaluation.evaluate.PATIENCE", 0.0)
    assert "torch" in sys.modules, "else processes are forked, and know it anyway"
    plugins.load_file(plug_in)
    scores = evaluate(*folders, workers=2)
    assert not scores.errors
    assert scores.mean["1"]["volume_error"] == pytest.approx(0.25)


def test_wrong_ones_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'dice'"):
        select(["dise"])
    plugins.register("metric", "mine")(METRICS["dice"])
    with pytest.raises(PluginError, match="one of name 'dice'"):
        select(["mine"])
