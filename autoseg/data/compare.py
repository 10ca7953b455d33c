"""Finds what is wrong with a data set as a whole, once every case has been read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from autoseg.data.dataset import Dataset
from autoseg.data.problem import CheckedCase, Problem, shape_text
from autoseg.log import counted

FEW_CASES = 5  # fewer make cross-validation with nnU-Net's five folds impossible


def compare_cases(dataset: Dataset, checked: Iterable[CheckedCase]) -> list[Problem]:
    """What is wrong with the data set as a whole, from the summaries of its training cases.

    Finds images without label, labels without image, listed files that are missing, missing channels, too few cases,
    mixed dimensionality, and images with the same content under two names.
    """
    cases = sorted(checked, key=lambda item: item.case.id)
    return [
        *_unmatched(dataset),
        *_missing_channels(dataset),
        *_too_few(dataset),
        *_mixed_dimensions(dataset, cases),
        *_duplicates(cases),
    ]


def _unmatched(dataset: Dataset) -> list[Problem]:
    missing = [
        Problem(
            code="missing-file", severity="error", what="the file is listed in dataset.json but is not there",
            file=str(path), remedy="add the file or take it from the list",
        )
        for path in dataset.missing_files
    ]  # fmt: skip
    images = [
        Problem(
            code="image-without-label", severity="error", what="the image has no label", file=str(path),
            expected="a label file of the same name", remedy="add the label, or move the image to imagesTs",
        )
        for path in dataset.unmatched_images
    ]  # fmt: skip
    labels = [
        Problem(
            code="label-without-image", severity="error", what="the label has no image", file=str(path),
            expected="an image file of the same name", remedy="add the image, or remove the label",
        )
        for path in dataset.unmatched_labels
    ]  # fmt: skip
    return [*missing, *images, *labels]


def _missing_channels(dataset: Dataset) -> list[Problem]:
    folders = {case.id: case.images[0].parent for case in dataset.training}
    return [
        Problem(
            code="missing-channel",
            severity="error",
            what=f"case {case} lacks a channel",
            file=str(folders.get(case, dataset.folder)),
            got=f"{len(dataset.channels) - len(names)} of {counted(len(dataset.channels), 'channel')}",
            expected=", ".join(names),
            remedy="add the file, or remove the case",
        )
        for case, names in dataset.missing_channels.items()
    ]


def _too_few(dataset: Dataset) -> list[Problem]:
    count = len(dataset.training)
    if count >= FEW_CASES:
        return []
    return [
        Problem(
            code="few-cases",
            severity="error" if count < 2 else "warning",
            what="there are too few cases with labels" if count < 2 else "there are few cases with labels",
            file=str(dataset.folder),
            got=str(count),
            expected="at least 2 (one to train on, one to validate on)" if count < 2 else f"at least {FEW_CASES}",
            remedy="add labelled cases" if count < 2 else "fewer folds are made; distrust the scores",
        )
    ]


def _mixed_dimensions(dataset: Dataset, cases: Sequence[CheckedCase]) -> list[Problem]:
    groups: dict[int, list[CheckedCase]] = defaultdict(list)
    for item in cases:
        if item.dimension is not None:
            groups[item.dimension].append(item)
    if len(groups) < 2:
        return []
    usual = max(groups, key=lambda dimension: len(groups[dimension]))
    return [
        Problem(
            code="mixed-dimensions",
            severity="error",
            what=f"the image is {dimension}D among {usual}D images",
            file=str(item.case.images[0]),
            got=f"shape {shape_text(item.shape)}" if item.shape is not None else None,
            expected=f"{usual}D, as {len(groups[usual])} of {len(cases)} images are",
            remedy="make two data sets of it",
        )
        for dimension, items in groups.items()
        if dimension != usual
        for item in items
    ]


def _duplicates(cases: Sequence[CheckedCase]) -> list[Problem]:
    groups: dict[str, list[CheckedCase]] = defaultdict(list)
    for item in cases:
        if item.digest is not None:
            groups[item.digest].append(item)
    return [
        Problem(
            code="duplicate-images",
            severity="warning",
            what="images of several cases have the same content, which leaks from training to validation",
            file=str(items[0].case.images[0]),
            got=", ".join(item.case.id for item in items),
            expected="every image once",
            remedy="remove all but one of them",
        )
        for items in groups.values()
        if len(items) > 1
    ]
