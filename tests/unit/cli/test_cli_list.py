"""`autoseg list`: every plug-in has its line, told without importing what it needs."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from autoseg import plugins
from autoseg.cli.descriptions import describe
from autoseg.cli.main import run
from autoseg.metrics.table import METRICS

TABLES = {"metric": "metrics"}
"""Kinds of whose plug-ins a table says more."""


@pytest.mark.parametrize("kind", [kind for kind in plugins.BUILT_IN if kind not in TABLES])
def test_each_plug_in_of_this_project_says_what_it_is(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    plural = {"loss": "losses", "similarity": "similarities"}.get(kind, f"{kind}s")
    assert run(["list", plural.replace(" ", "-")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == plugins.names(kind)
    assert not [line for line in lines if len(line.split()) < 3], "a plug-in without a description"
    for word in (kind, plural, kind.replace(" ", "-")):
        assert run(["list", word]) == 0
        assert capsys.readouterr().out.splitlines() == lines


def test_a_kind_without_plug_ins_says_so_beside_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert plugins.names("hook") == []
    assert run(["list", "hook"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()[0][:18]) == ("", "there is no hook y")


def test_a_description_is_the_docstring_of_the_imported_object() -> None:
    for name in plugins.names("normalization"):
        text = inspect.getdoc(plugins.resolve("normalization", name)) or ""
        assert describe("normalization")[name] == text.partition("\n")[0].rstrip(".")


def test_a_plug_in_of_a_file_is_described_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "mine.py"
    file.write_text(
        "from autoseg.plugins import register\n\n\n@register('baseline', 'mine')\ndef mine(context):\n"
        "    '''Always right.\n\n    Or so it says.'''\n",
        encoding="utf-8",
    )
    assert run(["--plugin", str(file), "list", "baselines"]) == 0
    assert ["mine", "Always", "right"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_help_names_every_kind_and_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--help"]) == 0
    named = (
        " ".join(capsys.readouterr().out.split())
        .partition("KIND <str> ")[2]
        .partition(". [required]")[0]
        .replace("- ", "-")
    )
    words = {part.partition(" (")[0] for part in named.split(", ")}
    assert {"losses", "similarities", "report-sections", "label-transfers", "commands", "listings"} <= words
    assert {"metrics", "settings", "specs"} <= words
    assert len(words) == len({*plugins.BUILT_IN} - {*TABLES}) + len(plugins.names("listing"))
    assert "specs (published challenges)" in named


@pytest.mark.parametrize("word", ["specs", "spec", "settings", "setting", "metric"])
def test_tables_may_be_named_in_the_singular(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", word]) == 0
    assert capsys.readouterr().out.strip()


def test_a_table_of_a_file_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "mine.py"
    file.write_text(
        "from autoseg.cli.listings import Listing\nfrom autoseg.plugins import register\n\n\n"
        "@register('listing', 'machines')\ndef machines():\n    '''Where we compute.'''\n"
        "    return Listing('our machines', ('name', 'memory'), (('anna', '80 GB'),))\n",
        encoding="utf-8",
    )
    assert run(["--plugin", str(file), "list", "machines"]) == 0
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "our machines" in printed
    assert "anna 80 GB" in printed


def test_metrics_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "metrics"]) == 0
    printed = capsys.readouterr().out
    assert all(f" {name} " in printed for name in METRICS)
