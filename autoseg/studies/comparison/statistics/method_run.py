"""How a method ran on the folds of a comparison: times, memory and failures, case by case.

Apart from the statistics, so that the processes which methods run in need not import what those need.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from autoseg.records import Record


class CaseRun(Record):
    """One case predicted by one method.

    Attributes:
        seconds: wall-clock time from the files to the labels, writing left out; None if the case failed.
        peak_gb: largest resident memory of the method's process meanwhile, in GB; None where it cannot be measured.
        failure: why there is no prediction; None if there is one.
        shape: voxels per axis, three of a volume and two of a picture (z, y, x); None if the image was not read.
        spacing: mm, of those axes.
    """

    seconds: float | None = None
    peak_gb: float | None = None
    failure: str | None = None
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None


class MethodFold(Record):
    """One method on one fold: fit on its training cases, then its validation cases one after the other.

    Attributes:
        method: its name in the comparison.
        plugin: name of the baseline, or "autoseg".
        description: first line of the plug-in's docstring; empty if that was not reached.
        note: what the method says about itself, such as the run and configuration that it takes.
        fold: name of the fold.
        seed: of everything random.
        options: what it was given beyond that, as text.
        training: identifiers of the cases that it learned from.
        of_training: how many the fold has.
        fit_seconds, fit_peak_gb: of learning; as for a case.
        failure: why it could not be fit; None if it was.
        cases: validation case -> how it went; all of them failed where it was not fit.
    """

    method: str
    plugin: str
    description: str = ""
    note: str = ""
    fold: str
    seed: int
    options: dict[str, str]
    training: tuple[str, ...]
    of_training: int
    fit_seconds: float | None = None
    fit_peak_gb: float | None = None
    failure: str | None = None
    cases: dict[str, CaseRun]


class MethodSummary(Record):
    """One method over all folds of a comparison.

    Attributes:
        name, plugin, description, note: as of `MethodFold`.
        training, of_training: fold -> number of cases that it learned from, and that there are.
        fit_seconds: sum over the folds; None if it was fit on none.
        fit_peak_gb: largest over the folds.
        seconds, longest_seconds: median and maximum of the cases; None without a predicted case.
        peak_gb: largest over the cases.
        failed_fits: fold -> why it could not be fit.
    """

    name: str
    plugin: str
    description: str
    note: str
    training: dict[str, int]
    of_training: dict[str, int]
    fit_seconds: float | None
    fit_peak_gb: float | None
    seconds: float | None
    longest_seconds: float | None
    peak_gb: float | None
    failed_fits: dict[str, str]


def summarise_method(folds: Iterable[MethodFold]) -> MethodSummary:
    """One method over its folds, at least one."""
    folds = tuple(folds)
    cases = [case for fold in folds for case in fold.cases.values()]
    seconds = [case.seconds for case in cases if case.seconds is not None]
    fits = [fold.fit_seconds for fold in folds if fold.fit_seconds is not None]
    return MethodSummary(
        name=folds[0].method,
        plugin=folds[0].plugin,
        description=folds[0].description,
        note="; ".join(dict.fromkeys(fold.note for fold in folds if fold.note)),
        training={fold.fold: len(fold.training) for fold in folds},
        of_training={fold.fold: fold.of_training for fold in folds},
        fit_seconds=sum(fits) if fits else None,
        fit_peak_gb=_largest(fold.fit_peak_gb for fold in folds),
        seconds=median(seconds) if seconds else None,
        longest_seconds=max(seconds, default=None),
        peak_gb=_largest(case.peak_gb for case in cases),
        failed_fits={fold.fold: fold.failure for fold in folds if fold.failure is not None},
    )


def places_of(folds: Iterable[MethodFold]) -> tuple[dict[str, float], dict[str, tuple[float, ...]]]:
    """Of the cases whose image some method has read: case -> diagonal in mm, and case -> spacing in mm."""
    diagonals: dict[str, float] = {}
    spacings: dict[str, tuple[float, ...]] = {}
    for fold in folds:
        for case, run in fold.cases.items():
            if run.shape is not None and run.spacing is not None:
                sides = (n * step for n, step in zip(run.shape, run.spacing, strict=True))
                diagonals[case], spacings[case] = sum(side**2 for side in sides) ** 0.5, run.spacing
    return diagonals, spacings


def failures_of(folds: Iterable[MethodFold]) -> dict[str, str]:
    """Case -> reason, for the cases without a prediction."""
    return {case: run.failure for fold in folds for case, run in fold.cases.items() if run.failure is not None}


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
