"""What the experiment found: Dice of every held-out case for each arm and draw, and differences to no pretraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.evaluation.bootstrap import mean_intervals
from autoseg.evaluation.scores import Scores
from autoseg.run_state import read_metrics
from autoseg.workspace import ALL_DATA
from benchmarks.pretraining.draws import Draw
from benchmarks.pretraining.experiment import SCRATCH, Arm, Experiment

DrawScores = Mapping[Draw, np.ndarray]
"""Draw -> (validation cases,) mean Dice of the foreground labels, cases sorted by name; of one length of training."""


@dataclass(frozen=True)
class Effect:
    """What an arm gains over training from fresh weights with the same cases, plan, steps and seed.

    Attributes:
        steps: of the training on labels.
        cases: labelled ones.
        dice: mean over draws and validation cases.
        difference: of `dice` to that of the fresh weights; None for them.
        interval: 95 %, of the difference over validation cases, each with the mean over draws.
        draws: difference of each draw.
    """

    steps: int
    cases: int
    dice: float
    difference: float | None = None
    interval: tuple[float, float] | None = None
    draws: tuple[float, ...] = ()


@dataclass(frozen=True)
class Pretraining:
    """How a pretraining went.

    Attributes:
        steps: done.
        step_seconds: mean of its rounds.
        waiting: share of the time spent waiting for data.
        loss: of the last round.
        deviation, rank: of the embeddings at the end (`pretraining.watch.Health`).
    """

    steps: int
    step_seconds: float
    waiting: float
    loss: float
    deviation: float | None
    rank: float | None


def scores(experiment: Experiment, arm: Arm, draws: Sequence[Draw], steps: int) -> dict[Draw, np.ndarray]:
    """Of the draws that the arm has been trained on for so many steps. A case without any defined Dice is NaN."""
    found = {}
    for number, draw in enumerate(draws):
        file = experiment.run_of(arm, draw.number, steps).fold(experiment.configuration, number).validation_summary
        if file.exists():
            cases = Scores.load(file).cases
            found[draw] = np.array([_foreground(cases[name]) for name in sorted(cases)])
    return found


def effects(of: DrawScores, scratch: DrawScores, steps: int) -> list[Effect]:
    """Of trainings of one length: one for each number of labelled cases that both have draws of, fewer first."""
    result = []
    for count in sorted({draw.cases for draw in of}):
        common = [draw for draw in of if draw.cases == count and draw in scratch]
        if not common:
            continue
        values = np.stack([of[draw] for draw in common])
        if of is scratch:
            result.append(Effect(steps, count, float(np.nanmean(values))))
            continue
        difference = values - np.stack([scratch[draw] for draw in common])
        by_case = difference.mean(axis=0)
        low, high = mean_intervals(by_case[None, np.isfinite(by_case)])[0]
        each = tuple(float(value) for value in np.nanmean(difference, axis=1))
        result.append(Effect(steps, count, float(np.nanmean(values)), float(np.mean(each)), (low, high), each))
    return result


def pretraining(experiment: Experiment, arm: Arm) -> Pretraining | None:
    """None for `SCRATCH`, and before a first round has ended."""
    if arm.method == SCRATCH:
        return None
    rows = read_metrics(experiment.pretrained(arm).fold(experiment.configuration, ALL_DATA).metrics)
    if not rows:
        return None
    last, measures = rows[-1], rows[-1].get("measures") or {}
    return Pretraining(
        steps=last["step"],
        step_seconds=float(np.mean([row["step_seconds"] for row in rows])),
        waiting=float(np.mean([row["waiting_for_data"] for row in rows])),
        loss=last["loss"],
        deviation=measures.get("deviation"),
        rank=measures.get("effective_rank"),
    )


def _foreground(labels: Mapping[str, Mapping[str, float | None]]) -> float:
    values = [label["dice"] for label in labels.values() if label["dice"] is not None]
    return float(np.mean(values)) if values else float("nan")
