"""What differs between a folder and the published challenge that it should hold, in sentences for its user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from autoseg.data.files import load_reader
from autoseg.data.problem import shape_text
from autoseg.errors import AutosegError
from autoseg.log import counted
from autoseg.processes import unordered
from autoseg.studies.benchmark.headers import Look, look_at
from autoseg.studies.benchmark.layout import SourceCase, find_cases
from autoseg.studies.benchmark.reading import label_digest, read_source_labels, to_dataset_values, unknown_values
from autoseg.studies.benchmark.specification import Specification

_NAMED = 20  # cases named in one sentence; of more, as many as this and their number
_SPACING_SLACK = 0.02  # relative; publications round spacings to two digits


@dataclass(frozen=True)
class Difference:
    """One thing in which a folder differs from the specification.

    Attributes:
        kind: stable name for programs: "missing-case", "extra-case", "case-count", "incomplete", "unreadable",
            "channels", "dimension", "shape", "spacing", "label-shape", "label-values" or "label-content".
        text: a sentence for the user, which names the cases.
        cases: identifiers of the cases concerned; empty for what concerns the folder.
    """

    kind: str
    text: str
    cases: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


def verify(
    specification: Specification, data: str | Path, *, voxels: bool = True, workers: int = 1
) -> tuple[Difference, ...]:
    """What differs between a folder and the specification; nothing if the folder is what was published.

    Compared are identifiers (their number, where the specification does not know them), files per case, channels,
    dimension, shapes and spacings from the headers of NIfTI files (other formats are read), and, with `voxels`, the
    labels: their shape, their values, and their content where the specification has its hash. Intensities of images
    are not compared.

    Args:
        data: the unpacked folder.
        voxels: whether label files are read.
        workers: processes.

    Raises:
        DatasetError: no such folder, or no case of the challenge in it.
    """
    cases = find_cases(specification, data)
    differences = list(_compare_identifiers(specification, cases))
    complete = [case for case in cases if not case.missing]
    for case in cases:
        if case.missing:
            text = f"Case {case.id} is incomplete: {', '.join(case.missing)} is not there."
            differences.append(Difference("incomplete", text, (case.id,)))
    if complete:
        load_reader(complete[0].images[0])
    check = partial(_check, specification=specification, voxels=voxels)
    by_case = list(unordered(check, complete, "verifying cases", workers=workers))
    return (*differences, *sorted((one for part in by_case for one in part), key=lambda one: one.cases))


def _compare_identifiers(specification: Specification, cases: Sequence[SourceCase]) -> Iterator[Difference]:
    present = {case.id for case in cases}
    expected = set(specification.cases.all_identifiers)
    if not expected:
        if (published := specification.cases.training) != len(present):
            counting = f"There {'is' if len(present) == 1 else 'are'} {counted(len(present), 'case')}"
            yield Difference("case-count", f"{counting}, and {published} were published.")
        return
    if lacking := sorted(expected - present):
        yield Difference("missing-case", f"{_counted(lacking, 'is', 'are')} missing: {_some(lacking)}.", tuple(lacking))
    if extra := sorted(present - expected):
        yield Difference("extra-case", f"{_counted(extra, 'is', 'are')} not published: {_some(extra)}.", tuple(extra))


def _check(case: SourceCase, specification: Specification, voxels: bool) -> list[Difference]:
    """What differs in one case, whose files are all there."""
    try:
        looks = [look_at(path, case.page, specification.layout) for path in case.images]
    except AutosegError as error:
        return [_unreadable(case, error)]
    differences = list(_check_images(case, looks, specification))
    if not voxels:
        return differences
    try:
        raw = read_source_labels(case, specification.layout).array[0]
    except AutosegError as error:
        return [*differences, _unreadable(case, error)]
    return [*differences, *_check_labels(case, raw, looks[0], specification)]


def _check_images(case: SourceCase, looks: Sequence[Look], specification: Specification) -> Iterator[Difference]:
    channels, published = sum(look.channels for look in looks), len(specification.channels)
    if channels != published and not (channels == 1 and published == 3 and specification.dimension == 2):
        yield _one(case, "channels", f"has {counted(channels, 'channel')}, and {published} were published")
    first = looks[0]
    if any(look.shape != first.shape for look in looks):
        yield _one(case, "shape", "has channels of different shapes")
    flat = specification.dimension == 2 and first.shape[0] == 1  # a plane kept in a format of volumes
    if first.geometry.dimension != specification.dimension and not flat:
        yield _one(case, "dimension", f"is {first.geometry.dimension}D, and {specification.dimension}D was published")
        return
    cases = specification.cases
    axes = len(cases.smallest_shape)
    shape = first.shape[3 - axes :]
    if any(not low <= n <= high for low, n, high in zip(cases.smallest_shape, shape, cases.largest_shape, strict=True)):
        lengths = f"{_numbers(cases.smallest_shape)} to {_numbers(cases.largest_shape)}"
        yield _one(case, "shape", f"has the shape {_numbers(shape)}, and {lengths} were published")
    axes = len(cases.smallest_spacing)
    spacing = first.geometry.spacing[3 - axes :]
    ends = zip(cases.smallest_spacing, spacing, cases.largest_spacing, strict=True)
    if any(not low * (1 - _SPACING_SLACK) <= mm <= high * (1 + _SPACING_SLACK) for low, mm, high in ends):
        lengths = f"{_numbers(cases.smallest_spacing)} to {_numbers(cases.largest_spacing)}"
        yield _one(case, "spacing", f"has the spacing {_numbers(spacing)} mm, and {lengths} mm were published")


def _check_labels(case: SourceCase, raw: np.ndarray, look: Look, specification: Specification) -> Iterator[Difference]:
    if raw.shape != look.shape:
        words = f"the shape {shape_text(raw.shape)}, and its image {shape_text(look.shape)}"
        yield Difference("label-shape", f"The label of case {case.id} has {words}.", (case.id,))
    labels, derived = specification.labels, case.label is None or specification.layout.instances
    if unknown := unknown_values(raw, labels, derived=derived):
        values, allowed = _numbers(unknown, ", "), _numbers(labels.known_values, ", ")
        held = f"the {'value' if len(unknown) == 1 else 'values'} {values}"
        text = f"The label of case {case.id} has {held}, and only {allowed} were published."
        yield Difference("label-values", text, (case.id,))
        return
    published = specification.label_hashes.get(case.id)
    if published is not None and label_digest(to_dataset_values(raw, labels, derived=derived)) != published:
        text = f"The label of case {case.id} is not the published one: voxels were changed."
        yield Difference("label-content", text, (case.id,))


def _one(case: SourceCase, kind: str, words: str) -> Difference:
    return Difference(kind, f"The image of case {case.id} {words}.", (case.id,))


def _unreadable(case: SourceCase, error: AutosegError) -> Difference:
    words = error.subject if error.where is None else f"{error.subject} ({error.where})"
    return Difference("unreadable", f"Case {case.id} cannot be used: {words}.", (case.id,))


def _counted(names: Sequence[str], one: str, many: str) -> str:
    return f"1 case {one}" if len(names) == 1 else f"{len(names)} cases {many}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _numbers(values: Sequence[float], between: str = " x ") -> str:
    return between.join(f"{value:.6g}" for value in values)
