"""Methods compared in one command; one that crashes is shown, ranked accordingly, and harms no other."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoseg import plugins
from autoseg.cli.main import run
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.data.splits import k_fold
from autoseg.evaluation.evaluate import evaluate
from autoseg.workspace import Run

FRAGILE = """
import os
from autoseg.studies.comparison.baselines.protocol import Segmentation
from autoseg.data.files import read_labels
from autoseg.plugins import register


@register("baseline", "fragile")
def fragile(context):
    '''Knows the answer, but breaks on the first case and dies on the second.'''
    return Fragile(context)


class Fragile:
    note = "made for this test"

    def __init__(self, context):
        self.labels = context.labels
        self.first, self.second = (context.folder.parents[2] / "broken.txt").read_text().split()

    def predict(self, case):
        if case.id == self.first:
            raise ValueError("cannot do this")
        if case.id == self.second:
            os._exit(7)
        return Segmentation(self.labels.encode(read_labels(case.label).array[0]))
"""


DOCUMENT = Path(__file__).parents[2] / "docs" / "comparing.md"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No plug-ins of other tests, and no handlers, which keep the standard error and the log of their test."""
    monkeypatch.setattr(plugins, "_registered", {})
    yield
    for handler in list(logging.getLogger("autoseg").handlers):
        logging.getLogger("autoseg").removeHandler(handler)
        handler.close()


@pytest.mark.slow
def test_methods_are_compared_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out, plugin = tmp_path / "data", tmp_path / "compared", tmp_path / "fragile.py"
    write_phantom(data, PhantomOptions(cases=12, shape=(10, 20, 20)))
    plugin.write_text(FRAGILE, encoding="utf-8")
    bright = tmp_path / "bright.py"  # the example that the document shows
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    bright.write_text(next(block for block in blocks if block.startswith("# bright.py")), encoding="utf-8")
    identifiers = [file.name.removesuffix(".nii.gz") for file in (data / "labelsTr").glob("*.nii.gz")]
    validated = k_fold(identifiers)[0].validation
    assert len(validated) == 3
    out.mkdir()
    (out / "broken.txt").write_text(" ".join(validated[:2]), encoding="utf-8")
    command = ["--plugin", str(plugin), "--plugin", str(bright), "compare", str(data), "--out", str(out)]
    command += ["--methods", "empty,otsu,bright,fragile", "--predictions", f"given={data / 'labelsTr'}"]
    command += ["--workers", "1"]
    assert run([*command, "--training-cases", "otsu=4"]) == 0

    content = read(out / "comparison.json")
    compared = content["comparison"]
    assert compared["methods"] == ["empty", "otsu", "bright", "fragile", "given"]
    assert set(compared["failures"]["fragile"]) == set(validated[:2])
    assert compared["failures"]["fragile"][validated[0]] == "ValueError: cannot do this"
    assert "exit code 7" in compared["failures"]["fragile"][validated[1]]
    place = ranking(content, content["main"])["place"]
    assert place["given"] == 1
    assert place["given"] < place["fragile"] < place["empty"]
    means = {one["method"]: one for one in compared["statistics"] if (one["metric"], one["label"]) == ("dice", "organ")}
    assert means["given"]["mean"] == 1.0
    assert means["fragile"]["mean"] == pytest.approx(1 / 3)  # right once, the worst value twice
    assert means["empty"]["mean"] == 0.0
    assert means["bright"]["mean"] > 0.0

    again = evaluate(out / "otsu", data / "labelsTr", spec=data / "dataset.json", workers=1).mean["organ"]["dice"]
    assert means["otsu"]["mean"] == pytest.approx(again)
    otsu, fragile = (read(out / name / "fold_0.json") for name in ("otsu", "fragile"))
    assert (len(otsu["training"]), otsu["of_training"]) == (4, 9)
    assert all(one["seconds"] > 0 for one in otsu["cases"].values())
    assert fragile["note"] == "made for this test"
    page = (out / "report.html").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "ValueError: cannot do this" in page
    assert "ValueError: cannot do this" in printed
    assert "given minus each other method" in printed

    check_resuming(command, out, capsys)


def check_resuming(command: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def again(*more: str) -> int:
        plugins._registered.clear()  # as in a new process, which loads the file once
        return run([*command, *more])

    assert again() == 2
    assert "the folder is in use" in capsys.readouterr().err
    assert again("--resume") == 2
    assert "the result of otsu was made with other choices" in capsys.readouterr().err
    before = (out / "fragile" / "fold_0.json").stat().st_mtime_ns
    numbers = read(out / "comparison.json")
    (out / "comparison.json").unlink()
    assert again("--training-cases", "otsu=4", "--resume") == 0
    assert (out / "fragile" / "fold_0.json").stat().st_mtime_ns == before
    assert {**read(out / "comparison.json"), "command": None} == {**numbers, "command": None}


@pytest.mark.slow
def test_the_trained_model_takes_part_as_its_run_validated_it(phantom: Path, trained: Run, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    command = ["compare", str(phantom), "--out", str(out), "--methods", "most-frequent", "--run", str(trained.root)]
    assert run([*command, "--device", "cpu", "--workers", "1"]) == 0
    content = read(out / "comparison.json")
    assert content["comparison"]["reference"] == "autoseg"
    own = next(one for one in content["methods"] if one["name"] == "autoseg")
    assert own["note"].startswith("3d_fullres")
    assert own["seconds"] > 0
    stated = read(trained.fold("3d_fullres", 0).validation_summary)
    ours = read(out / "autoseg" / "summary.json")
    for label, row in stated["mean"].items():
        assert ours["mean"][label]["dice"] == pytest.approx(row["dice"])


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def ranking(content: dict[str, Any], label: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = content["comparison"]["rankings"]
    return next(row for row in rows if (row["metric"], row["label"]) == ("dice", label))
