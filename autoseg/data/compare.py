"""Finds what is wrong with a data set as a whole, once every case has been read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from autoseg.data.dataset import Dataset
from autoseg.data.label_values import stray_values, uses_of_values
from autoseg.data.labels import LabelScheme
from autoseg.data.leakage import leaks
from autoseg.data.problem import CheckedCase, Problem, examples, shape_text
from autoseg.log import counted

FEW_CASES = 5  # fewer make cross-validation with nnU-Net's five folds impossible


def compare_cases(dataset: Dataset, checked: Iterable[CheckedCase]) -> list[Problem]:
    """What is wrong with the data set as a whole, from the summaries of its training cases.

    Finds images without label, labels without image, listed files that are missing, missing channels, too few cases,
    mixed dimensionality and orientation, label values that hardly occur where nobody described the labels, cases that
    look as if they were of one patient, and images with the same content under two names. What was assumed of the data
    set is told too.
    """
    cases = sorted(checked, key=lambda item: item.case.id)
    return [
        *_unmatched(dataset),
        *_missing_channels(dataset),
        *_too_few(dataset),
        *_mixed_dimensions(dataset, cases),
        *_mixed_orientations(dataset, cases),
        *_stray_values(dataset, cases),
        *_values_of_one_class(dataset, cases),
        *leaks(dataset, cases),
        *_assumptions(dataset),
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
            what="the case lacks a channel",
            file=str(folders.get(case, dataset.folder) / names[0]),
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


def _mixed_orientations(dataset: Dataset, cases: Sequence[CheckedCase]) -> list[Problem]:
    groups: dict[str, list[str]] = defaultdict(list)
    for item in cases:
        if item.orientation is not None:
            groups[item.orientation].append(item.case.id)
    if len(groups) < 2:
        return []
    ordered = sorted(groups, key=lambda code: (-len(groups[code]), code))
    return [
        Problem(
            code="mixed-orientations",
            severity="warning",
            what="the arrays of the images run in different directions through the patient",
            file=str(dataset.folder),
            got="; ".join(f"{code} in {counted(len(groups[code]), 'case')} ({examples(groups[code])})"
                          for code in ordered),
            expected=f"{ordered[0]} in all: sides of the patient to which the axes z, y, x run",
            remedy="look whether the headers are right; images are turned by them to the commonest directions",
        )
    ]  # fmt: skip


def _stray_values(dataset: Dataset, cases: Sequence[CheckedCase]) -> list[Problem]:
    """Values of labels that nobody described which hardly occur: each is a class all the same."""
    if dataset.layout != "plain" or any(case.reading.labels for case in dataset.training):
        return []
    labelled = {item.case.id: item for item in cases if item.values}
    uses = uses_of_values({case: item.values for case, item in labelled.items()})
    problems = []
    for value, use in stray_values(uses, len(labelled)).items():
        if value < 0:
            continue  # an error of its file
        meaning = _meaning(dataset.labels, value)
        usual = examples([_meaning(dataset.labels, other) for other in uses if other > 0 and other != value])
        named = meaning != str(value)
        problems.append(
            Problem(
                code="stray-values",
                severity="warning",
                what="few voxels or one case alone have a structure, or lie in several at once"
                if named
                else "few voxels or one case alone have a label value that becomes a class",
                file=str(labelled[use.cases[0]].case.label),
                got=f"{meaning}: {counted(use.voxels, 'voxel')} ({use.share:.2g} of the labelled ones) in "
                f"{len(use.cases)} of {counted(len(labelled), 'case')} ({examples(use.cases)})",
                expected=f"{'structures' if named else 'a value'} like the others ({usual})" if usual else None,
                remedy=f"correct the labels, or name the {'structures' if named else 'values'} that are classes: "
                f"{'' if named else '--labels, or '}a dataset.json",
            )
        )
    return problems


def _values_of_one_class(dataset: Dataset, cases: Sequence[CheckedCase]) -> list[Problem]:
    """Masks of a single value that is not the same in all files, as 0/1 and 0/255 are, where nobody described them."""
    if dataset.layout != "plain" or any(item.case.reading.labels for item in cases):
        return []
    uses = uses_of_values({item.case.id: item.values for item in cases if item.values})
    if len(uses) != 2 or not {1, 255} & uses.keys():
        return []
    (one, first), (other, second) = uses.items()
    if set(first.cases) & set(second.cases):
        return []
    return [
        Problem(
            code="values-of-one-class",
            severity="warning",
            what="no label file has both values that occur, so that they may be one class written in two ways",
            file=str(dataset.folder),
            got=f"{one} in {counted(len(first.cases), 'file')} ({first.cases[0]}), "
            f"{other} in {counted(len(second.cases), 'file')} ({second.cases[0]})",
            remedy="if so, write the labels with one value; else describe them in a dataset.json",
        )
    ]


def _meaning(scheme: LabelScheme, value: int) -> str:
    """What a value is called: names of the label or the regions that have it, the value itself if none has."""
    return " + ".join(name for name, values in scheme.foreground.items() if value in values) or str(value)


def _assumptions(dataset: Dataset) -> list[Problem]:
    found = [
        Problem(code="assumption", severity="note", what=text, file=str(dataset.folder)) for text in dataset.warnings
    ]
    if dataset.labels.zero_is_class:
        (name,) = [name for name, value in dataset.labels.names.items() if value == 0]
        found.append(
            Problem(
                code="zero-is-class",
                severity="note",
                what="value 0 is a class that is scored like the others, and no voxel is background",
                file=str(dataset.folder / "dataset.json"),
                got=f"the name {name!r}",
                remedy='if it is background, name it so, or say "zero_is_class": false in dataset.json',
            )
        )
    return found
