"""From an image as it lies on disk to plan space: transpose, crop, normalise, resample; one case or a data set."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import Protocol, TypeVar

import numpy as np

from autoseg.allocation import machine_memory
from autoseg.data.case_labels import read_case_labels
from autoseg.data.crop import bounding_box, nonzero_mask
from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import load_reader, read_case
from autoseg.data.image import CropBox, Image
from autoseg.data.labels import OUTSIDE
from autoseg.data.orientation import Orientation, orientation_code
from autoseg.errors import AutosegError, ImageError
from autoseg.plan.record import STORED, ConfigurationPlan, Plan
from autoseg.plugins import resolve
from autoseg.preprocessing.class_locations import class_locations
from autoseg.preprocessing.normalize import Normalization
from autoseg.preprocessing.record import CaseProperties, PreparedCase
from autoseg.preprocessing.resample import resampled_shape, resize
from autoseg.preprocessing.resample_labels import resize_labels
from autoseg.preprocessing.store import (
    Store,
    StoreInfo,
    claim,
    finished_cases,
    remove_case,
    stored_case,
    write_case,
)
from autoseg.processes import unordered, usable_cores
from autoseg.records import unknown_name

Value = TypeVar("Value")


class MeasuredCase(Protocol):
    """What is known of a case before it is read."""

    @property
    def id(self) -> str: ...

    @property
    def crop_box(self) -> CropBox: ...

    @property
    def orientation(self) -> str | None: ...


class Measured(Protocol):
    """A fingerprint, as far as preprocessing looks at it; its boxes are in the axes of its orientation."""

    @property
    def orientation(self) -> str | None: ...

    @property
    def cases(self) -> Sequence[MeasuredCase]: ...


def preprocess_case(
    image: Image,
    labels: np.ndarray | None,
    plan: Plan,
    configuration: ConfigurationPlan,
    *,
    crop_box: CropBox | None = None,
) -> PreparedCase:
    """Brings a case to plan space: turns it to the plan's orientation, then transposes, crops, normalises, resamples.

    All but the turning is in nnU-Net v2's order.

    Args:
        image: (C, Z, Y, X) in any dtype; it is not changed.
        labels: (Z, Y, X) training values, or None.
        plan: for the orientation, the order of the axes, channels and labels.
        configuration: one of `plan.configurations`; a 2D one leaves the spacing between slices alone.
        crop_box: the non-zero region in the axes of the plan's orientation, if it is known already.

    Returns:
        The case; background labels beyond the non-zero region are `OUTSIDE`.

    Raises:
        ImageError: the channels are not the plan's, labels and image differ in shape, or a normalisation refuses
            the intensities.
    """
    _check_fit(image, labels, plan)
    order = plan.transpose_forward
    turn = Orientation.between(orientation_code(image.geometry), plan.orientation)
    array = turn.turn(image.array)
    box = crop_box or bounding_box(nonzero_mask(array))
    crop = tuple(slice(*box[axis]) for axis in range(3))
    cropped = array[(slice(None), *crop)].transpose(0, *(axis + 1 for axis in order))
    inside = nonzero_mask(cropped)
    data = cropped.astype(np.float32, order="C")
    if labels is not None:
        labels = turn.turn(labels)[crop].transpose(order).astype(_label_dtype(plan), order="C")
        labels[(labels == 0) & ~inside] = OUTSIDE
        inside = labels != OUTSIDE
    _normalize(data, inside, plan, configuration)
    file_axes = _reorder(turn.order, order)
    before = _reorder(image.geometry.spacing, file_axes)
    after = (before[0], *configuration.spacing) if configuration.dimension == 2 else configuration.spacing
    shape = resampled_shape(data.shape[1:], before, after)
    _refuse_beyond_memory(shape, len(data), before, after)
    return PreparedCase(
        data=resize(data, shape, spacing_from=before, spacing_to=after, order=3),
        labels=None if labels is None else resize_labels(labels, shape, spacing_from=before, spacing_to=after),
        properties=CaseProperties(
            channels=len(data),
            geometry=image.geometry,
            transpose=file_axes,
            reversed=_reorder(turn.reversed, order),
            shape_before_crop=_reorder(image.shape, file_axes),
            crop_box=_reorder(box, order),
            shape=shape,
            spacing=_reorder(after, (0, 1, 2)),
        ),
    )


def preprocess_dataset(
    dataset: Dataset,
    plan: Plan,
    configuration_name: str,
    folder: str | Path,
    fingerprint: Measured | None = None,
    *,
    workers: int | None = None,
) -> Store:
    """Preprocesses the training cases into a store, in parallel; goes on where an earlier call stopped.

    A finished case is kept as long as the plan asks for the same and its files have the same size and time. Cases
    made by another plan, and cases that the data set no longer has, are removed from the folder.

    Args:
        folder: where the store lies; it is made if it is not there, and other files in it are left alone.
        fingerprint: gives the crop boxes, which are found anew without it.
        workers: processes; None takes one per usable core.

    Raises:
        ConfigurationError: the plan lacks the configuration.
        ImageError: a case cannot be preprocessed; names the case.
        AutosegError: a worker was killed.
    """
    folder = Path(folder)
    if configuration_name not in plan.configurations:
        raise unknown_name("configuration", configuration_name, plan.configurations, where="plan")
    claim(folder, StoreInfo(digest=_digest(plan, configuration_name)))
    boxes = _boxes(fingerprint, plan) if fingerprint is not None else {}
    jobs = [_PreparationJob(case, boxes.get(case.id), _source(case)) for case in dataset.training]
    sources = {job.case.id: job.source for job in jobs}
    kept = set()
    for case in finished_cases(folder):
        if case in sources and stored_case(folder, case).source == sources[case]:
            kept.add(case)
        else:
            remove_case(folder, case)
    remaining = [job for job in jobs if job.case.id not in kept]
    if remaining:
        load_reader(remaining[0].case.images[0])
    work = partial(_preprocess_into, plan=plan, configuration_name=configuration_name, folder=folder)
    for _ in unordered(work, remaining, f"preprocessing {configuration_name}", workers=workers or usable_cores()):
        pass
    return Store(folder)


def _boxes(fingerprint: Measured, plan: Plan) -> dict[str, CropBox]:
    """Crop boxes of the cases that the plan turns to the orientation in which they were measured."""
    return {
        case.id: case.crop_box
        for case in fingerprint.cases
        if (plan.orientation or case.orientation) == (fingerprint.orientation or case.orientation)
    }


@dataclass(frozen=True)
class _PreparationJob:
    case: Case
    crop_box: CropBox | None
    source: str


def _preprocess_into(job: _PreparationJob, plan: Plan, configuration_name: str, folder: Path) -> None:
    """Reads, preprocesses and stores one case."""
    configuration = plan.configurations[configuration_name]
    try:
        image = read_case(job.case, len(plan.channels))
        # a case without a label, which only tasks that need none are given, is stored as background
        file = None if job.case.label is None else read_case_labels(job.case, image, plan.labels).array[0]
        labels = np.zeros(image.shape, np.int16) if file is None else plan.labels.encode(file)
        prepared = preprocess_case(image, labels, plan, configuration, crop_box=job.crop_box)
    except AutosegError as error:
        raise ImageError(
            f"case {job.case.id} cannot be preprocessed: {error.subject}",
            where=error.where,
            got=error.got,
            expected=error.expected,
            remedy=error.remedy,
        ) from error
    locations = class_locations(prepared.labels, plan.labels) if prepared.labels is not None else {}
    write_case(folder, job.case.id, prepared, locations, patch_size=configuration.patch_size, source=job.source)


def _refuse_beyond_memory(shape: Sequence[int], channels: int, before: Sequence[float], after: Sequence[float]) -> None:
    """Refuses an image that becomes larger than the machine by resampling, as one with a wrong voxel size does."""
    needed, there = 4 * channels * math.prod(shape), machine_memory()
    if needed > there:
        raise ImageError(
            "the image is too large once it is resampled",
            got=f"voxels of {_numbers(before)} mm resampled to {_numbers(after)} mm: {needed / 2**30:.3g} GiB",
            expected=f"at most {there / 2**30:.3g} GiB, the machine's memory",
            remedy="check the voxel size in its header",
        )


def _numbers(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _check_fit(image: Image, labels: np.ndarray | None, plan: Plan) -> None:
    if len(image.array) != len(plan.channels):
        raise ImageError(
            "the number of channels does not fit the plan",
            got=len(image.array),
            expected=f"{len(plan.channels)} ({', '.join(plan.channels)})",
            remedy="give the channels that the plan was made for, in its order",
        )
    if labels is not None and labels.shape != image.shape:
        raise ImageError(
            "image and labels have different shapes",
            got=labels.shape,
            expected=image.shape,
            remedy="run `autoseg check` on the data set",
        )


def _normalize(data: np.ndarray, inside: np.ndarray, plan: Plan, configuration: ConfigurationPlan) -> None:
    """Normalises the channels in place."""
    channels = zip(configuration.normalization, configuration.use_mask_for_norm, plan.intensities, strict=True)
    for channel, (name, use_mask, statistics) in enumerate(channels):
        normalize: Normalization = resolve("normalization", name)
        data[channel] = normalize(data[channel], inside if use_mask else None, statistics)


def _reorder(values: Sequence[Value], order: Sequence[int]) -> tuple[Value, Value, Value]:
    return values[order[0]], values[order[1]], values[order[2]]


def _label_dtype(plan: Plan) -> type[np.int8] | type[np.int16]:
    highest = len(plan.labels.values) if plan.labels.ignore is not None else len(plan.labels.values) - 1
    return np.int8 if highest <= np.iinfo(np.int8).max else np.int16


def _digest(plan: Plan, configuration_name: str) -> str:
    """Digest of all in the plan that the stored arrays depend on."""
    configuration = plan.configurations[configuration_name]
    parts = plan.model_dump(
        mode="json", include={"orientation", "transpose_forward", "channels", "labels", "intensities"}
    )
    parts["configuration"] = configuration.model_dump(mode="json", include=set(STORED))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _source(case: Case) -> str:
    """Digest of the names, sizes and times of a case's files: changes when a file is replaced."""
    digest = hashlib.sha256()
    for path in (*case.images, *([case.label] if case.label else [])):
        state = _state(path)
        folder = state is not None and S_ISDIR(state.st_mode)
        states = [(file, _state(file)) for file in sorted(path.iterdir())] if folder else [(path, state)]
        for file, modified in states:
            stamp = (modified.st_size, modified.st_mtime_ns) if modified else None
            digest.update(f"{path.name}/{file.name} {stamp}\n".encode())
    return digest.hexdigest()


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
