"""The mean of a data set: an image of its mean intensities in its mean shape, with its mean labels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import read_case, read_image, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, DatasetError
from autoseg.log import logger
from autoseg.processes import unordered
from autoseg.records import Record
from autoseg.tasks.registration.methods import RegistrationOptions
from autoseg.tasks.registration.pair import prepare
from autoseg.tasks.registration.pipeline.grid import mean_grid
from autoseg.tasks.registration.pipeline.resuming import begin
from autoseg.tasks.registration.pipeline.subjects import SubjectRegistration, lay_on, processes_for
from autoseg.tasks.registration.space import Grid, inside, sample
from autoseg.tasks.registration.transforms import Affine, Displacement, SpatialTransform, as_displacement
from autoseg.training.runtime import find_device

FILE = "atlas.json"
"""In the output folder: a `MeanAtlas`."""

ITERATIONS = 5

_WORK = "iterations"  # folder of the templates of each iteration, and of cases while one is worked on
_UNSEEN = 1e-3  # weight of an image continued by its border, where it does not reach: counts where none does


class AtlasIteration(Record):
    """One round: all cases registered to the template, then a new template.

    Attributes:
        stages: of the registrations.
        change: root mean square of the difference to the template before, intensities being from 0 to 1.
        shape_change: mean length in mm of the mean displacement, without its shift: how far the template's shape was
            from the mean shape.
        failed: case -> why it was left out.
    """

    stages: tuple[str, ...]
    change: float
    shape_change: float
    failed: dict[str, str] = {}


class MeanAtlas(Record):
    """What `atlas.json` holds.

    Attributes:
        dataset: its folder.
        cases: identifiers.
        labels: channel of labels_soft.nii.gz -> name; the first is background.
        iterations: in order.
    """

    dataset: str
    method: str
    options: RegistrationOptions
    seed: int
    cases: tuple[str, ...]
    labels: tuple[str, ...] = ()
    iterations: tuple[AtlasIteration, ...] = ()


def build_atlas(
    dataset: Path,
    out: Path,
    *,
    iterations: int = ITERATIONS,
    method: str = "multi-stage",
    options: RegistrationOptions | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    resume: bool = False,
    plugin_files: Sequence[Path] = (),
) -> MeanAtlas:
    """Writes OUT/template.nii.gz, labels.nii.gz and labels_soft.nii.gz, and atlas.json.

    Starts from the mean of the images laid centre on centre. In each iteration every case is registered to the
    template, the cases are averaged on it, and the mean is taken through the inverse of the mean of the transforms, so
    that the template has the mean shape and leans to no case (Guimond et al. 2000, CVIU 77(2); Joshi et al. 2004,
    NeuroImage 23). The first iteration is without the deformable stage, since the template is blurred then.

    Args:
        dataset: folder in any accepted layout; the labelled cases are taken.
        out: folder to write to.
        iterations: how often; with `resume` those that are done count.
        method, options, seed, device: as of `registration.methods.register`.
        workers: processes; one a usable core by default.
        resume: go on in a folder where the same was begun.
        plugin_files: Python files that register plug-ins, for other processes.

    Raises:
        DatasetError: fewer than two cases, planes and volumes mixed, or no case that can be registered.
        WorkspaceError: `out` is in use and `resume` is off, or was begun with other choices.
    """
    data = discover(dataset)
    if len(data.training) < 2:
        raise DatasetError("a mean needs at least two cases with labels", where=dataset, got=len(data.training))
    fit = SubjectRegistration(method, options or RegistrationOptions(), seed, find_device(device), tuple(plugin_files))
    names = {value: name for name, value in data.labels.names.items()}
    atlas = MeanAtlas(
        dataset=str(data.folder),
        method=method,
        options=fit.options,
        seed=seed,
        cases=data.identifiers,
        labels=tuple(names.get(value, str(value)) for value in data.labels.values),
    )
    atlas = begin(out / FILE, atlas, resume=resume, choices=lambda one: one.with_(iterations=()))
    work = _Work(data, fit, out, processes_for(fit.device, workers))
    template = _start(work) if not atlas.iterations else read_image(_template(out, len(atlas.iterations)))
    for number in range(len(atlas.iterations) + 1, iterations + 1):
        template, done = _iterate(work, template, number, last=number == iterations)
        logger.info(
            "iteration %d of %d: template changed by %.4f, its shape by %.3f mm",
            number,
            iterations,
            done.change,
            done.shape_change,
        )
        write_image(_template(out, number), template)
        atlas = atlas.with_(iterations=(*atlas.iterations, done))
        atlas.save(out / FILE)
    write_image(out / "template.nii.gz", template)
    return atlas


@dataclass(frozen=True)
class _Work:
    """What all iterations share."""

    data: Dataset
    fit: SubjectRegistration
    out: Path
    workers: int


@dataclass(frozen=True)
class _TemplateJob:
    """One case to be registered to a template; `template` None lays it there centre on centre."""

    case: Case
    channels: int
    place: Geometry
    shape: tuple[int, ...]
    template: Path | None
    scheme: LabelScheme | None
    fit: SubjectRegistration
    path: Path


def _template(out: Path, number: int) -> Path:
    return out / _WORK / f"template_{number}.nii.gz"


def _start(work: _Work) -> Image:
    """The mean of the cases laid centre on centre."""
    grid = mean_grid(work.data, work.workers)
    folder = work.out / _WORK / "0"
    jobs = _jobs(work, folder, grid.geometry(), grid.shape, None, None)
    failed = _run(work, jobs, "iteration 0")
    found = _average(_results(jobs, failed), grid)
    template = _image(found.intensities, grid)
    write_image(_template(work.out, 0), template)
    shutil.rmtree(folder)
    return template


def _iterate(work: _Work, template: Image, number: int, *, last: bool) -> tuple[Image, AtlasIteration]:
    """A better template; the last iteration writes the mean labels too."""
    options = work.fit.options
    linear = tuple(stage for stage in options.stages if stage != "deformable")
    if number == 1 and linear and not last:
        options = options.with_(stages=linear)
    grid, folder = Grid.of(template), work.out / _WORK / str(number)
    fit = SubjectRegistration(work.fit.method, options, work.fit.seed, work.fit.device, work.fit.plugin_files)
    jobs = _jobs(
        _Work(work.data, fit, work.out, work.workers),
        folder,
        template.geometry,
        template.shape,
        _template(work.out, number - 1),
        work.data.labels if last else None,
    )
    failed = _run(work, jobs, f"iteration {number}")
    found = _average(_results(jobs, failed), grid, len(work.data.labels.values) if last else 0)
    back = Displacement(grid, found.field).inverse()
    points = back(grid.points(torch.zeros(())))
    image = _image(sample(found.intensities, grid, points), grid)
    if last:
        _write_labels(work, sample(found.labels, grid, points), template.geometry, grid)
    shutil.rmtree(folder)
    done = AtlasIteration(
        stages=options.stages,
        change=float(np.sqrt(np.mean((image.array - template.array) ** 2))),
        shape_change=float(found.field.norm(dim=0).mean()),
        failed=failed,
    )
    return image, done


def _jobs(
    work: _Work,
    folder: Path,
    place: Geometry,
    shape: Sequence[int],
    template: Path | None,
    scheme: LabelScheme | None,
) -> list[_TemplateJob]:
    channels = len(work.data.channels)
    return [
        _TemplateJob(case, channels, place, tuple(shape), template, scheme, work.fit, folder / f"{case.id}.npz")
        for case in work.data.training
    ]


def _run(work: _Work, jobs: Sequence[_TemplateJob], title: str) -> dict[str, str]:
    """Does the jobs whose results are not there from an interrupted call; returns case -> why it failed."""
    jobs[0].path.parent.mkdir(parents=True, exist_ok=True)
    left = [job for job in jobs if not job.path.exists()]
    failed = {case: why for case, why in unordered(_lay, left, title, workers=work.workers) if why is not None}
    for case, why in failed.items():
        logger.warning("%s is left out: %s", case, why)
    if len(failed) == len(jobs):
        raise DatasetError("no case can be registered", where=work.data.folder, got=next(iter(failed.values())))
    return failed


def _lay(job: _TemplateJob) -> tuple[str, str | None]:
    """Registers a case to the template and saves it there with its displacements; returns why that failed, if so."""
    grid = Grid.of(job.place, job.shape)
    try:
        image = read_case(job.case, job.channels)
        if job.template is None:
            pair, transform = prepare(image, image), _centred(grid, Grid.of(image))
        else:
            pair, result = lay_on(read_image(job.template), image, job.fit)
            transform = result.transform
        field = as_displacement(transform, grid, like=torch.zeros(()))
        own = Grid.of(image)
        places = grid.points(field.field) + field.field.movedim(0, -1)
        found = {
            "intensities": sample(pair.moving, own, places).numpy(),
            "seen": inside(own, places).numpy(),
            "field": field.field.numpy(),
        }
        if job.scheme is not None and job.case.label is not None:
            labels = torch.from_numpy(job.scheme.encode(read_labels(job.case.label).array).reshape(1, *own.shape))
            found["labels"] = sample(labels, own, places, mode="nearest", outside=0)[0].numpy()
    except AutosegError as error:
        return job.case.id, str(error)
    temporary = job.path.with_suffix(".part.npz")
    np.savez(temporary, **found)  # type: ignore[arg-type]  # its stub takes the last keyword for a flag
    temporary.replace(job.path)
    return job.case.id, None


def _centred(fixed: Grid, moving: Grid) -> SpatialTransform:
    identity = Affine.identity(fixed.dimension)
    shift = torch.tensor(np.subtract(moving.centre, fixed.centre))
    return Affine(identity.matrix, shift, identity.centre)


def _results(jobs: Sequence[_TemplateJob], failed: dict[str, str]) -> Iterator[dict[str, np.ndarray]]:
    for job in jobs:
        if job.case.id not in failed:
            with np.load(job.path) as content:
                yield dict(content)


@dataclass(frozen=True)
class _Mean:
    """Means over the cases on the template's grid.

    Attributes:
        intensities: (C, *S), over the cases that reach a voxel.
        field: (D, *S) mm, without the shift of the whole, which says where cases lie and not how they look.
        labels: (K, *S), share of the cases with each label, background first; K may be 0.
    """

    intensities: Tensor
    field: Tensor
    labels: Tensor


def _average(results: Iterator[dict[str, np.ndarray]], grid: Grid, labels: int = 0) -> _Mean:
    weights = torch.zeros(grid.shape)
    field = torch.zeros((grid.dimension, *grid.shape))
    shares = torch.zeros((labels, *grid.shape))
    total: Tensor | None = None
    count = 0
    for found in results:
        weight = torch.from_numpy(found["seen"]).float() + _UNSEEN
        intensities = torch.from_numpy(found["intensities"]) * weight
        total = intensities if total is None else total + intensities
        weights += weight
        field += torch.from_numpy(found["field"])
        for value in range(labels):
            shares[value] += torch.from_numpy(found["labels"] == value)
        count += 1
    assert total is not None
    field /= count
    field -= field.flatten(1).mean(dim=1).reshape(-1, *[1] * grid.dimension)
    return _Mean(total / weights, field, shares / shares.sum(dim=0).clamp(min=1))


def _image(values: Tensor, grid: Grid) -> Image:
    """(C, *S) as an image."""
    array = values.numpy().astype(np.float32)
    return Image(array if grid.dimension == 3 else array[:, None], grid.geometry())


def _write_labels(work: _Work, shares: Tensor, place: Geometry, grid: Grid) -> None:
    """The shares, a channel a label, and the label with the largest one."""
    write_image(work.out / "labels_soft.nii.gz", _image(shares, grid))
    hard = work.data.labels.decode(shares.argmax(dim=0).numpy())
    write_labels(work.out / "labels.nii.gz", hard if hard.ndim == 3 else hard[None], place)
