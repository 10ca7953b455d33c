"""Two image files registered: transform, warped image and labels, numbers, picture and page in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg import provenance
from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.landmarks import write_landmarks
from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.log import duration, logger
from autoseg.records import write_bytes
from autoseg.tasks.registration.files import write_displacement, write_transform
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, register
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.pipeline.inputs import PairFiles, PairInputs, read_pair
from autoseg.tasks.registration.pipeline.learned import LearnedRegistration
from autoseg.tasks.registration.quality import (
    LabelAgreement,
    LandmarkErrors,
    Quality,
    coverage,
    deformation,
    inverse_consistency,
    label_agreement,
    landmark_errors,
)
from autoseg.tasks.registration.record import RegistrationRecord, StageRecord, cautions
from autoseg.tasks.registration.report.figures import RegistrationView, registration_picture
from autoseg.tasks.registration.report.page import write_registration_report
from autoseg.tasks.registration.space import sample
from autoseg.tasks.registration.transforms import (
    Affine,
    Composite,
    Displacement,
    SpatialTransform,
    as_displacement,
    jacobian_determinant,
)
from autoseg.tasks.registration.warp import LabelInterpolation, mapped, warp_image, warp_labels, warp_points
from autoseg.training.runtime import find_device

FILE = "metrics.json"
"""In the output folder: a `registration.record.RegistrationRecord`."""

FILES = {
    "warped.nii.gz": "the moving image on the fixed image's voxels",
    "warped_labels.nii.gz": "the moving image's labels on the fixed image's voxels",
    "transform.h5": "the transform, for ITK, SimpleITK, 3D Slicer and ANTs",
    "transform.tfm": "the transform as text; only where it is linear",
    "displacement.nii.gz": "displacement in mm at each voxel of the fixed image, from fixed to moving (LPS)",
    "inverse_displacement.nii.gz": "displacement in mm at each voxel of the moving image, back to the fixed one",
    "warped_landmarks.csv": "the fixed image's landmarks at their places in the moving image (x, y, z in mm)",
    FILE: "all numbers",
    "picture.png": "checkerboard, differences, deformed grid, Jacobian",
    "report.html": "this page",
}
"""What a registration may write -> what it is."""

_LOOSE = 0.5  # voxels that a way back may miss by at most places; else it is not written


def register_files(
    files: PairFiles,
    out: Path,
    *,
    method: str = "multi-stage",
    options: RegistrationOptions | None = None,
    model: LearnedModel | None = None,
    label_interpolation: LabelInterpolation = "nearest",
    seed: int = 0,
    device: str = "auto",
    command: Sequence[str] = (),
) -> RegistrationRecord:
    """Registers two image files and writes what `FILES` names into `out`.

    Files of an earlier registration in the folder are replaced, all at once at the end; other files stay.

    Args:
        files: images, and what tells how good the result is.
        out: folder to write to.
        method: name of a plug-in of kind "registration".
        options: what is asked of it.
        model: a trained network to register by instead of a method; of `options` it takes linear stages, which then
            run first, and their similarity.
        label_interpolation: see `registration.warp.warp_labels`.
        seed: of what a method draws at random.
        device: "auto", "cpu", "cuda", "mps".
        command: the command line, for the record.

    Raises:
        RegistrationError: images that cannot be registered.
        ImageError, ConfigurationError: files or options that are wrong (`read_pair`).
        WorkspaceError: `out` is a file, or a folder with a report of something else.
    """
    _check_folder(out)
    where = find_device(device)
    inputs = read_pair(files)
    pair = prepare(inputs.fixed, inputs.moving, fixed_mask=inputs.masks[0], moving_mask=inputs.masks[1])
    fitted = (
        _fitted(pair, options or RegistrationOptions(), method, seed, where)
        if model is None
        else _predicted(inputs, pair, options, model, seed, where)
    )
    result = fitted.result
    seconds = sum(stage.seconds for stage in result.stages)
    logger.info("registered in %s: %s", duration(seconds), ", ".join(stage.name for stage in result.stages))
    found = _measure(inputs, pair, result, label_interpolation, seconds)
    warned = (
        *cautions(found.quality, fitted.similarity, min(pair.fixed_grid.spacing)),
        *result.warnings,
        *inputs.warnings,
        *found.warnings,
    )
    record = RegistrationRecord(
        fixed=str(files.fixed),
        moving=str(files.moving),
        given=files.given,
        dimension=pair.dimension,
        method=result.method,
        options=fitted.options,
        seed=seed,
        device=where,
        stages=tuple(
            StageRecord(**{name: getattr(stage, name) for name in StageRecord.model_fields}) for stage in result.stages
        ),
        quality=found.quality,
        outside=found.outside,
        warnings=tuple(dict.fromkeys(warned)),
        command=tuple(command),
        versions=provenance.versions(),
        machine=provenance.machine(),
    )
    return _write(out, record, inputs, pair, result.transform, found)


@dataclass(frozen=True)
class LearnedModel:
    """A trained network, and how to use it.

    Attributes:
        run: folder of the training.
        fold: whose network to take; None as `LearnedRegistration.load` chooses.
        regularization: weight of the regulariser, for a network that takes one.
        instance_iterations: updates of this very pair after the network; None as `RegistrationModel.register` has it.
    """

    run: Path
    fold: str | None = None
    regularization: float | None = None
    instance_iterations: int | None = None


@dataclass(frozen=True)
class _Fitted:
    """A registration, the similarity that it was made by, and what was asked, for the record."""

    result: RegistrationResult
    similarity: str
    options: dict[str, Any]


def _fitted(pair: ImagePair, options: RegistrationOptions, method: str, seed: int, device: str) -> _Fitted:
    result = register(pair, options, method=method, seed=seed, device=device)
    used = result.stages[-1].similarity if result.stages else method
    return _Fitted(result, used, options.model_dump(mode="json"))


def _predicted(
    inputs: PairInputs,
    pair: ImagePair,
    options: RegistrationOptions | None,
    model: LearnedModel,
    seed: int,
    device: str,
) -> _Fitted:
    """By a network, from where linear stages end if any are asked for."""
    network = LearnedRegistration.load(model.run, fold=model.fold, device=device, regularization=model.regularization)
    asked: dict[str, Any] = {
        "model": str(model.run),
        "fold": network.fold,
        "regularization": network.model.regularization,
        "instance_iterations": model.instance_iterations,
    }
    before: RegistrationResult | None = None
    if options is not None:
        if "deformable" in options.stages:
            raise ConfigurationError(
                "the network is the deformable stage",
                where="stages",
                got=", ".join(options.stages),
                expected="linear stages, which run before the network",
                remedy="leave deformable out, or use --instance-optimisation",
            )
        before = register(pair, options, seed=seed, device=device)
        asked |= options.model_dump(mode="json", include={"stages", "similarity"})
    linear = None if before is None else before.transform
    result = network.register(
        inputs.fixed,
        inputs.moving,
        linear=linear if isinstance(linear, Affine) else None,
        instance_iterations=model.instance_iterations,
    )
    if before is not None:
        stages, warnings = (*before.stages, *result.stages), (*before.warnings, *result.warnings)
        result = replace(result, stages=stages, warnings=warnings)
    return _Fitted(result, network.similarity, asked)


@dataclass(frozen=True)
class _RegistrationOutputs:
    """What follows from a transform.

    Attributes:
        field: the transform on the fixed grid.
        back: its inverse on the moving grid; None where there is none that is exact enough.
        labels: the moving image's in file values on the fixed grid.
        landmarks: (n, D) mm, the fixed image's in the moving one's world.
        outside: value of the warped image where the moving one does not reach.
        warnings: in sentences.
    """

    field: Displacement
    back: Displacement | None
    warped: Image
    labels: Image | None
    landmarks: np.ndarray | None
    quality: Quality
    outside: float
    warnings: tuple[str, ...]


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise WorkspaceError("is no folder", where=out, remedy="give another --out")
    if (out / "report.html").exists() and not (out / FILE).exists():
        raise WorkspaceError(
            "the folder holds a report that is not of a registration", where=out, remedy="give another --out"
        )


def _measure(
    inputs: PairInputs, pair: ImagePair, result: RegistrationResult, interpolation: LabelInterpolation, seconds: float
) -> _RegistrationOutputs:
    fixed, transform = inputs.fixed, result.transform
    field = as_displacement(transform, pair.fixed_grid, like=torch.zeros(()))
    space = deformation(field.field, pair.fixed_grid, pair.fixed_mask)
    warnings: tuple[str, ...] = ()
    back = _inverse(transform, pair)
    if back is not None:
        errors = inverse_consistency(field, back, pair.fixed_grid, pair.moving_grid)
        space = space.with_(inverse_consistency_mean=errors.mean, inverse_consistency_max=errors.max)
        if errors.p90 > _LOOSE * min(pair.fixed_grid.spacing):
            back = None
    if back is None:
        warnings = ("The transform has no exact inverse, and none is written.",)
    outside = float(inputs.moving.array.min())
    onto = fixed.geometry, fixed.shape
    labels, scores = None, dict[str, LabelAgreement]()
    if inputs.labels is not None:
        reference, own = inputs.labels
        labels = warp_labels(own, field, *onto, interpolation=interpolation)
        if reference is not None and inputs.scheme is not None:
            unregistered = warp_labels(own, Affine.identity(pair.dimension), *onto, interpolation=interpolation)
            scores = _scores(reference, unregistered, labels, inputs.scheme)
    landmarks, marks = _landmarks(inputs, transform, pair)
    quality = Quality(
        deformation=space,
        coverage=coverage(field, pair.fixed_grid, pair.moving_grid),
        labels=scores,
        label_interpolation=interpolation,
        landmarks=marks,
        seconds=seconds,
    )
    warped = warp_image(inputs.moving, field, *onto, outside=outside)
    return _RegistrationOutputs(field, back, warped, labels, landmarks, quality, outside, warnings)


def _scores(reference: Image, before: Image, after: Image, scheme: LabelScheme) -> dict[str, LabelAgreement]:
    """Scores of warped labels in file values; what the moving image leaves without annotation is background there."""
    ignore = scheme.training_ignore
    fixed, *moved = (scheme.encode(one.array[0]) for one in (reference, before, after))
    first, second = (np.where(one == ignore, 0, one) for one in moved)
    place = reference.geometry
    return label_agreement(
        fixed,
        first,
        second,
        scheme.training_foreground,
        place.spacing,
        dimension=place.dimension,
        ignore=ignore,
    )


def _inverse(transform: SpatialTransform, pair: ImagePair) -> Displacement | None:
    try:
        return as_displacement(transform.inverse(), pair.moving_grid, like=torch.zeros(()))
    except torch.linalg.LinAlgError:  # a matrix that flattens space
        return None


def _landmarks(
    inputs: PairInputs, transform: SpatialTransform, pair: ImagePair
) -> tuple[np.ndarray | None, LandmarkErrors | None]:
    if inputs.landmarks is None:
        return None, None
    fixed, moving = inputs.landmarks
    warped = warp_points(fixed, transform)
    return warped, None if moving is None else landmark_errors(fixed, warped, moving, pair.fixed_grid.diagonal)


def _write(
    out: Path,
    record: RegistrationRecord,
    inputs: PairInputs,
    pair: ImagePair,
    transform: SpatialTransform,
    found: _RegistrationOutputs,
) -> RegistrationRecord:
    """Writes all files into a folder beside, then moves them, and removes what an earlier call left."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".registration.") as name:
        folder = Path(name)
        write_image(folder / "warped.nii.gz", found.warped)
        if found.labels is not None:
            write_labels(folder / "warped_labels.nii.gz", found.labels.array[0], found.labels.geometry)
        write_transform(folder / "transform.h5", transform, pair.fixed_grid)
        if _linear(transform):
            write_transform(folder / "transform.tfm", transform)
        write_displacement(folder / "displacement.nii.gz", found.field)
        if found.back is not None:
            write_displacement(folder / "inverse_displacement.nii.gz", found.back)
        if found.landmarks is not None:
            write_landmarks(folder / "warped_landmarks.csv", found.landmarks)
        picture = registration_picture(_view(inputs, pair, found))
        write_bytes(folder / "picture.png", picture)
        written = {path.name for path in folder.iterdir()} | {FILE, "report.html"}
        record = record.with_(files={file: what for file, what in FILES.items() if file in written})
        write_registration_report(record, picture, folder / "report.html")
        record.save(folder / FILE)
        for file in FILES:
            if file in written:
                (folder / file).replace(out / file)
            else:
                (out / file).unlink(missing_ok=True)
    return record


