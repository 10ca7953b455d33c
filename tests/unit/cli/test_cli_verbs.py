"""Verbs of third parties: from a file of `--plugin` or from an installed package, looked up like the project's own."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from autoseg import plugins
from autoseg.cli.main import run

pytestmark = pytest.mark.usefixtures("fresh_logging")

GREET = """
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
{imports}

@dataclass(frozen=True)
class Tone:
    loud: Annotated[bool, typer.Option("--loud", help="In capitals.")] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on.")] = False

{decorator}
def greet(name: Annotated[str, typer.Argument(metavar="NAME")], tone: Tone) -> None:
    '''Greet somebody.

    In English.
    '''
    if name == "nobody":
        raise KeyboardInterrupt
    typer.echo(name.upper() if tone.loud else name)
"""


@pytest.fixture
def greet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file that registers the verb `greet`."""
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "greeting.py"
    imports, decorator = "from autoseg.plugins import register", "@register('command', 'greet')"
    file.write_text(GREET.format(imports=imports, decorator=decorator), encoding="utf-8")
    return str(file)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with the verb `greet`, and one with a verb that cannot be imported."""
    (tmp_path / "greeting_package.py").write_text(GREET.format(imports="", decorator=""), encoding="utf-8")
    (tmp_path / "broken_package.py").write_text("import no_such_module\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    group = "autoseg.command"
    points = EntryPoints(
        [EntryPoint("greet", "greeting_package:greet", group), EntryPoint("broken", "broken_package:broken", group)]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **wanted: points.select(**wanted))
    yield
    sys.modules.pop("greeting_package", None)


def listed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of the list of verbs, each with single blanks."""
    text = capsys.readouterr().out.partition("Commands:")[2]
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_a_verb_of_a_file_is_listed_explained_and_run(greet_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--plugin", greet_file, "--help"]) == 0
    assert listed(capsys)[-1] == "greet Greet somebody."
    plugins._registered.clear()
    assert run(["--plugin", greet_file, "greet", "--help"]) == 0
    explained = capsys.readouterr().out
    assert "Usage: autoseg greet [OPTIONS]" in explained
    assert "In capitals." in explained
    plugins._registered.clear()
    assert run(["--plugin", greet_file, "greet", "you", "--loud"]) == 0
    assert capsys.readouterr().out == "YOU\n"


def test_without_the_file_its_verb_is_unknown(greet_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["greet", "you"]) == 2
    assert "No such command 'greet'" in capsys.readouterr().err


def test_a_mistyped_verb_of_a_file_is_answered_with_it(greet_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--plugin", greet_file, "gret", "you"]) == 2
    assert "'greet'" in capsys.readouterr().err.splitlines()[-1]


def test_a_verb_of_others_says_how_to_go_on(greet_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--plugin", greet_file, "greet", "nobody"]) == 130
    assert capsys.readouterr().err.rstrip().endswith(f"autoseg --plugin {greet_file} greet nobody --resume")


def test_the_name_of_a_verb_of_this_project_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from autoseg.plugins import register\n\n@register('command', 'train')\ndef train(): ...\n", encoding="utf-8"
    )
    assert run(["--plugin", str(file), "train", "--help"]) == 2
    assert "a command named 'train' exists already" in capsys.readouterr().err


def test_a_file_that_fails_is_said_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import no_such_module\n", encoding="utf-8")
    assert run(["--plugin", str(file), "--help"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "the plug-in file fails: ModuleNotFoundError" in shown.err


@pytest.mark.usefixtures("installed")
def test_a_verb_of_a_package_is_listed_unimported(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert listed(capsys)[-2:] == ["broken", "greet Greet somebody."]
    assert "greeting_package" not in sys.modules


@pytest.mark.usefixtures("installed")
def test_a_verb_of_a_package_is_explained_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["greet", "--help"]) == 0
    assert "Usage: autoseg greet [OPTIONS]" in capsys.readouterr().out
    assert run(["greet", "you"]) == 0
    assert capsys.readouterr().out == "you\n"


@pytest.mark.usefixtures("installed")
def test_a_verb_that_cannot_be_imported_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["broken"]) == 2
    error = capsys.readouterr().err
    assert "the command 'broken' cannot be imported" in error
    assert "no_such_module" in error


@pytest.mark.parametrize("signature", ["name: NoSuchType", "name: str | int | float"])
def test_a_command_that_typer_cannot_read_is_said_on_standard_error(
    signature: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\nfrom autoseg.plugins import register\n\n"
        f"@register('command', 'odd')\ndef odd({signature}) -> None: ...\n",
        encoding="utf-8",
    )
    assert run(["--plugin", str(file), "odd", "x"]) == 2
    assert "the command 'odd' cannot be read" in capsys.readouterr().err


def test_kinds_of_two_words_have_a_group_with_an_underscore(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("mine", "a:b", "autoseg.report_section")])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **wanted: points.select(**wanted))
    assert "mine" in plugins.names("report section")
    assert "mine" not in plugins.names("command")
