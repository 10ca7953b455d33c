"""Dice on fold 0 after the same wall clock on the same machine, everything included."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoseg.data.dataset import Dataset
from autoseg.data.discovery import discover
from autoseg.data.splits import Split, SplitRule, load_splits, make_splits
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.plan.record import Plan
from autoseg.provenance import Provenance
from autoseg.records import Record, read_mapping
from autoseg.run_state import read_metrics
from autoseg.workspace import Run
from benchmarks.peer.context import Context
from benchmarks.peer.layout import NAME, NUMBER, write_raw
from benchmarks.peer.programs import Finished, ProgramFailed, run
from benchmarks.peer.records import Row, Section, Unit

TITLE = "Quality for time"
FOLD = "0"
LATE = 1.1
"""A side that is not done after this multiple of its time is stopped; what it has predicted by then counts."""

ASKED = ("Task04_Hippocampus", 20.0, 0.865)
"""Data set, minutes, and the Dice that is asked of our side there."""


class Side(Record):
    """What one side reached; kept as JSON, so that a run that is cut off goes on with the other side.

    Attributes:
        seconds: wall clock from the fingerprint to the last score.
        trained: words about the training: steps, batch, widths.
        cases: validation cases that were predicted, of `asked`.
        dice: mean foreground Dice over them.
        peak_mb: None if it was stopped.
        profile: where the time went.
    """

    minutes: float
    seconds: float
    trained: str
    cases: int
    asked: int
    dice: float
    peak_mb: float | None
    profile: tuple[str, ...] = ()


def measure(context: Context) -> Section:
    """One side after the other, each with the whole machine; a side that is done already is not run again."""
    folder = context.folder("quality")
    ours = _kept(folder / "ours.json", context) or _ours(context, folder)
    peer = _kept(folder / "peer.json", context) or _peer(context, folder)
    name, minutes, least = ASKED
    asked = context.data.name == name and context.minutes == minutes
    row = Row(
        setting=f"{context.data.name}, fold {FOLD}, {context.minutes:g} minutes",
        unit=Unit.DICE,
        ours=(ours.dice,),
        peer=(peer.dice,),
        ours_peak_mb=ours.peak_mb,
        peer_peak_mb=peer.peak_mb,
        agreement=f"ours: {_words(ours)}; nnU-Net: {_words(peer)}",
        agrees=ours.cases == ours.asked,
        required=0.0,
        required_ours=least if asked else None,
    )
    work = (
        f"{context.minutes:g} minutes of wall clock each for fingerprint, plan, preprocessing, training and validation "
        f"of fold {FOLD} on {context.cores} CPU cores: ours is `autoseg plan-and-train --folds {FOLD} --budget`; "
        "nnU-Net has its default plan with half the features, the batch that leaves it enough steps, one augmentation "
        "process for each two cores, and a schedule that ends in time. The same split; both predictions are scored by "
        "the same evaluation."
    )
    return Section(work=work, rows=(row,), profile=ours.profile)


def _ours(context: Context, folder: Path) -> Side:
    out = Run(folder / "ours")
    shutil.rmtree(out.root, ignore_errors=True)
    clock = _Clock(context.minutes)
    budget = ("--folds", FOLD, "--budget", f"{60 * context.minutes:.0f}s")
    place = ("--out", out.root, "--device", "cpu", "--workers", str(context.cores))
    ended = clock.run([*context.autoseg, "plan-and-train", context.data, *place, *budget], {})
    seconds = clock.seconds
    plan, dataset = Plan.load(out.plan), Dataset.load(out.dataset)
    fold = out.fold("3d_fullres" if (out.root / "3d_fullres").is_dir() else "2d", FOLD)
    (configuration,) = [item for name, item in plan.configurations.items() if name == fold.root.parent.name]
    rows = read_metrics(fold.metrics)
    split = load_splits(out.splits, dataset.identifiers)[int(FOLD)]
    cases, dice = _score(dataset, fold.validation, plan.file_ending, split)
    side = Side(
        minutes=context.minutes,
        seconds=seconds,
        trained=_training(rows[-1]["step"], configuration.batch_size, configuration.features_per_stage),
        cases=cases,
        asked=len(split.validation),
        dice=dice,
        peak_mb=None if ended is None else ended.peak_mb,
        profile=_profile(out, rows, seconds),
    )
    side.save(folder / "ours.json")
    return side


def _peer(context: Context, folder: Path) -> Side:
    root = folder / "peer"
    shutil.rmtree(root, ignore_errors=True)
    dataset = discover(write_raw(discover(context.data), root / "raw"))
    splits = make_splits(dataset.identifiers, SplitRule())
    report = root / "report.json"
    clock = _Clock(context.minutes)
    ended = _run_peer(context, root, splits, clock, report)
    seconds = clock.seconds
    if not report.exists():
        raise ProgramFailed(f"nnU-Net was stopped before its training ended; {context.minutes:g} minutes are too few")
    done = read_mapping(report)
    split = splits[int(FOLD)]
    cases, dice = _score(dataset, Path(done["predictions"]), dataset.file_ending, split)
    finished = [one for one in ended if one is not None]
    side = Side(
        minutes=context.minutes,
        seconds=seconds,
        trained=_training(done["steps"], done["batch_size"], done["features"]),
        cases=cases,
        asked=len(split.validation),
        dice=dice,
        peak_mb=max(one.peak_mb for one in finished) if len(finished) == len(ended) else None,
    )
    side.save(folder / "peer.json")
    return side


def _run_peer(
    context: Context, root: Path, splits: Sequence[Split], clock: _Clock, report: Path
) -> list[Finished | None]:
    """nnU-Net's commands one after the other, with our splits."""
    # A worker augments a sample several times faster than two cores train on it; more workers take the cores away.
    environment = {**context.peer_environment(root), "nnUNet_n_proc_DA": str(max(1, context.cores // 2))}
    prepared, processes = root / "preprocessed" / NAME, ("-np", str(context.cores))
    ended = [
        clock.run([context.peer_command("nnUNetv2_extract_fingerprint"), "-d", NUMBER, *processes], environment),
        clock.run([context.peer_command("nnUNetv2_plan_experiment"), "-d", NUMBER], environment),
    ]
    planned = read_mapping(prepared / "nnUNetPlans.json")["configurations"]
    name = "3d_fullres" if "3d_fullres" in planned else "2d"
    words = ("-d", NUMBER, "-c", name, *processes)
    ended.append(clock.run([context.peer_command("nnUNetv2_preprocess"), *words], environment))
    content = [{"train": split.train, "val": split.validation} for split in splits]
    (prepared / "splits_final.json").write_text(json.dumps(content), encoding="utf-8")
    limits = ("--fold", FOLD, "--ends-at", str(clock.end), "--cores", str(context.cores))
    ended.append(clock.run([*context.peer_script("quality"), prepared, name, *limits, "--report", report], environment))
    return ended


class _Clock:
    """A side's wall clock."""

    def __init__(self, minutes: float) -> None:
        self._start = time.time()
        self._allowed = 60 * minutes
        self.end = self._start + self._allowed

    @property
    def seconds(self) -> float:
        return time.time() - self._start

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> Finished | None:
        """Runs a program to its end; None if it was stopped because the side's time and a little more is over."""
        left = LATE * self._allowed - self.seconds
        try:
            return run(command, env=environment, timeout=max(left, 0.1))
        except ProgramFailed:
            if self.seconds < LATE * self._allowed:
                raise
            return None


def _kept(path: Path, context: Context) -> Side | None:
    """A side's result of an earlier run that had the same time."""
    if not path.exists():
        return None
    side = Side.load(path)
    return side if side.minutes == context.minutes else None


def _score(dataset: Dataset, predictions: Path, ending: str, split: Split) -> tuple[int, float]:
    """How many of the split's validation cases are predicted, and their mean foreground Dice."""
    references = {case.id: case.label for case in dataset.training if case.label is not None}
    files = {case: predictions / f"{case}{ending}" for case in split.validation}
    pairs = {case: (file, references[case]) for case, file in files.items() if file.exists()}
    if not pairs:
        return 0, 0.0
    scores = evaluate_files(pairs, dataset.labels, metrics=["dice"])
    return len(pairs), scores.foreground_dice or 0.0


def _training(steps: int, batch: int, features: Sequence[int]) -> str:
    return f"{steps} steps of {batch} patches, {features[0]} to {features[-1]} features"


def _words(side: Side) -> str:
    missing = "" if side.cases == side.asked else f", {side.cases} of {side.asked} cases predicted when it was stopped"
    late = side.seconds - 60 * side.minutes
    overrun = f" ({late:.0f} s too many)" if late > 0 else ""
    return f"{side.trained} in {side.seconds:.0f} s{overrun}{missing}"


def _profile(out: Run, rows: Sequence[Mapping[str, float]], seconds: float) -> tuple[str, ...]:
    """Stages of the run by their share of its time, and what a training step waits for."""
    stages = Provenance.load(out.provenance).stages
    parts = ", ".join(f"{stage.name} {stage.seconds / seconds:.1%}" for stage in stages)
    training = rows[-1]["seconds"] / seconds
    step, waiting = (sum(row[key] for row in rows) / len(rows) for key in ("step_seconds", "waiting_for_data"))
    return (
        f"{parts}; {training:.1%} are training steps, the rest of their stage is the validation.",
        f"A step takes {step:.3f} s, {waiting:.1%} of the time it waits for data.",
    )
