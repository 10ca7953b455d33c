"""What lets the same thing stand on both sides of a split: several images of a patient, one image under two names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from autoseg.data.dataset import Case, Dataset
from autoseg.data.digest import image_digest
from autoseg.data.files import fit_picture, load_reader, read_image, stack_channels
from autoseg.data.grouping import likely_groups
from autoseg.data.problem import CheckedCase, Problem, examples
from autoseg.errors import ImageError
from autoseg.processes import unordered

PATIENTS = frozenset({"patient-names", "patient-identifiers"})
"""Codes of problems that are settled once the cases are grouped by patient."""


def leaks(dataset: Dataset, cases: Sequence[CheckedCase]) -> list[Problem]:
    """Training cases that look as if they were of one patient, or are one image."""
    return [*_patients_by_name(dataset), *_patients_by_identifier(dataset, cases), *_duplicates(cases)]


def seen_test_images(dataset: Dataset, cases: Iterable[CheckedCase], *, workers: int) -> list[Problem]:
    """Images of the test folder that are training cases under another name; those that cannot be read are told too.

    Args:
        dataset: whose `unlabelled` images are read.
        cases: its training cases, checked.
        workers: processes.
    """
    trained: dict[str, Case] = {item.digest: item.case for item in cases if item.digest is not None}
    jobs = [(case, len(dataset.channels)) for case in dataset.unlabelled]
    if not jobs or not trained:
        return []
    load_reader(jobs[0][0].images[0])
    found: dict[str, tuple[Case, Problem | str]] = {}
    for case, result in unordered(_digest_of_test_image, jobs, "reading test images", workers=workers, patience=1.0):
        found[case.id] = case, result
    problems = []
    for case, result in (found[name] for name in sorted(found)):
        if isinstance(result, Problem):
            problems.append(result)
        elif result in trained:
            problems.append(
                Problem(
                    code="test-image-trained-on",
                    severity="warning",
                    what="the test image is a training image",
                    file=str(case.images[0]),
                    got=f"the voxels of {trained[result].id}",
                    expected="images that the model has not seen",
                    remedy="remove it from one of the two",
                )
            )
    return problems


def _digest_of_test_image(job: tuple[Case, int]) -> tuple[Case, Problem | str]:
    case, channels = job
    try:
        image = stack_channels(case.images, [read_image(path) for path in case.images])
    except ImageError as error:
        return case, Problem(
            code="test-image-unreadable",
            severity="warning",
            what=f"the test image cannot be used: {error.subject}",
            file=error.where or str(case.images[0]),
            got=error.got,
            expected=error.expected,
            remedy=error.remedy,
        )
    return case, image_digest(fit_picture(image, case, channels))


def _patients_by_name(dataset: Dataset) -> list[Problem]:
    groups = likely_groups(dataset.identifiers)
    if groups is None:
        return []
    return [
        Problem(
            code="patient-names",
            severity="warning",
            what="identifiers look as if several cases were of one patient, who would be trained on and validated on",
            file=str(dataset.folder),
            got=f"several cases of {groups.shared} of {groups.patients} patients ({examples(groups.example)})",
            expected="each patient's cases on one side of the splits",
            remedy=f"if so, --group-by '{groups.pattern}'",
        )
    ]


def _patients_by_identifier(dataset: Dataset, cases: Sequence[CheckedCase]) -> list[Problem]:
    patients: dict[str, list[str]] = defaultdict(list)
    for item in cases:
        if item.patient:
            patients[item.patient].append(item.case.id)
    shared = {patient: names for patient, names in patients.items() if len(names) > 1}
    if not shared:
        return []
    shown = [f"{patient!r}: {examples(names)}" for patient, names in sorted(shared.items())]
    return [
        Problem(
            code="patient-identifiers",
            severity="warning",
            what="several cases have one PatientID in their DICOM headers",
            file=str(dataset.folder),
            got=f"{len(shared)} of {len(patients)} patients ({examples(shown, '; ')})",
            expected="each patient's cases on one side of the splits",
            remedy="unless the identifiers were overwritten: a table of the columns case and patient, and "
            "--group-by TABLE.csv:patient",
        )
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