def _linear(transform: SpatialTransform) -> bool:
    return all(
        isinstance(part, Affine) for part in (transform.parts if isinstance(transform, Composite) else (transform,))
    )


def _view(inputs: PairInputs, pair: ImagePair, found: _RegistrationOutputs) -> RegistrationView:
    grid = pair.fixed_grid
    shape = inputs.fixed.shape
    before, after = (_first_channel(pair, transform) for transform in (Affine.identity(pair.dimension), found.field))
    steps = grid.steps_to_index(found.field.field.movedim(0, -1)).movedim(-1, 0).numpy()
    three = np.zeros((3, *shape), np.float32)
    three[3 - pair.dimension :] = steps.reshape(-1, *shape)
    labelled = inputs.labels is not None and inputs.labels[0] is not None and found.labels is not None
    return RegistrationView(
        fixed=pair.fixed[0].numpy().reshape(shape),
        before=before.reshape(shape),
        after=after.reshape(shape),
        steps=three,
        determinants=jacobian_determinant(found.field.field, grid).numpy().reshape(shape),
        geometry=inputs.fixed.geometry,
        fixed_labels=inputs.labels[0].array[0] if labelled else None,  # type: ignore[index,union-attr]
        warped_labels=found.labels.array[0] if labelled else None,  # type: ignore[union-attr]
    )


def _first_channel(pair: ImagePair, transform: SpatialTransform) -> np.ndarray:
    parts = [
        sample(pair.moving[:1], pair.moving_grid, places, outside=float("nan"))
        for _, places in mapped(transform, pair.fixed_grid)
    ]
    found: np.ndarray = torch.cat(parts, dim=1).numpy()
    return found
