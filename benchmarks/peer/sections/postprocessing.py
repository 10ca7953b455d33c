"""Choosing which components to remove, from the same predictions and references."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from autoseg.evaluation.scheme import read_scheme
from autoseg.exchange.nnunet.scores import read_postprocessing
from autoseg.postprocessing.choose import Decision
from benchmarks.peer.context import Context
from benchmarks.peer.label_sets import LabelSet, large_set, shares, validation_set
from benchmarks.peer.programs import Finished, alternate, run, with_programs
from benchmarks.peer.records import Row, Section, Unit

TITLE = "Post-processing search"
REQUIRED = 20.0
TOLERANCE = 1e-9
PEER_FUNCTION = "remove_all_but_largest_component_from_segmentation"


def measure(context: Context) -> Section:
    """Process against process, and the calls alone in a process that has imported everything."""
    sets = (validation_set(context), large_set(context))
    # nnU-Net's search of the large volumes takes a minute; its second run tells what a third would.
    repeats = (context.repeats, min(context.repeats, 2))
    rows: list[Row] = []
    profile: list[str] = []
    for labels, count in zip(sets, repeats, strict=True):
        ours, peer = alternate(lambda: _ours(context, labels), lambda: _peer(context, labels), count)  # noqa: B023
        rows += _rows(context, labels, ours, peer)
        profile.append(f"{labels.name}: {shares(_ours(context, labels, '--profile').answer())}")
    return Section(
        work="Whether to keep only the largest component of all foreground, and of each label, decided by the Dice of "
        "all cases. nnU-Net's command writes and scores new files for every try; here components are counted once and "
        "every try is arithmetic on the counts. `whole`: the process, start-up included; `search`: the call alone.",
        rows=tuple(rows),
        profile=tuple(profile),
    )


def _rows(context: Context, labels: LabelSet, ours: list[Finished], peer: list[Finished]) -> tuple[Row, Row]:
    mine = Decision.model_validate(ours[-1].answer()["decision"])
    content = json.loads((_peer_folder(context) / "postprocessing.json").read_text(encoding="utf-8"))
    theirs = read_postprocessing(content, read_scheme(labels.dataset), PEER_FUNCTION)
    row = Row(
        setting=f"{labels.name}, whole",
        unit=Unit.SECONDS,
        ours=(),
        peer=(),
        agreement=_agreement(mine, theirs),
        agrees=theirs is not None and mine.steps == theirs.steps and _distance(mine, theirs) <= TOLERANCE,
        required=REQUIRED,
        floor=labels.floor(context.peaks),
    )
    alone = {
        "setting": f"{labels.name}, search",
        "ours": tuple(found.answer()["seconds"] for found in ours),
        "peer": tuple(found.answer()["seconds"] for found in peer),
    }
    return with_programs(row, ours, peer), row.model_copy(update=alone)


def _agreement(ours: Decision, peer: Decision | None) -> str:
    if peer is None:
        return "nnU-Net's decision has a step that is not known here"
    if ours.steps != peer.steps:
        return f"different steps: {', '.join(ours.steps) or 'none'}; nnU-Net {', '.join(peer.steps) or 'none'}"
    return f"the same {len(ours.steps)} steps, mean Dice after them differs by {_distance(ours, peer):.1e}"


def _distance(ours: Decision, peer: Decision) -> float:
    if ours.after.foreground is None or peer.after.foreground is None:
        return 0.0 if ours.after.foreground is peer.after.foreground else float("inf")
    return abs(ours.after.foreground - peer.after.foreground)


def _ours(context: Context, labels: LabelSet, *options: str) -> Finished:
    folders = (labels.predictions, labels.references, labels.dataset)
    program = (context.python, "-m", "benchmarks.peer.sections.postprocessing_ours")
    return run([*program, *folders, "--workers", str(context.cores), *options])


def _peer(context: Context, labels: LabelSet) -> Finished:
    """In a folder of links to the predictions, since the command writes beside what it reads."""
    folder = _peer_folder(context)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in labels.predictions.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    options = ("-i", folder, "-ref", labels.references, "-plans_json", labels.plans, "-dataset_json", labels.dataset)
    return run(
        [*context.peer_script("postprocessing"), *options, "-np", str(context.cores), "--remove_postprocessed"],
        env=context.peer_environment(context.folder("postprocessing") / "peer"),
    )


def _peer_folder(context: Context) -> Path:
    return context.folder("postprocessing") / "predictions"
