"""What follows from a registration's transform, and the files that it is written to."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.landmarks import write_landmarks
from autoseg.errors import WorkspaceError
from autoseg.records import write_bytes
from autoseg.tasks.registration.files import write_displacement, write_transform
from autoseg.tasks.registration.methods import RegistrationResult
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.pipeline.inputs import PairInputs
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
from autoseg.tasks.registration.record import RegistrationRecord
from autoseg.tasks.registration.report.figures import RegistrationView, registration_picture
from autoseg.tasks.registration.report.page import write_registration_report
from autoseg.tasks.registration.space import sample
from autoseg.tasks.registration.transforms import (
    Affine,
    Displacement,
    SpatialTransform,
    as_displacement,
    is_linear,
    jacobian_determinant,
)
from autoseg.tasks.registration.warp import LabelInterpolation, mapped, warp_image, warp_labels, warp_points

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


@dataclass(frozen=True)
class RegistrationOutputs:
    """What follows from a transform.

    Attributes:
        transform: from the fixed image's world to the moving one's.
        field: the transform on the fixed grid.
        inverse: of the transform, on the moving grid; None where there is none that is exact enough.
        warped: the moving image on the fixed grid.
        labels: the moving image's in file values on the fixed grid; None without any.
        landmarks: (n, D) mm, the fixed image's in the moving one's world; None without any.
        quality: of the registration.
        outside: value of the warped image where the moving one does not reach.
        warnings: in sentences.
    """

    transform: SpatialTransform
    field: Displacement
    inverse: Displacement | None
    warped: Image
    labels: Image | None
    landmarks: np.ndarray | None
    quality: Quality
    outside: float
    warnings: tuple[str, ...]


def check_folder(out: Path) -> None:
    """A folder that a registration may write to: new, or in which what is replaced is of a registration too.

    Raises:
        WorkspaceError: a file, or a folder with a report of something else.
    """
    if out.exists() and not out.is_dir():
        raise WorkspaceError("is no folder", where=out, remedy="give another --out")
    if (out / "report.html").exists() and not (out / FILE).exists():
        raise WorkspaceError(
            "the folder holds a report that is not of a registration", where=out, remedy="give another --out"
        )


def registration_outputs(
    inputs: PairInputs, pair: ImagePair, result: RegistrationResult, interpolation: LabelInterpolation
) -> RegistrationOutputs:
    """Warps what was given by a registration's transform, and measures how good it is.

    Args:
        inputs: images, labels and landmarks as they were read.
        pair: the images as they were registered.
        result: the registration.
        interpolation: of labels (see `registration.warp.warp_labels`).
    """
    fixed, transform = inputs.fixed, result.transform
    field = as_displacement(transform, pair.fixed_grid, like=torch.zeros(()))
    measured = deformation(field.field, pair.fixed_grid, pair.fixed_mask)
    inverse = _inverse(transform, pair)
    if inverse is not None:
        errors = inverse_consistency(field, inverse, pair.fixed_grid, pair.moving_grid)
        measured = measured.with_(inverse_consistency_mean=errors.mean, inverse_consistency_max=errors.max)
        if errors.p90 > _LOOSE * min(pair.fixed_grid.spacing):
            inverse = None
    outside = float(inputs.moving.array.min())
    labels, agreement = _warped_labels(inputs, field, interpolation)
    landmarks, distances = _landmarks(inputs, transform, pair)
    quality = Quality(
        deformation=measured,
        coverage=coverage(field, pair.fixed_grid, pair.moving_grid),
        labels=agreement,
        label_interpolation=interpolation,
        landmarks=distances,
        seconds=sum(stage.seconds for stage in result.stages),
    )
    return RegistrationOutputs(
        transform=transform,
        field=field,
        inverse=inverse,
        warped=warp_image(inputs.moving, field, fixed.geometry, fixed.shape, outside=outside),
        labels=labels,
        landmarks=landmarks,
        quality=quality,
        outside=outside,
        warnings=() if inverse is not None else ("The transform has no exact inverse, and none is written.",),
    )


def write_outputs(
    out: Path, record: RegistrationRecord, outputs: RegistrationOutputs, inputs: PairInputs, pair: ImagePair
) -> RegistrationRecord:
    """Writes all files into a folder beside, then moves them, and removes what an earlier call left.

    Args:
        out: the folder.
        record: of the registration, without its files.
        outputs: what is written.
        inputs: images and labels as they were read.
        pair: the images as they were registered.

    Returns:
        The record as it was written, with its files.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".registration.") as name:
        folder = Path(name)
        write_image(folder / "warped.nii.gz", outputs.warped)
        if outputs.labels is not None:
            write_labels(folder / "warped_labels.nii.gz", outputs.labels.array[0], outputs.labels.geometry)
        write_transform(folder / "transform.h5", outputs.transform, pair.fixed_grid)
        if is_linear(outputs.transform):
            write_transform(folder / "transform.tfm", outputs.transform)
        write_displacement(folder / "displacement.nii.gz", outputs.field)
        if outputs.inverse is not None:
            write_displacement(folder / "inverse_displacement.nii.gz", outputs.inverse)
        if outputs.landmarks is not None:
            write_landmarks(folder / "warped_landmarks.csv", outputs.landmarks)
        picture = registration_picture(_view(outputs, inputs, pair))
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


