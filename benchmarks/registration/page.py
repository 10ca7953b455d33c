"""The comparison as a Markdown page and as a CSV with a row a pair."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from autoseg.errors import ConfigurationError
from autoseg.evaluation.crossvalidation import FOREGROUND
from autoseg.provenance import machine, versions
from autoseg.studies.comparison.statistics.comparison import Comparison, PairedDifference, compare
from autoseg.studies.comparison.statistics.score_table import score_table
from benchmarks.registration.cases import EDGE, PairOfCases
from benchmarks.registration.outcomes import METRICS, MethodOutcomes, Outcome, table_of

Done = Mapping[str, MethodOutcomes]
"""Method -> its outcomes, in the order of the table."""

_DIAGONAL = EDGE * 3**0.5
_COLUMNS = (
    "method", "pairs", "Dice", "anterior", "posterior", "HD95 mm", "folded %", "SD log J", "CPU s", "wall s", "failed",
)  # fmt: skip
_NO_VALUE = "-"


def compared(done: Done, pairs: Sequence[PairOfCases], reference: str) -> Comparison | None:
    """Paired differences to a method on the pairs that all methods have tried; None without anything to compare."""
    found = {name: one.of(list(pairs)) for name, one in done.items() if one.of(list(pairs))}
    if reference not in found or len(found) < 2:
        return None
    common = set.intersection(*(set(outcomes) for outcomes in found.values()))
    diagonals = dict.fromkeys(common, _DIAGONAL)
    try:
        table = score_table(table_of(found), cases=common, metrics=METRICS, diagonals=diagonals)
    except ConfigurationError:  # no method has a score
        return None
    return compare(table, reference=reference)


def page(done: Done, pairs: Sequence[PairOfCases], split: str, reference: str, settings: Mapping[str, str]) -> str:
    """All tables as Markdown.

    Args:
        pairs: those asked for; a method is shown with those of them that it has.
        split: which side of the fold they are of.
        reference: the method that the others are compared with.
        settings: method -> how it was asked, in words.
    """
    numbers = f"{pairs[0].number}-{pairs[-1].number}" if len(pairs) > 1 else f"{pairs[0].number}"
    parts = [
        "# Registration between subjects",
        f"Written by `benchmarks/registration_hippocampus.py`. {len(pairs)} pairs ({numbers}) of the {split} cases "
        f"of fold 0 of Task04_Hippocampus; each volume z-scored, in the middle of {EDGE} x {EDGE} x {EDGE} voxels "
        "of 1 mm. Dice and HD95 of labels warped to the nearest voxel, mean over pairs; a pair that a tool failed on "
        "has Dice 0. Folded voxels and the standard deviation of the log-Jacobian over the fixed case's own voxels, "
        "mean over pairs. Seconds of the fit alone, one thread, median over pairs. The other tools run in an "
        "environment of their own, with the packages of `benchmarks/registration/requirements.txt`.",
        _markdown(_COLUMNS, [_row(name, one.of(list(pairs)), one) for name, one in done.items()]),
    ]
    comparison = compared(done, pairs, reference)
    if comparison is not None:
        parts += [f"## Beside {reference}", _differences(comparison)]
    if told := [f"- {name}: {text}" for name, text in _told(done, settings)]:
        parts += ["## Settings", "\n".join(told)]
    where = {**machine(), **{name: versions()[name] for name in ("autoseg", "python", "torch")}}
    parts.append(", ".join(f"{name} {value}" for name, value in where.items()))
    return "\n\n".join(parts) + "\n"


def pair_rows(done: Done, pairs: Sequence[PairOfCases]) -> str:
    """A CSV with a row for each method and pair; what does not exist is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((
        "method", "pair", "fixed", "moving", "dice", "dice_anterior", "dice_posterior", "hd95_anterior",
        "hd95_posterior", "nonpositive_percent", "log_jacobian_std", "cpu_seconds", "seconds", "failure",
    ))  # fmt: skip
    for method, outcomes in done.items():
        for pair in pairs:
            one = outcomes.pairs.get(pair.name)
            if one is None:
                continue
            scores = [one.labels.get(label, {}).get(key) for key in METRICS for label in ("anterior", "posterior")]
            rest = (one.nonpositive_percent, one.log_jacobian_std, one.cpu_seconds, one.seconds, one.failure)
            mean = None if one.failure else one.dice
            writer.writerow((method, pair.number, pair.fixed, pair.moving, mean, *scores, *rest))
    return text.getvalue()


def _row(name: str, found: Mapping[str, Outcome], outcomes: MethodOutcomes) -> Sequence[str]:
    if not found:
        return (name, outcomes.missing or "not run", *[""] * (len(_COLUMNS) - 2))
    good = [one for one in found.values() if one.failure is None]
    label_dice = [_mean((one.labels[label]["dice"] for one in good), len(found)) for label in ("anterior", "posterior")]
    return (
        name,
        str(len(found)),
        _digits(_mean((one.dice for one in good), len(found)), 3),
        *(_digits(value, 3) for value in label_dice),
        _digits(_mean(_hd95(one) for one in good), 2),
        _digits(_mean(one.nonpositive_percent for one in good), 3),
        _digits(_mean(one.log_jacobian_std for one in good), 3),
        _digits(_median(one.cpu_seconds for one in good), 2),
        _digits(_median(one.seconds for one in good), 2),
        str(len(found) - len(good)),
    )


def _hd95(one: Outcome) -> float:
    """Mean over the labels; a label that was warped out of sight is as far as the grid is wide."""
    return sum(_DIAGONAL if row["hd95"] is None else row["hd95"] for row in one.labels.values()) / len(one.labels)


def _differences(comparison: Comparison) -> str:
    reference = comparison.reference or ""
    columns = ("method", f"Dice of {reference} minus its", "95 % interval", f"{reference} better in", "p after Holm")
    chosen = [one for one in comparison.differences if (one.label, one.metric) == (FOREGROUND, "dice")]
    lines = [_difference(one) for one in chosen]
    return f"{len(comparison.cases)} pairs, bootstrap over pairs.\n\n" + _markdown(columns, lines)


def _difference(one: PairedDifference) -> Sequence[str]:
    interval = "-" if one.interval is None else "{:+.3f} to {:+.3f}".format(*one.interval)
    return (
        one.second,
        _digits(one.mean, 3, sign=True),
        interval,
        f"{one.first_better} of {one.cases}",
        _NO_VALUE if one.p_corrected is None else f"{one.p_corrected:.2g}",
    )


def _told(done: Done, settings: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, outcomes in done.items():
        if text := "; ".join(part for part in (settings.get(name), outcomes.made_by) if part):
            yield name, text


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _mean(values: Iterable[float | None], of: int | None = None) -> float | None:
    return _over(values, lambda known: sum(known) / (of or len(known)))


def _median(values: Iterable[float | None]) -> float | None:
    return _over(values, median)


def _over(values: Iterable[float | None], fold: Callable[[list[float]], float]) -> float | None:
    known = [value for value in values if value is not None]
    return float(fold(known)) if known else None


def _digits(value: float | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return _NO_VALUE
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
