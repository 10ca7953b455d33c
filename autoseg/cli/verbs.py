"""The verbs of the command line: plug-ins of kind "command", each imported when it is used or explained.

A command is a function with a docstring, whose first line the list of verbs shows, and with options and arguments as
its parameters, written as Typer reads them; a parameter that is a dataclass is a group of options
(`autoseg.cli.option_records`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from autoseg import plugins
from autoseg.cli.descriptions import describe
from autoseg.cli.option_records import with_option_records
from autoseg.errors import PluginError

HELP = ("-h", "--help")

# Plain help text: rich's panels would triple the time that `--help` takes.
STYLE: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": list(HELP)},
}


class Verbs(Mapping[str, Any]):
    """Verb -> its command as Typer made it, now: those of this project first, then those of others by name."""

    def __iter__(self) -> Iterator[str]:
        return iter(plugins.addresses("command"))

    def __len__(self) -> int:
        return len(plugins.addresses("command"))

    def __contains__(self, verb: object) -> bool:
        return verb in plugins.BUILT_IN["command"] or verb in plugins.addresses("command")

    def __getitem__(self, verb: str) -> Any:
        if verb not in self:
            raise KeyError(verb)
        command, alone = plugins.resolve("command", verb), typer.Typer(**STYLE)
        try:
            alone.command(verb)(with_option_records(command))
            return get_command(alone)
        except Exception as error:
            raise PluginError(
                f"the command {verb!r} cannot be read: {type(error).__name__}: {error}",
                expected="a function with parameters annotated as Typer needs it, with names that exist at run time",
            ) from error


VERBS = Verbs()


def built_in(verb: str) -> bool:
    """Whether a verb is one of this project, told without looking for those of others."""
    return verb in plugins.BUILT_IN["command"]


def is_resumable(verb: str) -> bool:
    """Whether a verb goes on with `--resume` where it was stopped: whether it has that option."""
    return any("--resume" in parameter.opts for parameter in VERBS[verb].params)


class VerbGroup(TyperGroup):
    """Typer's group of all verbs, which lists them without importing one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": VERBS})

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all verbs in the order of the list."""
        return list(VERBS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list of verbs with the first line of each."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, f"{line}." if line else "") for verb, line in describe("command").items()])