def _inverse(transform: SpatialTransform, pair: ImagePair) -> Displacement | None:
    try:
        return as_displacement(transform.inverse(), pair.moving_grid, like=torch.zeros(()))
    except torch.linalg.LinAlgError:  # a matrix that flattens space
        return None


def _warped_labels(
    inputs: PairInputs, field: Displacement, interpolation: LabelInterpolation
) -> tuple[Image | None, dict[str, LabelAgreement]]:
    """The moving image's labels on the fixed grid, and how far they agree with the fixed image's, if both are given."""
    if inputs.labels is None:
        return None, {}
    reference, moving = inputs.labels
    onto = inputs.fixed.geometry, inputs.fixed.shape
    warped = warp_labels(moving, field, *onto, interpolation=interpolation)
    if reference is None or inputs.scheme is None:
        return warped, {}
    identity = Affine.identity(inputs.fixed.geometry.dimension)
    unregistered = warp_labels(moving, identity, *onto, interpolation=interpolation)
    return warped, _agreement(reference, unregistered, warped, inputs.scheme)


def _agreement(reference: Image, before: Image, after: Image, scheme: LabelScheme) -> dict[str, LabelAgreement]:
    """Scores of warped labels; what the moving image leaves without annotation is background there.

    Args:
        reference: the fixed image's labels in file values, as all of them.
        before: the moving image's labels as the headers place them.
        after: those labels as they were registered.
        scheme: meaning of the values.
    """
    ignore = scheme.training_ignore
    fixed, *moved = (scheme.encode(labels.array[0]) for labels in (reference, before, after))
    first, second = (np.where(labels == ignore, 0, labels) for labels in moved)
    geometry = reference.geometry
    return label_agreement(
        fixed,
        first,
        second,
        scheme.training_foreground,
        geometry.spacing,
        dimension=geometry.dimension,
        ignore=ignore,
    )


def _landmarks(
    inputs: PairInputs, transform: SpatialTransform, pair: ImagePair
) -> tuple[np.ndarray | None, LandmarkErrors | None]:
    if inputs.landmarks is None:
        return None, None
    fixed, moving = inputs.landmarks
    warped = warp_points(fixed, transform)
    return warped, None if moving is None else landmark_errors(fixed, warped, moving, pair.fixed_grid.diagonal)


def _view(outputs: RegistrationOutputs, inputs: PairInputs, pair: ImagePair) -> RegistrationView:
    grid, shape = pair.fixed_grid, inputs.fixed.shape
    before, after = (_first_channel(pair, transform) for transform in (Affine.identity(pair.dimension), outputs.field))
    steps = grid.steps_to_index(outputs.field.field.movedim(0, -1)).movedim(-1, 0).numpy()
    along_axes = np.zeros((3, *shape), np.float32)
    along_axes[3 - pair.dimension :] = steps.reshape(-1, *shape)
    reference = None if inputs.labels is None else inputs.labels[0]
    labels = None if reference is None or outputs.labels is None else (reference.array[0], outputs.labels.array[0])
    return RegistrationView(
        fixed=pair.fixed[0].numpy().reshape(shape),
        before=before.reshape(shape),
        after=after.reshape(shape),
        steps=along_axes,
        determinants=jacobian_determinant(outputs.field.field, grid).numpy().reshape(shape),
        geometry=inputs.fixed.geometry,
        fixed_labels=None if labels is None else labels[0],
        warped_labels=None if labels is None else labels[1],
    )


def _first_channel(pair: ImagePair, transform: SpatialTransform) -> np.ndarray:
    parts = [
        sample(pair.moving[:1], pair.moving_grid, points, outside=float("nan"))
        for _, points in mapped(transform, pair.fixed_grid)
    ]
    values: np.ndarray = torch.cat(parts, dim=1).numpy()
    return values
