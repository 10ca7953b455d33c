"""How long a command line takes to answer a question about itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.peer.context import Context
from benchmarks.peer.programs import alternate, run, with_programs
from benchmarks.peer.records import Floor, Row, Section, Unit

TITLE = "Start-up"

COMMANDS = (
    (("train", "--help"), ("nnUNetv2_train", "-h"), 20.0),
    (("predict", "--help"), ("nnUNetv2_predict", "-h"), None),
    (("--help",), ("nnUNetv2_plan_and_preprocess", "-h"), None),
)
"""Our words, nnU-Net's command, and the ratio that is asked for."""

_IMPORTS = """
import json, time
start = time.perf_counter()
import typer
library = time.perf_counter()
import autoseg.cli.main
print(json.dumps([library - start, time.perf_counter() - library]))
"""


def measure(context: Context) -> Section:
    """Each command's help, after one run of both that is not counted: the files are in the system's cache then."""
    python = [run([context.python, "-c", "pass"]).seconds for _ in range(context.repeats + 1)][1:]
    floor = Floor(seconds=median(python), how="start and end of the Python interpreter alone")
    rows = []
    for words, (name, *options), required in COMMANDS:
        ours = (*context.autoseg, *words)
        peer: list[str | Path] = [context.peer_command(name), *options]
        environment = context.peer_environment(context.folder("start_up"))
        sides = alternate(partial(run, ours), partial(run, peer, env=environment), context.repeats + 1)
        first, *runs = zip(*sides, strict=True)
        assert all(part.output for part in first), "no help was shown"
        row = Row(
            setting=f"`autoseg {' '.join(words)}` and `{' '.join((name, *options))}`",
            unit=Unit.SECONDS,
            ours=(),
            peer=(),
            required=required,
            floor=floor,
        )
        rows.append(with_programs(row, [mine for mine, _ in runs], [other for _, other in runs]))
    library, own = run([context.python, "-c", _IMPORTS]).answer()
    total = median(rows[0].ours)
    profile = (
        f"`autoseg train --help`: the interpreter {floor.seconds / total:.0%}, importing typer {library / total:.0%}, "
        f"importing our command line {own / total:.0%}; the rest is parsing and printing",
    )
    work = "A program is started, shows its help and ends. nnU-Net has no command for the list of all its commands; "
    return Section(
        work=work + "the last row sets its first step, planning and preprocessing, beside ours.",
        rows=tuple(rows),
        profile=profile,
    )
