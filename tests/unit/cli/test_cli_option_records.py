"""Options written once: a command that takes records has the options of all their fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from autoseg.cli.option_records import with_option_records


@dataclass(frozen=True)
class Place:
    workers: Annotated[int | None, typer.Option(metavar="N", min=0, help="Processes.")] = None
    device: Annotated[str, typer.Option(help="Where to compute.")] = "auto"


@dataclass(frozen=True)
class Output:
    out: Annotated[Path, typer.Option("--out", metavar="DIR")]


SEEN: list[object] = []


def measure(
    context: typer.Context, dataset: Annotated[Path, typer.Argument(metavar="DATASET")], output: Output, place: Place
) -> None:
    """Measure a data set."""
    SEEN[:] = [context.info_name, dataset, output, place]


def invoke(*arguments: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command("measure")(with_option_records(measure))
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_fields_become_options_and_come_back_as_records() -> None:
    code, _ = invoke("data", "--out", "there", "--workers", "3")
    assert code == 0
    assert ["measure", Path("data"), Output(Path("there")), Place(workers=3, device="auto")] == SEEN


def test_options_keep_their_checks_and_their_help() -> None:
    assert invoke("data", "--out", "there", "--workers", "-1")[0] == 2
    assert invoke("data")[0] == 2  # --out has no default
    code, text = invoke("--help")
    assert code == 0
    assert text.index("--out DIR") < text.index("--workers N") < text.index("--device")
    assert "Measure a data set." in text


def test_two_options_of_one_name_are_refused() -> None:
    def twice(device: str, place: Place) -> None: ...

    twice.__annotations__ = {"device": str, "place": Place, "return": None}
    with pytest.raises(TypeError, match="several options named device"):
        with_option_records(twice)
