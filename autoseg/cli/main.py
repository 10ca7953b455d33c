"""The command `autoseg`: its verbs, its global options and its exit codes.

Exit codes:
    0    done (`check`: no errors, perhaps warnings)
    1    a bug in autoseg; the traceback is shown
    2    something the user can mend: a wrong option, a data set with errors, a missing stage, cases that
         could not be predicted or evaluated; each is said on standard error
    130  stopped by Ctrl-C
"""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from autoseg import log, plugins
from autoseg.cli.verbs import HELP, STYLE, VERBS, VerbGroup, built_in, is_resumable
from autoseg.errors import AutosegError
from autoseg.version import VERSION

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""

_NEW_OBJECTS = 20_000
"""Containers after which Python looks for unreachable ones."""

app = typer.Typer(name="autoseg", cls=VerbGroup, no_args_is_help=True, **STYLE)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoseg {VERSION}")
        raise typer.Exit


def _load_plugins(files: list[Path] | None) -> list[Path] | None:
    """Runs the user's files before a verb is looked up or the list of verbs is shown: they may add some."""
    for file in files or ():
        plugins.load_file(file)
    return files


@app.callback()
def _global_options(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=_load_plugins,
            is_eager=True,
            help="Python file that registers plug-ins; may be given several times.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show messages meant for debugging.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A folder of medical images in, a trained and validated segmentation model out."""
    log.configure(verbose=verbose)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; a bug propagates as the exception it is."""
    try:
        if verb := _verb_to_explain(arguments):
            VERBS[verb].main(args=["--help"], prog_name=f"autoseg {verb}")
        get_command(app).main(args=list(arguments), prog_name="autoseg", obj=tuple(arguments))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except AutosegError as error:
        log.configure()  # a plug-in's file may fail before the global options are read
        log.logger.error("error: %s", error)
        code = 2
    except Exception:
        log.logger.debug("a bug in autoseg", exc_info=True)  # for the run's log; Python shows it on the terminal
        raise
    else:
        code = 0
    if code == INTERRUPTED:
        log.logger.warning("\nstopped; to go on: %s", _command_to_resume(arguments))
    return code


def main() -> None:
    """Entry point of the command `autoseg`.

    Python looks for unreachable objects after every few hundred new ones, and in all of them before it ends. Importing
    PyTorch makes half a million that stay: looking at them seldom, and not in the end, saves half a second per command.
    """
    gc.set_threshold(_NEW_OBJECTS)
    # blosc2 starts threads for every array that it compresses, though told to use one: three quarters of the time of a
    # small array.
    os.environ.setdefault("BLOSC_NTHREADS", "1")
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def _verb_to_explain(arguments: Sequence[str]) -> str | None:
    """The verb of `autoseg VERB ... --help`.

    It is explained without the global options, whose parsing would import pydantic first: half of the time that the
    answer takes.
    """
    asked = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return asked[0] if asked and built_in(asked[0]) and any(word in HELP for word in asked[1:]) else None


def _command_to_resume(arguments: Sequence[str]) -> str:
    verb = next((argument for argument in arguments if argument in VERBS), None)
    again = ["autoseg", *arguments]
    if verb is not None and "--resume" not in arguments and is_resumable(verb):
        again.append("--resume")
    return shlex.join(again)
