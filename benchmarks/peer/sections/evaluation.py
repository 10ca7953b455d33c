"""Scoring folders of predictions by the command lines of both sides."""

from __future__ import annotations

import json
import math
from pathlib import Path

from autoseg.data.files import stem_of
from benchmarks.peer.context import Context
from benchmarks.peer.label_sets import LabelSet, large_set, shares, validation_set
from benchmarks.peer.programs import Finished, alternate, run, with_programs
from benchmarks.peer.records import Row, Section, Unit

TITLE = "Evaluation"
REQUIRED = 1.0
TOLERANCE = 1e-9
"""Of a Dice: both sides divide the same whole numbers."""


def measure(context: Context) -> Section:
    """Process against process, start-up included."""
    sets = (validation_set(context), large_set(context))
    profiles = [run([context.python, "-m", "benchmarks.peer.sections.evaluation_ours", *_folders(one)]) for one in sets]
    return Section(
        work="Scores of predicted label files against references, start-up included. nnU-Net's command counts voxels "
        "(Dice, IoU, and the counts); here all metrics are computed: ten ratios, distances and volumes a label more.",
        rows=tuple(_row(context, one) for one in sets),
        profile=tuple(f"{one.name}: {shares(found.answer())}" for one, found in zip(sets, profiles, strict=True)),
    )


def _row(context: Context, labels: LabelSet) -> Row:
    folder = context.folder("evaluation")
    ours, peer = alternate(
        lambda: _ours(context, labels, folder / "ours.json"),
        lambda: _peer(context, labels, folder / "peer.json"),
        context.repeats,
    )
    count, largest, agrees = _differences(labels, folder / "ours.json", folder / "peer.json")
    row = Row(
        setting=labels.name,
        unit=Unit.SECONDS,
        ours=(),
        peer=(),
        agreement=f"{count} values of Dice, largest difference {largest:.1e}",
        agrees=agrees,
        required=REQUIRED,
        floor=labels.floor(context.peaks),
    )
    return with_programs(row, ours, peer)


def _folders(labels: LabelSet) -> tuple[Path, Path, Path]:
    return labels.predictions, labels.references, labels.dataset


def _ours(context: Context, labels: LabelSet, out: Path) -> Finished:
    predictions, references, dataset = _folders(labels)
    options = ("--spec", dataset, "--out", out, "--workers", str(context.cores))
    return run([*context.autoseg, "evaluate", predictions, references, *options])


def _peer(context: Context, labels: LabelSet, out: Path) -> Finished:
    command: list[str | Path] = [
        context.peer_command("nnUNetv2_evaluate_simple"),
        labels.references,
        labels.predictions,
    ]
    command += ["-l", *(str(value) for value in labels.labels.values())]
    command += ["-o", out, "-np", str(context.cores)]
    return run(command, env=context.peer_environment(context.folder("evaluation") / "peer"))


def _differences(labels: LabelSet, ours: Path, peer: Path) -> tuple[int, float, bool]:
    """Compares Dice of every case and label: how many, the largest difference, and whether that is small enough."""
    found = json.loads(ours.read_text(encoding="utf-8"))["cases"]
    differences = []
    for row in json.loads(peer.read_text(encoding="utf-8"))["metric_per_case"]:
        case = found[stem_of(row["prediction_file"])]
        for name, value in labels.labels.items():
            mine, theirs = case[name]["dice"], row["metrics"][str(value)]["Dice"]
            exists = theirs is not None and not math.isnan(theirs)
            if exists and mine is not None:
                differences.append(abs(mine - theirs))
            else:
                differences.append(0.0 if mine is None and not exists else math.inf)
    complete = len(differences) == labels.cases * len(labels.labels)
    largest = max(differences, default=math.inf)
    return len(differences), largest, complete and largest <= TOLERANCE
