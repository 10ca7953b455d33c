"""What expected Dice is worth: its calibration on validation cases, and estimates with flags for new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from autoseg.log import counted
from autoseg.records import Record, read_mapping
from autoseg.workspace import Run

_JUDGEMENTS = ((0.5, "tells good from bad cases well"), (0.2, "tells good from bad cases somewhat"))
"""Words for a rank correlation of which it is all but sure that it is larger than the bound."""
_NOT_SHOWN = "has not been shown to tell good from bad cases: do not rely on it"


class Calibration(Record):
    """A non-decreasing curve from expected to estimated Dice: straight between its knots, level outside them.

    Attributes:
        expected: places of the knots, ascending.
        dice: values there, in 0..1.
    """

    expected: tuple[float, ...]
    dice: tuple[float, ...]

    def at(self, expected: float) -> float:
        """The estimate for one expected Dice."""
        return float(np.interp(expected, self.expected, self.dice))


class LabelReliability(Record):
    """How well expected Dice told the true Dice of one label (or of the foreground mean) on validation cases.

    Attributes:
        cases: validation cases where both exist.
        unseen: cases with a true Dice but no expected one: an object that was missed without a trace of doubt.
        always_found: whether every validation case had an expected Dice, so that a case without is unusual.
        correlation: Spearman's rank correlation; None for fewer than five cases or where all values are equal.
        interval: of the correlation, 95 percent, by bootstrap over cases.
        calibration: None for fewer than five cases.
        error: mean absolute error of estimates calibrated on other cases.
        error_of_mean: the same for the mean Dice of the other cases, a guess that does not look at the case.
        threshold: expected Dice below which a case is flagged; None for fewer than ten cases.
    """

    cases: int
    unseen: int
    always_found: bool
    correlation: float | None
    interval: tuple[float, float] | None
    calibration: Calibration | None
    error: float | None
    error_of_mean: float | None
    threshold: float | None

    def estimate(self, expected: float | None) -> float | None:
        """Calibrated Dice; None where nothing was predicted or there is no calibration."""
        return None if expected is None or self.calibration is None else self.calibration.at(expected)

    def flags(self, expected: float | None) -> bool | None:
        """Whether a case is worth looking at for this label; None where there is no threshold.

        A missing object is worth a look if every validation case had one.
        """
        if self.threshold is None:
            return None
        return self.always_found if expected is None else expected < self.threshold


class FlagCheck(Record):
    """How the flags would have worked on the validation cases, each with thresholds from other folds.

    Attributes:
        cases: validation cases.
        flagged: identifiers of those that would have been flagged.
        worst: identifiers of the tenth whose true Dice lies furthest below the usual in some label, the worst first.
    """

    cases: int
    flagged: tuple[str, ...]
    worst: tuple[str, ...]

    @property
    def found(self) -> int:
        """How many of the worst cases were flagged."""
        return len(set(self.flagged) & set(self.worst))


class Reliability(Record):
    """`summary.json["uncertainty"]`: what to make of the expected Dice of a model.

    Attributes:
        configurations: of the model that it was measured on; it says nothing about others.
        cases: validation cases.
        labels: name -> of each label or region.
        foreground: of the mean over a case's labels.
        check: None for fewer than ten cases.
    """

    configurations: tuple[str, ...] = ()
    cases: int
    labels: dict[str, LabelReliability]
    foreground: LabelReliability
    check: FlagCheck | None


class LabelEstimate(Record):
    """One label of one predicted case; see `LabelReliability` for when a value does not exist."""

    expected_dice: float | None
    estimate: float | None
    flagged: bool | None


class CaseEstimate(Record):
    """One predicted case.

    Attributes:
        flagged: whether any label is; None where no label can be judged.
        foreground: of the mean over labels; it is shown, never flagged.
        labels: name -> of each label or region.
    """

    flagged: bool | None
    foreground: LabelEstimate
    labels: dict[str, LabelEstimate]


class CaseEstimates(Record):
    """`uncertainty.json` beside predictions.

    Attributes:
        judgement: how far the model's estimates can be relied on, in words; None where that is not known.
        cases: identifier -> estimate of each case.
    """

    judgement: str | None = None
    cases: dict[str, CaseEstimate]


def calibrated(reliability: Reliability | None, expected: Mapping[str, float | None]) -> CaseEstimate:
    """Estimated Dice and flags of one case.

    Args:
        reliability: of the model that predicted the case; None leaves estimates and flags unknown.
        expected: label -> expected Dice (`uncertainty.ExpectedDice.result`).
    """
    labels = {}
    for name, value in expected.items():
        calibration = reliability.labels.get(name) if reliability is not None else None
        estimate, flag = (
            (None, None) if calibration is None else (calibration.estimate(value), calibration.flags(value))
        )
        labels[name] = LabelEstimate(expected_dice=value, estimate=estimate, flagged=flag)
    mean = mean_of(expected.values())
    foreground = LabelEstimate(
        expected_dice=mean,
        estimate=None if reliability is None else reliability.foreground.estimate(mean),
        flagged=None,
    )
    flags = [label.flagged for label in labels.values() if label.flagged is not None]
    return CaseEstimate(flagged=any(flags) if flags else None, foreground=foreground, labels=labels)


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of the values that exist; None if none does."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def reliability_of(run: Run, configurations: Sequence[str]) -> Reliability | None:
    """What a run's summary.json knows about the expected Dice of these configurations' model; None if nothing."""
    content = read_mapping(run.summary).get("uncertainty") if run.summary.exists() else None
    if not content:
        return None
    reliability = Reliability.from_mapping(content, where=f"{run.summary}: uncertainty")
    return reliability if set(reliability.configurations) == set(configurations) else None


def write_estimates(path: Path, cases: Mapping[str, CaseEstimate], reliability: Reliability | None = None) -> None:
    """Writes `uncertainty.json`, cases sorted by identifier; `CaseEstimates.load` reads it.

    Args:
        reliability: of the model, for the words about how far to rely on its estimates.
    """
    words = None if reliability is None else judgement(reliability.foreground)
    CaseEstimates(judgement=words, cases={case: cases[case] for case in sorted(cases)}).save(path)


def judgement(foreground: LabelReliability) -> str:
    """In words whether the estimate can be relied on, judged by the lower end of the correlation's interval."""
    if foreground.correlation is None or foreground.interval is None:
        return f"cannot be judged: too few validated cases with a value ({foreground.cases})"
    low, high = foreground.interval
    words = next((text for bound, text in _JUDGEMENTS if low > bound), _NOT_SHOWN)
    numbers = f"rank correlation {foreground.correlation:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    return f"{words} ({numbers}, {counted(foreground.cases, 'case')})"
