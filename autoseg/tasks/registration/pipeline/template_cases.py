"""Cases of a data set laid on a template, and their mean on its grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case
from autoseg.data.files import read_case, read_image
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, DatasetError
from autoseg.log import logger
from autoseg.tasks.registration.pair import prepare
from autoseg.tasks.registration.pipeline.subjects import SubjectRegistration, SubjectsWork
from autoseg.tasks.registration.space import Grid, inside, sample
from autoseg.tasks.registration.transforms import Affine, SpatialTransform, as_displacement

_UNSEEN = 1e-3  # weight of an image continued by its border, where it does not reach: counts where none does


@dataclass(frozen=True)
class CaseMean:
    """Means over the cases on the template's grid.

    Attributes:
        intensities: (C, *S), over the cases that reach a voxel.
        field: (D, *S) mm, without the shift of the whole, which says where cases lie and not how they look.
        labels: (K, *S), share of the cases with each label, background first; K may be 0.
        failed: case -> why it was left out.
    """

    intensities: Tensor
    field: Tensor
    labels: Tensor
    failed: dict[str, str]


@dataclass(frozen=True)
class _TemplateJob:
    """One case to be registered to a template; `template` None lays it there centre on centre."""

    case: Case
    channels: int
    grid: Grid
    template: Path | None
    scheme: LabelScheme | None
    registration: SubjectRegistration
    result: Path


def mean_on_template(
    work: SubjectsWork, grid: Grid, folder: Path, *, template: Path | None = None, with_labels: bool = False
) -> CaseMean:
    """Registers every case to a template, and averages the cases on its grid.

    Args:
        work: the data set, and how its cases are registered.
        grid: the template's.
        folder: for the results of the cases, of which those of an interrupted call are used; its name says which
            iteration this is.
        template: the template's file; None lays the cases centre on centre.
        with_labels: whether labels are averaged too.

    Raises:
        DatasetError: no case can be registered.
    """
    labels = work.data.labels if with_labels else None
    channels = len(work.data.channels)
    jobs = [
        _TemplateJob(case, channels, grid, template, labels, work.registration, folder / f"{case.id}.npz")
        for case in work.data.training
    ]
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = work.run(_lay_on_template, jobs, f"iteration {folder.name}")
    failed = {case: reason for case, reason in outcomes if reason is not None}
    for case, reason in failed.items():
        logger.warning("%s is left out: %s", case, reason)
    if len(failed) == len(jobs):
        raise DatasetError("no case can be registered", where=work.data.folder, got=next(iter(failed.values())))
    return _average(_results(jobs, failed), grid, 0 if labels is None else len(labels.values), failed)


def _lay_on_template(job: _TemplateJob) -> tuple[str, str | None]:
    """Registers a case to the template and saves it there with its displacements; returns why that failed, if so."""
    grid = job.grid
    try:
        image = read_case(job.case, job.channels)
        if job.template is None:
            pair, transform = prepare(image, image), _centred(grid, Grid.of(image))
        else:
            pair, result = job.registration.register(read_image(job.template), image)
            transform = result.transform
        field = as_displacement(transform, grid, like=torch.zeros(()))
        own = Grid.of(image)
        points = grid.points(field.field) + field.field.movedim(0, -1)
        arrays = {
            "intensities": sample(pair.moving, own, points).numpy(),
            "seen": inside(own, points).numpy(),
            "field": field.field.numpy(),
        }
        if job.scheme is not None and job.case.label is not None:
            values = read_case_labels(job.case, image, job.scheme).array
            labels = torch.from_numpy(job.scheme.encode(values).reshape(1, *own.shape))
            arrays["labels"] = sample(labels, own, points, mode="nearest", outside=0)[0].numpy()
    except AutosegError as error:
        return job.case.id, str(error)
    temporary = job.result.with_suffix(".part.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]  # its stub takes the last keyword for a flag
    temporary.replace(job.result)
    return job.case.id, None


def _centred(fixed: Grid, moving: Grid) -> SpatialTransform:
    identity = Affine.identity(fixed.dimension)
    shift = torch.tensor(np.subtract(moving.centre, fixed.centre))
    return Affine(identity.matrix, shift, identity.centre)


def _results(jobs: Sequence[_TemplateJob], failed: dict[str, str]) -> Iterator[dict[str, np.ndarray]]:
    for job in jobs:
        if job.case.id not in failed:
            with np.load(job.result) as content:
                yield dict(content)


def _average(
    results: Iterator[dict[str, np.ndarray]], grid: Grid, label_count: int, failed: dict[str, str]
) -> CaseMean:
    """The means of at least one case.

    Args:
        results: arrays of each case, as `_lay_on_template` saves them.
        grid: the template's.
        label_count: labels to average, background included; 0 for none.
        failed: case -> why it is not among the results.
    """
    weights = torch.zeros(grid.shape)
    field = torch.zeros((grid.dimension, *grid.shape))
    shares = torch.zeros((label_count, *grid.shape))
    total: Tensor | None = None
    count = 0
    for arrays in results:
        weight = torch.from_numpy(arrays["seen"]).float() + _UNSEEN
        intensities = torch.from_numpy(arrays["intensities"]) * weight
        total = intensities if total is None else total + intensities
        weights += weight
        field += torch.from_numpy(arrays["field"])
        for value in range(label_count):
            shares[value] += torch.from_numpy(arrays["labels"] == value)
        count += 1
    assert total is not None
    field /= count
    field -= field.flatten(1).mean(dim=1).reshape(-1, *[1] * grid.dimension)
    return CaseMean(total / weights, field, shares / shares.sum(dim=0).clamp(min=1), failed)
