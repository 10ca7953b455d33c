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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from autoseg import log
from autoseg.cli.check import check
from autoseg.cli.choose import choose
from autoseg.cli.demo import demo
from autoseg.cli.evaluate import evaluate
from autoseg.cli.export import export
from autoseg.cli.fingerprint import fingerprint
from autoseg.cli.list import list_names
from autoseg.cli.plan import plan
from autoseg.cli.plan_and_train import plan_and_train
from autoseg.cli.predict import predict
from autoseg.cli.preprocess import preprocess
from autoseg.cli.report import report
from autoseg.cli.train import train
from autoseg.errors import AutosegError
from autoseg.exchange.nnunet.commands.import_nnunet import import_nnunet
from autoseg.studies.benchmark.commands.reproduce import reproduce
from autoseg.studies.comparison.commands.compare import compare
from autoseg.studies.raters.commands.raters import raters
from autoseg.tasks.pretraining.commands.pretrain import pretrain
from autoseg.tasks.pretraining.commands.probe import probe
from autoseg.tasks.registration.commands.build_atlas import build_atlas
from autoseg.tasks.registration.commands.propagate_labels import propagate_labels
from autoseg.tasks.registration.commands.register import register
from autoseg.version import VERSION

VERBS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "check": check,
    "plan-and-train": plan_and_train,
    "fingerprint": fingerprint,
    "plan": plan,
    "preprocess": preprocess,
    "train": train,
    "choose": choose,
    "predict": predict,
    "evaluate": evaluate,
    "raters": raters,
    "compare": compare,
    "reproduce": reproduce,
    "pretrain": pretrain,
    "probe": probe,
    "register": register,
    "propagate-labels": propagate_labels,
    "build-atlas": build_atlas,
    "report": report,
    "export": export,
    "import-nnunet": import_nnunet,
    "list": list_names,
}

_RESUMABLE = ("plan-and-train", "train", "compare", "reproduce", "pretrain", "propagate-labels", "build-atlas")
"""Verbs that go on with `--resume` where they were stopped."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""

_NEW_OBJECTS = 20_000
"""Containers after which Python looks for unreachable ones."""

# Plain help text: rich's panels would triple the time that `--help` takes.
_HELP = ("-h", "--help")
_STYLE: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": list(_HELP)},
}
app = typer.Typer(name="autoseg", no_args_is_help=True, **_STYLE)
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoseg {VERSION}")
        raise typer.Exit


@app.callback()
def _global_options(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Python file that registers plug-ins; may be given several times."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show messages meant for debugging.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A folder of medical images in, a trained and validated segmentation model out."""
    log.configure(verbose=verbose)
    if plugin:
        from autoseg import plugins

        for file in plugin:
            plugins.load_file(file)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; a bug propagates as the exception it is."""
    try:
        if verb := _verb_to_explain(arguments):
            alone = typer.Typer(**_STYLE)
            alone.command(verb)(VERBS[verb])
            get_command(alone).main(args=["--help"], prog_name=f"autoseg {verb}")
        get_command(app).main(args=list(arguments), prog_name="autoseg", obj=tuple(arguments))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except AutosegError as error:
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
    PyTorch makes half a million that stay: looking at them seldom, and not in the end, saves half a second a command.
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

    It is explained without the other verbs and the global options, whose parsing would import pydantic first: half of
    the time that the answer takes.
    """
    asked = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return asked[0] if asked and asked[0] in VERBS and any(word in _HELP for word in asked[1:]) else None


def _command_to_resume(arguments: Sequence[str]) -> str:
    verb = next((argument for argument in arguments if argument in VERBS), None)
    again = ["autoseg", *arguments]
    if verb in _RESUMABLE and "--resume" not in arguments:
        again.append("--resume")
    return shlex.join(again)
