"""One pass over the files of a data set: check, crop boxes and fingerprint together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from autoseg.data.check import CheckedCase, Problem, compare_cases
from autoseg.data.dataset import Dataset
from autoseg.data.files import load_reader
from autoseg.data.orientation import Orientation
from autoseg.fingerprint.describe import describe
from autoseg.fingerprint.measure import Measurement, check_and_measure
from autoseg.fingerprint.pooling import POOL_SIZE, Pool
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
from autoseg.processes import unordered, usable_cores


@dataclass(frozen=True)
class Scan:
    """What a pass over a data set found.

    Attributes:
        problems: errors and warnings, of the cases in the order of their identifiers, then of the whole.
        fingerprint: None if there are errors.
        checked: the cases without their arrays.
    """

    problems: tuple[Problem, ...]
    fingerprint: Fingerprint | None
    checked: tuple[CheckedCase, ...] = ()


def scan(dataset: Dataset, *, workers: int | None = None) -> Scan:
    """Reads every training case once, in parallel, and reports all problems and the fingerprint.

    Pooled intensities follow nnU-Net v2: the same number of foreground voxels from every case, 100 million in all.

    Args:
        workers: processes; None takes one per usable core.

    Raises:
        AutosegError: a worker was killed. What is wrong with the data is no exception but a `Problem`.
    """
    draws = POOL_SIZE // max(len(dataset.training), 1)
    # each job carries the data set: leave out the lists of files
    outline = dataset.model_copy(update={"training": (), "unlabelled": (), "ignored": ()})
    work = partial(check_and_measure, dataset=outline, draws=draws)
    checked: list[CheckedCase] = []
    measured: list[Measurement] = []
    pool = Pool(len(dataset.channels))
    if dataset.training:
        load_reader(dataset.training[0].images[0])
    for check, measurement in unordered(
        work, dataset.training, "reading and checking", workers=workers or usable_cores()
    ):
        checked.append(check)
        if measurement is not None:
            pool.add(measurement.samples)
            measured.append(measurement)
    checked.sort(key=lambda check: check.case.id)
    problems = [problem for check in checked for problem in check.problems]
    problems += compare_cases(dataset, checked)
    if not any(problem.severity == "error" for problem in problems) and pool.is_empty:
        problems.append(_no_foreground(dataset))
    if any(problem.severity == "error" for problem in problems):
        return Scan(tuple(problems), None, tuple(checked))
    fingerprint = _fingerprint(dataset, measured, pool, dimension=checked[0].dimension or 3)
    return Scan(tuple(problems), fingerprint, tuple(checked))


def _fingerprint(dataset: Dataset, measured: list[Measurement], pool: Pool, *, dimension: int) -> Fingerprint:
    measured = sorted(measured, key=lambda measurement: measurement.fingerprint.id)
    orientation = _majority([measurement.fingerprint.orientation for measurement in measured])
    cases = tuple(_turned(measurement.fingerprint, orientation) for measurement in measured)
    scheme = dataset.labels
    entries = (1 + len(scheme.regions)) if scheme.regions else len(scheme.values)
    return Fingerprint(
        name=dataset.name,
        dimension=dimension,
        channels=dataset.channels,
        outputs=scheme.outputs,
        labels_with_background=entries + (scheme.ignore is not None),
        intensities=pool.statistics(),
        cases=cases,
        median_relative_size=float(np.median([case.relative_size for case in cases])),
        warnings=describe(measured, dataset.channels),
        orientation=orientation,
    )


def _majority(orientations: list[str | None]) -> str | None:
    """The most frequent, of equals the one that comes last in the alphabet: "SPL", as DICOM has axial slices."""
    counts = Counter(code for code in orientations if code is not None)
    return max(counts, key=lambda code: (counts[code], code)) if counts else None


def _turned(case: CaseFingerprint, orientation: str | None) -> CaseFingerprint:
    """A case as if it had been stored in another orientation."""
    turn = Orientation.between(case.orientation, orientation)
    if not turn.changes:
        return case
    z, y, x = turn.order
    axis = case.left_right_axis
    return case.with_(
        shape=(case.shape[z], case.shape[y], case.shape[x]),
        spacing=(case.spacing[z], case.spacing[y], case.spacing[x]),
        crop_box=turn.turn_box(case.crop_box, case.shape),
        left_right_axis=None if axis is None else turn.order.index(axis),
    )


def _no_foreground(dataset: Dataset) -> Problem:
    return Problem(
        code="no-foreground",
        severity="error",
        what="no case has any foreground",
        file=str(dataset.folder),
        expected="labels other than 0 in some case",
        remedy="check that the labels belong to these images",
    )
