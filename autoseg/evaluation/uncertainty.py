"""How well expected Dice tells true Dice: rank correlation, calibration and flags, on cases no network has seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import isotonic_regression

from autoseg.evaluation.scores import ScoreRows, Scores
from autoseg.inference.estimate import Calibration, FlagCheck, LabelReliability, Reliability, mean_of
from autoseg.records import read_mapping
from autoseg.workspace import Fold, Run

Pairs = Mapping[str, tuple[float | None, float | None]]
"""Label -> (expected, true) Dice of one case; None where it does not exist."""
Cases = Mapping[str, tuple[str, Pairs]]
"""Case -> (fold, pairs)."""

FEWEST = 5
"""Cases below which neither a correlation nor a calibration is given."""
FEWEST_FOR_FLAGS = 10
"""Cases below which a tenth of them is less than one."""
_SHARE = 0.1
_RESAMPLES, _BLOCK, _SEED = 2000, 250, 0
_LEAST_SPREAD = 1e-3
"""Differences in Dice that nobody cares about; where expected values spread less, they are taken to spread so much."""


def uncertainty_cases(run: Run, configurations: Sequence[str]) -> dict[str, tuple[str, dict]]:
    """Expected and true Dice of the validated cases of a configuration, or of the ensemble of several.

    Reads `validation/expected_dice.json` and `validation/summary.json` of each fold, or of the ensemble's folder; a
    case of an ensemble belongs to the fold of its first configuration that left it out of training. Folds without
    either file are left out.

    Returns:
        Case -> (fold, label -> (expected, true)), for `summarise_uncertainty`; empty if nothing was recorded.
    """
    folds = run.folds(configurations[0])
    if len(configurations) == 1:
        return {case: (name, pairs) for name, fold in folds.items() for case, pairs in _read(fold).items()}
    names = {case: name for name, fold in folds.items() for case in _scores(fold)}
    return {case: (names.get(case, "?"), pairs) for case, pairs in _read(run.ensemble(configurations)).items()}


def summarise_uncertainty(cases: Cases, *, configurations: Sequence[str] = ()) -> Reliability:
    """Reliability of expected Dice, as summary.json has it under "uncertainty".

    - The correlation is Spearman's over the cases of all folds together, its interval the 2.5 and 97.5 percentiles of
      2000 resamples of cases with a fixed seed; resamples without any spread are left out.
    - The calibration is isotonic regression (the non-decreasing curve of least squares), kept as knots.
    - Errors of estimates are measured with calibrations of the other folds' cases; of a single fold's cases, with
      those of the other four of five parts.
    - The flag's thresholds lie equally far below each label's usual expected Dice, counted in median absolute
      deviations of that label, so far that one tenth of the validation cases (rounded up) lies below in some label.
      They are set on expected Dice, not on estimates: the calibration keeps the order, but has level parts where
      cases could not be told apart. What the flags would have found is counted with thresholds of the other folds,
      against the tenth of the cases whose true Dice lies furthest below the usual in some label by the same measure.

    Args:
        cases: case -> (fold, label -> (expected, true Dice)). Fewer than five give no statistics, none an empty form.
        configurations: of the model.
    """
    table = _Table.of(cases)
    foreground = table.foreground
    flags = len(cases) >= FEWEST_FOR_FLAGS
    thresholds = _thresholds(table.expected) if flags else np.full(len(table.labels), np.nan)
    labels = {
        name: _reliability(table, table.expected[:, i], table.dice[:, i], thresholds[i])
        for i, name in enumerate(table.labels)
    }
    return Reliability(
        configurations=tuple(configurations),
        cases=len(cases),
        labels=labels,
        foreground=_reliability(table, foreground[:, 0], foreground[:, 1], np.nan),
        check=_check(table) if flags else None,
    )


def fit_calibration(expected: np.ndarray, dice: np.ndarray) -> Calibration:
    """The non-decreasing curve nearest to the points in least squares, as knots at the ends of its level parts.

    Args:
        expected, dice: (n,) float, n at least 1, without NaN. Equal expected values count as one with their mean Dice.
    """
    levels, inverse, counts = np.unique(expected, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=dice) / counts
    fitted = np.clip(isotonic_regression(means, weights=counts).x, 0, 1)
    ends = np.ones(len(levels), bool)
    ends[1:-1] = (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:])
    return Calibration(expected=tuple(levels[ends].tolist()), dice=tuple(fitted[ends].tolist()))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> tuple[float | None, tuple[float, float] | None]:
    """Spearman's correlation of two quantities (n,) without NaN, and its 95 percent bootstrap interval over cases.

    Both are None for fewer than five cases or if a quantity is constant; the interval also where fewer than half of the
    resamples have a correlation.
    """
    if len(one) < FEWEST:
        return None, None
    correlation = float(_spearman(np.ones((1, len(one))), one, other)[0])
    if math.isnan(correlation):
        return None, None
    counts = _resamples(len(one))
    values = [_spearman(counts[i : i + _BLOCK], one, other) for i in range(0, _RESAMPLES, _BLOCK)]
    correlations = np.concatenate(values)
    correlations = correlations[~np.isnan(correlations)]
    if len(correlations) < _RESAMPLES / 2:
        return correlation, None
    low, high = np.percentile(correlations, (2.5, 97.5))
    return correlation, (float(low), float(high))


@dataclass(frozen=True)
class _Table:
    """Cases as arrays: expected and dice (n, labels), NaN where they do not exist; parts (n,) for cross-fitting."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    expected: np.ndarray
    dice: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(cls, cases: Cases) -> _Table:
        ids = tuple(sorted(cases))
        labels = tuple(dict.fromkeys(label for case in ids for label in cases[case][1]))
        pairs = np.full((len(ids), len(labels), 2), np.nan)
        for i, case in enumerate(ids):
            for j, label in enumerate(labels):
                pairs[i, j] = [np.nan if value is None else value for value in cases[case][1].get(label, (None, None))]
        folds = [cases[case][0] for case in ids]
        parts = np.unique(folds, return_inverse=True)[1] if len(set(folds)) > 1 else np.arange(len(ids)) % 5
        return cls(ids, labels, pairs[..., 0], pairs[..., 1], parts)

    @property
    def foreground(self) -> np.ndarray:
        """Mean expected and true Dice over the labels of each case, (n, 2)."""
        values = [[mean_of(row[~np.isnan(row)]) for row in table] for table in (self.expected, self.dice)]
        return np.array(values, dtype=float).reshape(2, -1).T

    def divisions(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(cases to fit on, cases to test on) as masks, a pair per part."""
        for part in np.unique(self.parts):
            yield self.parts != part, self.parts == part


def _reliability(table: _Table, expected: np.ndarray, dice: np.ndarray, threshold: float) -> LabelReliability:
    complete = ~np.isnan(expected) & ~np.isnan(dice)
    correlation, interval = rank_correlation(expected[complete], dice[complete])
    count = int(complete.sum())
    error, error_of_mean = _errors(table, expected, dice, complete)
    return LabelReliability(
        cases=count,
        unseen=int((np.isnan(expected) & ~np.isnan(dice)).sum()),
        always_found=bool(len(expected)) and not np.isnan(expected).any(),
        correlation=correlation,
        interval=interval,
        calibration=fit_calibration(expected[complete], dice[complete]) if count >= FEWEST else None,
        error=error,
        error_of_mean=error_of_mean,
        threshold=None if np.isnan(threshold) else float(threshold),
    )


def _errors(
    table: _Table, expected: np.ndarray, dice: np.ndarray, complete: np.ndarray
) -> tuple[float | None, float | None]:
    """Mean absolute errors of calibrations and of mean Dice fitted on the other parts."""
    errors: list[float] = []
    of_mean: list[float] = []
    for fit, test in table.divisions():
        fit, test = fit & complete, test & complete
        if fit.sum() < FEWEST:
            continue
        calibration = fit_calibration(expected[fit], dice[fit])
        errors += [abs(calibration.at(e) - d) for e, d in zip(expected[test], dice[test], strict=True)]
        of_mean += np.abs(dice[test] - dice[fit].mean()).tolist()
    return mean_of(errors), mean_of(of_mean)


def _thresholds(expected: np.ndarray) -> np.ndarray:
    """A threshold per label (NaN for one without values), of which a tenth of the cases (n, labels) is below one."""
    usual, spread, shortfall = _shortfall(expected)
    limit = np.sort(shortfall)[::-1][_tenth(len(shortfall))]
    return usual - limit * spread if np.isfinite(limit) else np.full(len(usual), np.nan)


def _shortfall(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far each case (n, labels) lies below what is usual, in its worst label.

    Returns:
        Median and median absolute deviation of each label (NaN without values), and of each case the largest
        (median - value) / deviation over its labels, (n,); minus infinity for a case without values.
    """
    usual, spread = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    for i, column in enumerate(values.T):
        present = column[~np.isnan(column)]
        if present.size:
            usual[i] = np.median(present)
            spread[i] = max(float(np.median(np.abs(present - usual[i]))), _LEAST_SPREAD)
    below = (usual - values) / spread
    return usual, spread, np.where(np.isnan(below), -np.inf, below).max(axis=1, initial=-np.inf)


def _check(table: _Table) -> FlagCheck:
    flagged = np.zeros(len(table.ids), bool)
    for fit, test in table.divisions():
        if fit.sum() < FEWEST_FOR_FLAGS:
            continue
        below = table.expected < _thresholds(table.expected[fit])
        missing = np.isnan(table.expected) & ~np.isnan(table.expected[fit]).any(axis=0)
        flagged |= test & (below | missing).any(axis=1)
    shortfall = _shortfall(table.dice)[2]
    order = [i for i in np.argsort(-shortfall, kind="stable") if np.isfinite(shortfall[i])]
    return FlagCheck(
        cases=len(table.ids),
        flagged=tuple(table.ids[i] for i in np.flatnonzero(flagged)),
        worst=tuple(table.ids[i] for i in order[: _tenth(len(order))]),
    )


def _tenth(count: int) -> int:
    return math.ceil(count * _SHARE)


@lru_cache(maxsize=1)
def _resamples(count: int) -> np.ndarray:
    """How often each case is in each resample, (resamples, count); the same for every class."""
    generator = np.random.default_rng(_SEED)
    return generator.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(np.uint16)


def _spearman(counts: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rank correlation of two quantities (n,) in samples that hold each case so many times, (m, n); NaN without spread.

    Sorting once and counting serves all samples.
    """
    counts = counts.astype(np.float64)
    a, b = _centred_ranks(counts, one), _centred_ranks(counts, other)
    scale = np.sqrt((counts * a * a).sum(axis=1) * (counts * b * b).sum(axis=1))
    return np.divide((counts * a * b).sum(axis=1), scale, out=np.full(len(scale), np.nan), where=scale > 0)


def _centred_ranks(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Ranks of the cases (n,) in each sample (m, n), ties with their mean rank, less the mean of all ranks."""
    levels, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(levels)))
    sizes = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks = sizes.cumsum(axis=1) - (sizes - 1) / 2
    return ranks[:, group] - (counts.sum(axis=1, keepdims=True) + 1) / 2


def _read(fold: Fold) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """Case -> label -> (expected, true Dice) of one folder."""
    if not fold.expected_dice.exists():
        return {}
    expected = read_mapping(fold.expected_dice)
    return {
        case: {label: (expected[case].get(label), row.get("dice")) for label, row in scores.items()}
        for case, scores in _scores(fold).items()
        if case in expected
    }


def _scores(fold: Fold) -> Mapping[str, ScoreRows]:
    return Scores.load(fold.validation_summary).cases if fold.validation_summary.exists() else {}
