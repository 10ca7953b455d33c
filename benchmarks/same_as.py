"""Does this version compute what an older one did: weights, labels and scores of both, compared bit for bit.

    python benchmarks/same_as.py OLD_CHECKOUT [--only PART,...] [--out DIR | --keep DIR]

Small data sets are drawn, and both versions, OLD_CHECKOUT and the one that this file stands in, do the same with them
by their command lines and the same seeds, side by side:

    segmentation  2d and 3d_fullres, two folds, 60 steps; ensemble, post-processing and summary
    pictures      2d on PNG files, 60 steps; predict
    cascade       3d_lowres on both folds, then 3d_cascade_fullres on one, 60 steps each; predict
    ranks         3d_fullres on two processes (torchrun, gloo), 60 steps, batches of 2 + 1
    registration  the registration trainer, 20 steps; register --model
    rotation      pretraining by this method, 20 steps
    byol          likewise
    fine-tuning   plan-and-train --pretrained and probe, from byol, 20 steps each
    register      multi-stage, with B-splines, drmime, and pictures
    predict       the best ensemble, one network without mirroring, and a model from export --format zip
    evaluate      scores of predicted labels
    compare       random-forest (a voxel classifier), single-atlas (registration) and plain-unet (a network; from a
                  plug-in that ends it by steps) beside the run of `segmentation`
    stopped       a training that is stopped at step 30 of 60
    reading       what the old version left behind, used by each: run folders and a model zip by predict, evaluate,
                  report, plan-and-train --resume (finished), train --resume (stopped), choose, register --model
                  and --pretrained

Everything that a part writes is compared: each tensor of the checkpoints (weights, averages, optimiser), arrays and
whole headers of images, transforms, stored arrays, and each entry of the JSON files. Left out are timings and memory
(seconds, fit_seconds, longest_seconds, step_seconds, remaining, waiting_for_data, peak_gb, fit_peak_gb, machine),
sentences and versions (command, predict, description, details, files, findings, judgement, note, sentence, title,
versions, warnings), the folder of the results where a text names it, and the files run.log, provenance.json,
report.html, progress.png, picture.png, training.json (whether a fold is finished, which 0.1 does not note) and *.zip.

With `--out` all results stay in DIR, and complete ones of the old version are taken from there the next time; with
`--keep` they stay, and everything is done anew. Prints a row per part: what was compared, and equal or the first
difference. Exit code: 0 all equal, 1 a difference or a part that failed, 2 OLD_CHECKOUT cannot be used.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.sameness.parts import Part, chosen_parts
from benchmarks.sameness.rounds import Outcome, Row, compare_versions, write_inputs
from benchmarks.sameness.trees import CommandFailed, Tree

ROOT = Path(__file__).resolve().parent.parent

_HEADINGS = ("part", "old", "new", "result", "compared")
_LAYOUT = "{:<13} {:>8} {:>8}  {:<9}  {}"


def lines_of(row: Row) -> list[str]:
    """The row of the table, and below it the first difference or why a version failed."""
    times = [_time(outcome) for outcome in (row.old, row.new)]
    if row.comparison is None:
        failures = [f"{name}: {one.failure}" for name, one in (("old", row.old), ("new", row.new)) if one.failure]
        return [_LAYOUT.format(row.part.name, *times, "FAILED", "-"), *_indented(failures)]
    found = row.comparison.differences
    result = "equal" if not found else "DIFFERENT"
    more = [f"and {len(found) - 1} more values or files differ"] if len(found) > 1 else []
    return [_LAYOUT.format(row.part.name, *times, result, row.comparison.amount), *_indented([*found[:1], *more])]


def is_equal(row: Row) -> bool:
    """Whether both versions did the part and with the same results."""
    return row.comparison is not None and not row.comparison.differences


def run(old: Path, parts: tuple[Part, ...], folder: Path, *, reuse: bool) -> int:
    """Compares the versions, prints the table and returns the exit code.

    Args:
        old: checkout of the old version.
        parts: what is done with both.
        folder: for inputs and results.
        reuse: whether complete results of the old version are taken as they are.
    """
    started = time.perf_counter()
    folder = folder.resolve()
    before, now = Tree("old", old.resolve(), folder / "old"), Tree("new", ROOT, folder / "new")
    try:
        for tree in (before, now):
            tree.results.mkdir(parents=True, exist_ok=True)
            tree.check()
    except CommandFailed as error:
        print(error, file=sys.stderr)
        return 2
    inputs = write_inputs(folder / "inputs")
    print(_LAYOUT.format(*_HEADINGS), flush=True)
    equal: list[bool] = []
    for row in compare_versions(parts, before, now, inputs, reuse=reuse):
        print("\n".join(lines_of(row)), flush=True)
        equal.append(is_equal(row))
    print(f"{sum(equal)} of {len(equal)} parts are equal; {time.perf_counter() - started:.0f} s")
    return 0 if all(equal) else 1


def _time(outcome: Outcome) -> str:
    return "-" if not outcome.seconds else "kept" if outcome.kept else f"{outcome.seconds:.1f} s"


def _indented(texts: Sequence[str]) -> list[str]:
    return [f"    {line}" for text in texts for line in text.splitlines()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares the versions and prints the table; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD_CHECKOUT", type=Path, help="folder that holds the old version's packages")
    parser.add_argument("--only", metavar="PART,...", help="parts; what they need is done and compared as well")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--out", metavar="DIR", type=Path, help="keeps all results and takes the old version's from here")
    kept.add_argument("--keep", metavar="DIR", type=Path, help="keeps all results and does everything anew")
    options = parser.parse_args(arguments)
    try:
        parts = chosen_parts(options.only)
    except ValueError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as temporary:
        return run(options.old, parts, options.out or options.keep or Path(temporary), reuse=options.out is not None)


if __name__ == "__main__":
    sys.exit(main())
