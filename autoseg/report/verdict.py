"""The headline: one number, what it means in plain words, and what a reader should know before trusting it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoseg.evaluation.scores import FOREGROUND
from autoseg.log import counted
from autoseg.report.gather import CaseScores, FoldRecords, RunRecords, mean_foreground_dice
from autoseg.report.metrics import label_name, number
from autoseg.run_state import fold_state

_GRADES = ((0.9, "Very good"), (0.8, "Good"), (0.7, "Fair"), (0.5, "Weak"), (0.0, "Poor"))
"""Words for a mean foreground Dice from each bound on; plain words, not a clinical judgement."""

_STRAGGLER = 0.15
"""A class this much below the mean of the classes is named."""
_OUTLIER = 0.25
"""A case this much below the median of the cases is named."""
_WAITING = 0.2
"""Share of the step time spent waiting for data from which on it is named."""
_RISE = 0.01
"""Gain of the online validation Dice over the last fifth of a training that says it was too short."""
_FEW_CASES = 10
_ROUNDING = 1e-4
"""Difference of a Dice that another way of adding up may make."""


@dataclass(frozen=True)
class Verdict:
    """Section 1 of the page.

    Attributes:
        configuration: the chosen one, "a + b" for an ensemble; None before any validation.
        dice: mean foreground Dice of the choice before post-processing; None before any validation.
        spread: sample standard deviation of the cases' foreground Dice.
        quartiles: of the same, (25, 50, 75 percent).
        postprocessed: mean foreground Dice after the accepted post-processing; None if there is none.
        remarks: what the numbers say beside the mean.
        warnings: (source, text) of everything that check, fingerprint, plan and run warned of.
    """

    configuration: str | None
    dice: float | None
    spread: float | None
    quartiles: tuple[float, float, float] | None
    cases: int
    folds: int
    postprocessed: float | None
    words: str
    remarks: tuple[str, ...]
    warnings: tuple[tuple[str, str], ...]


def verdict(records: RunRecords) -> Verdict:
    """The headline of a run, also of one that is not finished."""
    best = records.summary.best
    cases = records.models[records.chosen_model] if records.chosen_model is not None else ()
    dice = best.foreground_mean_dice
    if dice is None:
        dice = mean_foreground_dice(cases)
    scored = [value for case in cases if (value := case.foreground_dice) is not None]
    quartiles = tuple(float(q) for q in np.percentile(scored, (25, 50, 75))) if scored else None
    return Verdict(
        configuration=" + ".join(records.chosen) or None,
        dice=dice,
        spread=float(np.std(scored, ddof=1)) if len(scored) > 1 else None,
        quartiles=(quartiles[0], quartiles[1], quartiles[2]) if quartiles else None,
        cases=len(cases),
        folds=len({case.fold for case in cases}),
        postprocessed=best.foreground_mean_dice_postprocessed if best.postprocessing else None,
        words=_words(dice, records),
        remarks=(*_remarks(cases), *_training_remarks(records)),
        warnings=tuple(_warnings(records)),
    )


def _words(dice: float | None, records: RunRecords) -> str:
    if records.pretrains:
        return "This run holds an encoder, trained without labels; to judge is a segmentation that starts from it."
    if dice is None and records.evaluated:
        return "The data have no labels that would tell how good this is; the tables have what is known of the pairs."
    if dice is None:
        return "No configuration has been validated yet, so there is nothing to judge."
    grade = next(word for bound, word in _GRADES if dice >= bound)
    extent = "area" if records.fingerprint is not None and records.fingerprint.dimension == 2 else "volume"
    compared = "prediction and reference" if records.segments else "the labels of both images of a registered pair"
    return (
        f"{grade} overlap: {compared} share {dice:.0%} of their {extent} on average, "
        "measured on cases that were kept out of the training."
    )


def _remarks(cases: tuple[CaseScores, ...]) -> Iterator[str]:
    ranked = sorted((value, case.id) for case in cases if (value := case.foreground_dice) is not None)
    if not ranked:
        return
    median = float(np.median([value for value, _ in ranked]))
    poor = [id for value, id in ranked if value < median - _OUTLIER]
    worst, id = ranked[0]
    lead = f"{_cases(len(poor))} far below" if poor else "No case lies far below"
    yield f"{lead} the median ({number(median)}); the worst is {id} with {number(worst)}."
    means = {label: mean for label in cases[0].scores if (mean := _label_mean(cases, label)) is not None}
    if len(means) > 1:
        label = min(means, key=lambda name: means[name])
        if means[label] < float(np.mean(list(means.values()))) - _STRAGGLER:
            yield f"The class {label_name(label)} lags behind the others with a mean Dice of {number(means[label])}."
    if len(cases) < _FEW_CASES:
        few = f"{counted(len(cases), 'case')} {'was' if len(cases) == 1 else 'were'}"
        yield f"Only {few} validated: the mean may be off by more than differences of interest."
    missed = sum(metrics.get("dice") == 0 for case in cases for metrics in case.scores.values())
    if missed:
        objects = "One object was" if missed == 1 else f"{missed} objects were"
        yield f"{objects} missed or invented altogether (Dice 0 in a class of a case)."


def _training_remarks(records: RunRecords) -> Iterator[str]:
    for name in records.chosen:
        for fold, content in records.folds.get(name, {}).items():
            yield from (f"{name}, fold {fold}: {remark}" for remark in _fold_remarks(content))


def _fold_remarks(content: FoldRecords) -> Iterator[str]:
    rows = content.metrics
    if not rows:
        return
    last = rows[-1]
    # A training by time only knows its number of steps when it is over, which the final weights say.
    if last.get("steps") and last["step"] < last["steps"] and not fold_state(content.folder).trained:
        yield f"the training stands at step {last['step']} of {last['steps']}."
        return
    dice = [value for row in rows if (value := row.get("validation_foreground_dice")) is not None]
    fifth = len(dice) // 5
    if fifth >= 2 and np.mean(dice[-fifth:]) - np.mean(dice[-2 * fifth : -fifth]) > _RISE:
        yield "the validation Dice was still rising at the end; a longer training would likely help."
    waiting = [value for row in rows if (value := row.get("waiting_for_data")) is not None]
    if waiting and np.mean(waiting) > _WAITING:
        yield f"{np.mean(waiting):.0%} of the time went into waiting for data; more workers would speed it up."


def _label_mean(cases: tuple[CaseScores, ...], label: str) -> float | None:
    values = [case.scores.get(label, {}).get("dice") for case in cases]
    scored = [value for value in values if value is not None]
    return float(np.mean(scored)) if scored else None


def _warnings(records: RunRecords) -> Iterator[tuple[str, str]]:
    for source, record in (("data set", records.dataset), ("fingerprint", records.fingerprint), ("plan", records.plan)):
        for text in record.warnings if record is not None else ():
            yield source, text
    if records.dataset is not None and records.dataset.ignored:
        count = len(records.dataset.ignored)
        names = ", ".join(path.name for path in records.dataset.ignored[:3])
        more = ", …" if count > 3 else ""
        files = "1 file that is no image was" if count == 1 else f"{count} files that are no images were"
        yield "data set", f"{files} passed over: {names}{more}"
    for text in records.provenance.notes if records.provenance is not None else ():
        yield "run", text
    for text in records.problems:
        yield "run folder", text
    for text in _stale(records):
        yield "run folder", text


def _stale(records: RunRecords) -> Iterator[str]:
    """Folds that were trained anew since the choice, or whose new training is not finished."""
    for name, folds in records.folds.items():
        chosen = records.summary.configurations.get(name)
        for fold, content in folds.items():
            state = fold_state(content.folder)
            if state.has_model and not state.trained:
                yield (
                    f"{name} fold {fold}: another training was begun and is not finished; scores and network are those "
                    "of the one before"
                )
            before = None if chosen is None else chosen.folds.get(fold, {}).get(FOREGROUND)
            now = mean_foreground_dice(content.cases or ())
            if before is not None and now is not None and abs(before - now) > _ROUNDING:
                yield (
                    f"{name} fold {fold} was trained anew since the best was chosen: choose again with "
                    f"`autoseg choose {records.run.root}`"
                )


def _cases(count: int) -> str:
    return "One case lies" if count == 1 else f"{count} cases lie"
