"""The mean of a data set: an image of its mean intensities in its mean shape, with its mean labels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoseg.data.discovery import discover
from autoseg.data.files import read_image, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import DatasetError
from autoseg.log import logger
from autoseg.records import Record
from autoseg.tasks.registration.methods import RegistrationOptions
from autoseg.tasks.registration.pipeline.mean_grid import mean_grid
from autoseg.tasks.registration.pipeline.request import SubjectsRequest
from autoseg.tasks.registration.pipeline.resuming import begin
from autoseg.tasks.registration.pipeline.subjects import SubjectsWork
from autoseg.tasks.registration.pipeline.template_cases import mean_on_template
from autoseg.tasks.registration.space import Grid, sample
from autoseg.tasks.registration.transforms import Displacement

FILE = "atlas.json"
"""In the output folder: a `MeanAtlas`."""

ITERATIONS = 5

_WORK = "iterations"  # folder of the templates of each iteration, and of cases while one is worked on


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
        method, options, seed: of the registrations.
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
    dataset: Path, out: Path, request: SubjectsRequest | None = None, *, iterations: int = ITERATIONS
) -> MeanAtlas:
    """Writes OUT/template.nii.gz, labels.nii.gz and labels_soft.nii.gz, and atlas.json.

    Starts from the mean of the images laid centre on centre. In each iteration every case is registered to the
    template, the cases are averaged on it, and the mean is taken through the inverse of the mean of the transforms, so
    that the template has the mean shape and leans to no case (Guimond et al. 2000, CVIU 77(2); Joshi et al. 2004,
    NeuroImage 23). The first iteration is without the deformable stage, since the template is blurred then.

    Args:
        dataset: folder in any accepted layout; the labelled cases are taken.
        out: folder to write to.
        request: how the cases are registered; defaults if None.
        iterations: how often; where a call is resumed those that are done count.

    Raises:
        DatasetError: fewer than two cases, planes and volumes mixed, or no case that can be registered.
        WorkspaceError: `out` is in use and the request does not resume, or was begun with other choices.
    """
    request = request or SubjectsRequest()
    data = discover(dataset)
    if len(data.training) < 2:
        raise DatasetError("a mean needs at least two cases with labels", where=dataset, got=len(data.training))
    work = SubjectsWork.of(data, out, request)
    names = {value: name for name, value in data.labels.names.items()}
    labels = tuple(names.get(value, str(value)) for value in data.labels.values)
    atlas = begin(
        out / FILE,
        MeanAtlas(**work.choices, cases=data.identifiers, labels=labels),
        resume=request.resume,
        choices=lambda record: record.with_(iterations=()),
    )
    template = read_image(_template(out, len(atlas.iterations))) if atlas.iterations else _start(work)
    for number in range(len(atlas.iterations) + 1, iterations + 1):
        template, iteration = _iterate(work, template, number, last=number == iterations)
        logger.info(
            "iteration %d of %d: template changed by %.4f, its shape by %.3f mm",
            number,
            iterations,
            iteration.change,
            iteration.shape_change,
        )
        write_image(_template(out, number), template)
        atlas = atlas.with_(iterations=(*atlas.iterations, iteration))
        atlas.save(out / FILE)
    write_image(out / "template.nii.gz", template)
    return atlas


def _template(out: Path, number: int) -> Path:
    return out / _WORK / f"template_{number}.nii.gz"


def _start(work: SubjectsWork) -> Image:
    """The mean of the cases laid centre on centre."""
    grid = mean_grid(work.data, work.workers)
    folder = work.out / _WORK / "0"
    mean = mean_on_template(work, Grid.of(grid.geometry(), grid.shape), folder)
    template = _image(mean.intensities, grid)
    write_image(_template(work.out, 0), template)
    shutil.rmtree(folder)
    return template


def _iterate(work: SubjectsWork, template: Image, number: int, *, last: bool) -> tuple[Image, AtlasIteration]:
    """A better template and how it came about.

    Args:
        work: the data set, and how its cases are registered.
        template: of the iteration before.
        number: of this iteration, from 1.
        last: whether it is the last one, which writes the mean labels too.
    """
    options = work.registration.options
    linear = tuple(stage for stage in options.stages if stage != "deformable")
    if number == 1 and linear and not last:
        options = options.with_(stages=linear)
    grid, folder = Grid.of(template), work.out / _WORK / str(number)
    mean = mean_on_template(
        replace(work, registration=replace(work.registration, options=options)),
        grid,
        folder,
        template=_template(work.out, number - 1),
        with_labels=last,
    )
    back = Displacement(grid, mean.field).inverse()
    points = back(grid.points(torch.zeros(())))
    image = _image(sample(mean.intensities, grid, points), grid)
    if last:
        _write_labels(work, sample(mean.labels, grid, points), template.geometry, grid)
    shutil.rmtree(folder)
    iteration = AtlasIteration(
        stages=options.stages,
        change=float(np.sqrt(np.mean((image.array - template.array) ** 2))),
        shape_change=float(mean.field.norm(dim=0).mean()),
        failed=mean.failed,
    )
    return image, iteration


def _image(values: Tensor, grid: Grid) -> Image:
    """(C, *S) as an image."""
    array = values.numpy().astype(np.float32)
    return Image(array if grid.dimension == 3 else array[:, None], grid.geometry())


def _write_labels(work: SubjectsWork, shares: Tensor, geometry: Geometry, grid: Grid) -> None:
    """Writes the mean labels.

    Args:
        work: the data set and the folder.
        shares: (K, *S) of the cases with each label; they become a channel per label, and the largest one decides.
        geometry: of the file with the deciding labels.
        grid: of the shares.
    """
    write_image(work.out / "labels_soft.nii.gz", _image(shares, grid))
    hard = work.data.labels.decode(shares.argmax(dim=0).numpy())
    write_labels(work.out / "labels.nii.gz", hard if hard.ndim == 3 else hard[None], geometry)
