"""Finds what is wrong with a data set, everything at once, reading every file a single time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from autoseg.data import raster
from autoseg.data.case_labels import lay_labels
from autoseg.data.compare import compare_cases
from autoseg.data.dataset import Case, Dataset, Reading
from autoseg.data.digest import image_digest
from autoseg.data.files import (
    ending_of,
    fit_picture,
    placed,
    read_image,
    read_raw_labels,
    stack_channels,
)
from autoseg.data.image import Geometry, Image
from autoseg.data.image_problems import problems_of_image, problems_of_remarks
from autoseg.data.label_values import count_values
from autoseg.data.labels import LabelScheme
from autoseg.data.orientation import orientation_code
from autoseg.data.placement import LARGEST_OFFSET, same_spacing, turned_to
from autoseg.data.problem import CheckedCase, Problem, Severity, format_problem, shape_text
from autoseg.data.rounding import whole_labels
from autoseg.data.segments import label_map
from autoseg.errors import ImageError
from autoseg.log import counted

__all__ = ["CheckedCase", "Problem", "compare_cases", "format_problem", "read_and_check"]

ORIGIN_TOLERANCE = 0.01  # of the smallest voxel spacing: misplacement that no one can see
DIRECTION_TOLERANCE = 1e-3  # difference of a direction cosine


def read_and_check(case: Case, dataset: Dataset) -> CheckedCase:
    """Reads every file of a case once and reports all that is wrong with it. Raises nothing for bad data."""
    problems: list[Problem] = []
    images = [_try_read(path, case.reading, problems) for path in case.images]
    image = _combine(case, images, problems)
    if image is not None:
        image = fit_picture(image, case, len(dataset.channels))
        problems += _check_channels(case, image, dataset)
        problems += problems_of_image(image, case.images, dataset.channels)
    labels: np.ndarray | None = None
    counts: dict[int, int] = {}
    if case.label is not None:
        labels = _read_labels(case, image, dataset.labels, problems)
        if labels is not None:
            counts = count_values(labels)
            problems += _check_values(case, case.label, counts, dataset)
    if image is None:
        return CheckedCase(case, None, labels, tuple(problems), values=counts)
    geometry = image.geometry
    return CheckedCase(
        case,
        image,
        labels,
        tuple(problems),
        digest=image_digest(image),
        shape=image.shape,
        spacing=geometry.spacing,
        dimension=geometry.dimension,
        orientation=orientation_code(geometry),
        values=counts,
        patient=image.identity.get("PatientID"),
    )


def _from_error(code: str, error: ImageError, file: Path) -> Problem:
    return Problem(
        code=code,
        severity="error",
        what=error.subject,
        file=error.where or str(file),
        got=error.got,
        expected=error.expected,
        remedy=error.remedy,
    )


def _try_read(path: Path, reading: Reading, problems: list[Problem]) -> Image | None:
    try:
        return read_image(path, reading)
    except ImageError as error:
        problems.append(_from_error("unreadable", error, path))
        return None


def _combine(case: Case, images: Sequence[Image | None], problems: list[Problem]) -> Image | None:
    readable = [image for image in images if image is not None]
    if len(readable) < len(images) or not readable:
        return None
    for path, image in zip(case.images[1:], readable[1:], strict=True):
        trust = case.reading.trust_arrays
        problems += _compare_places(path, image, case.images[0], readable[0], spacing_severity="error", trust=trust)
    try:
        return stack_channels(case.images, readable, trust=case.reading.trust_arrays)
    except ImageError:
        return None  # _compare_places has reported it, for every file


def _compare_places(
    path: Path, image: Image, reference: Path, other: Image, *, spacing_severity: Severity, trust: bool
) -> list[Problem]:
    """Differences in shape, spacing and place between a file and the case's first image file.

    Args:
        path, image: of the file.
        reference, other: of the image file that it is compared with.
        spacing_severity: of a wrong spacing.
        trust: whether arrays are laid on each other by their indices all the same.
    """
    told = f"in {reference.name}"
    problems = []

    def add(code: str, severity: Severity, what: str, got: str, expected: str, remedy: str) -> None:
        problems.append(
            Problem(code=code, severity=severity, what=what, file=str(path), got=got, expected=expected, remedy=remedy)
        )

    turned, beside = turned_to(image, other) if placed(path) and placed(reference) else (image, 0.0)
    if turned.geometry != image.geometry and turned.shape == other.shape and beside <= LARGEST_OFFSET:
        own, wanted = orientation_code(image.geometry) or "a plane", orientation_code(other.geometry)
        add("other-axes", "warning", "it is stored with other axes than its image", own, f"{wanted} {told}",
            "none: it is turned to the image's axes")  # fmt: skip
    if turned.shape != other.shape:
        add("shape-mismatch", "error", "the shape differs from the image's", shape_text(image.shape),
            f"{shape_text(other.shape)} {told}", "resample to one grid")  # fmt: skip
    a, b = turned.geometry if beside <= LARGEST_OFFSET else image.geometry, other.geometry
    if not same_spacing(a, b):
        add("spacing-mismatch", spacing_severity, "the spacing differs from the image's", f"{_numbers(a.spacing)} mm",
            f"{_numbers(b.spacing)} mm {told} (within 0.1 %)",
            "correct the header or resample to one grid")  # fmt: skip
    severity: Severity = "error" if beside > LARGEST_OFFSET and not trust else "warning"
    remedy = "check that they lie on each other; the first image's place is used"
    if severity == "error":
        remedy = "correct the header, or give --trust-arrays if the arrays correspond all the same"
    tolerance = ORIGIN_TOLERANCE * min(b.spacing)
    if math.dist(a.origin, b.origin) > tolerance:
        add("origin-mismatch", severity, "the origin differs from the image's", f"{_numbers(a.origin)} mm",
            f"{_numbers(b.origin)} mm {told} (within {tolerance:.3g} mm)", remedy)  # fmt: skip
    if np.abs(np.subtract(a.direction, b.direction)).max() > DIRECTION_TOLERANCE:
        add("direction-mismatch", severity, "the axis directions differ from the image's", _directions(a),
            f"{_directions(b)} {told} (within {DIRECTION_TOLERANCE:g})", remedy)  # fmt: skip
    return problems


def _check_channels(case: Case, image: Image, dataset: Dataset) -> list[Problem]:
    expected = len(dataset.channels)
    if len(image.array) == expected or case.id in dataset.missing_channels:
        return []
    return [
        Problem(
            code="channel-count",
            severity="error",
            what="the number of channels is not the data set's",
            file=str(case.images[0]),
            got=f"{len(image.array)} in {counted(len(case.images), 'file')}",
            expected=f"{expected} ({', '.join(dataset.channels)})",
            remedy="give every case the same channels, as files x_0000, x_0001, ... or as one image",
        )
    ]


def _read_labels(case: Case, image: Image | None, scheme: LabelScheme, problems: list[Problem]) -> np.ndarray | None:
    path = case.label
    assert path is not None
    try:
        raw = read_raw_labels(path, image, case.reading)
    except ImageError as error:
        problems.append(_from_error("unreadable", error, path))
        return None
    try:
        labels = whole_labels(raw, path)
    except ImageError as error:
        problems.append(_from_error("label-not-integer", error, path))
        return None
    if labels.segments:
        return _named_values(labels, case, image, scheme, problems)
    problems += problems_of_remarks(labels.remarks, path)
    if image is None:
        return labels.array[0]
    # A TIFF without tags states no spacing; that is no contradiction.
    silent = ending_of(path) in raster.TIFF_ENDINGS and set(raw.geometry.spacing[1:]) == {1.0}
    problems += _compare_places(
        path,
        raw,
        case.images[0],
        image,
        spacing_severity="warning" if silent else "error",
        trust=case.reading.trust_arrays,
    )
    try:
        return lay_labels(labels, path, image, case).array[0]
    except ImageError:  # _compare_places has told it; the values can be looked at all the same
        return labels.array[0] if labels.shape == image.shape else None


def _named_values(
    labels: Image, case: Case, image: Image | None, scheme: LabelScheme, problems: list[Problem]
) -> np.ndarray | None:
    """The values of structures with names, which need not cover the whole image."""
    assert case.label is not None
    try:
        laid = labels if image is None else lay_labels(labels, case.label, image, case)
        valued = label_map(laid, scheme, case.label)
    except ImageError as error:
        problems.append(_from_error("structures", error, case.label))
        return None
    problems += problems_of_remarks(valued.remarks, case.label)
    return valued.array[0]


def _check_values(case: Case, path: Path, counts: Mapping[int, int], dataset: Dataset) -> list[Problem]:
    """Values that the data set does not have, negative ones by themselves, or no foreground."""
    scheme = dataset.labels
    allowed = set(scheme.file_values)
    negative = [value for value in counts if value < 0 and value not in allowed]
    others = [value for value in counts if value >= 0 and value not in allowed]
    add = "to --labels" if case.reading.labels else "in dataset.json"
    problems = []
    if negative:
        problems.append(
            Problem(
                code="negative-labels",
                severity="error",
                what="the labels have negative values",
                file=str(path),
                got=_with_voxels(negative, counts),
                expected="0 for background and whole numbers above it",
                remedy="correct the labels; for voxels without annotation take another value and name it "
                '"ignore" in dataset.json',
            )
        )
    if others:
        problems.append(
            Problem(
                code="label-values",
                severity="error",
                what="the labels have values that the data set does not name",
                file=str(path),
                got=_with_voxels(others, counts),
                expected=", ".join(str(value) for value in sorted(allowed)),
                remedy=f"correct the labels, or name the value {add}",
            )
        )
    if problem := _not_looked_for(case, path, counts.keys(), dataset):
        problems.append(problem)
    if not problems and not counts.keys() & {value for values in scheme.foreground.values() for value in values}:
        problems.append(
            Problem(
                code="empty-label",
                severity="warning",
                what="the labels hold no foreground",
                file=str(path),
                got=f"only {', '.join(str(value) for value in sorted(counts))}",
                expected="at least one labelled structure",
                remedy="fine if nothing is to be seen in this image; else add the labels",
            )
        )
    return problems


def _with_voxels(values: Sequence[int], counts: Mapping[int, int]) -> str:
    """Values with their numbers of voxels, ten at most."""
    shown = [f"{value} ({counted(counts[value], 'voxel')})" for value in values[:10]]
    return ", ".join(shown) + (", ..." if len(values) > 10 else "")


def _not_looked_for(case: Case, path: Path, present: Collection[int], dataset: Dataset) -> Problem | None:
    """Labels of classes that the case's row of the table of annotated classes does not name."""
    if case.annotated is None:
        return None
    foreground = dataset.labels.foreground
    named = {value for name in case.annotated for value in foreground[name]}
    others = [name for name, values in foreground.items() if (set(values) - named).intersection(present)]
    if not others:
        return None
    return Problem(
        code="label-not-annotated",
        severity="error",
        what=f"case {case.id} has labels of classes that were not looked for in it",
        file=str(path),
        got=", ".join(others),
        expected=f"no more than {', '.join(case.annotated)}, as the table of annotated classes says",
        remedy="name these classes in the case's row if they are labelled wherever they are, else remove their labels",
    )


def _numbers(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _directions(geometry: Geometry) -> str:
    return "[" + " ".join(_numbers(row) for row in geometry.direction) + "]"
