"""What a registration of two files is given: images, labels, landmarks and masks, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.files import read_image, read_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.landmarks import LandmarkUnit, check_landmarks, read_landmarks
from autoseg.data.placement import LARGEST_OFFSET, laid_on, turned_to
from autoseg.data.spacing import check_spacing, lacks_scale
from autoseg.errors import ConfigurationError, ImageError, RegistrationError
from autoseg.evaluation.matching import check_geometry
from autoseg.evaluation.scheme import read_scheme, scheme_of_values
from autoseg.records import unknown_name
from autoseg.tasks.registration.methods import STAGES, StageName


@dataclass(frozen=True)
class PairFiles:
    """The files of a registration; all but the images may be None.

    Attributes:
        fixed, moving: images.
        fixed_labels, moving_labels: on the voxels of their image.
        fixed_landmarks, moving_landmarks: see `data.landmarks`; row by row the same points.
        mask, moving_mask: non-zero where the fixed or the moving image counts.
        landmark_unit: of landmarks in tables.
        spec: dataset.json that names the labels.
    """

    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    fixed_landmarks: Path | None = None
    moving_landmarks: Path | None = None
    mask: Path | None = None
    moving_mask: Path | None = None
    landmark_unit: LandmarkUnit = "mm"
    spec: Path | None = None

    @property
    def given(self) -> dict[str, str]:
        """What is given beside the images: name in words -> file."""
        names = (
            "fixed_labels", "moving_labels", "fixed_landmarks", "moving_landmarks", "mask", "moving_mask", "spec"
        )  # fmt: skip
        paths = {name.replace("_", " "): getattr(self, name) for name in names}
        return {name: str(path) for name, path in paths.items() if path is not None}


@dataclass(frozen=True)
class PairInputs:
    """What was read.

    Attributes:
        labels: of the fixed (perhaps None) and the moving image in file values, or None.
        scheme: meaning of the values; None without labels of both.
        landmarks: (n, D) in mm of the fixed and the moving image (perhaps None), or None.
        masks: of the fixed and the moving image.
        warnings: what was assumed, in sentences.
    """

    fixed: Image
    moving: Image
    labels: tuple[Image | None, Image] | None
    scheme: LabelScheme | None
    landmarks: tuple[np.ndarray, np.ndarray | None] | None
    masks: tuple[Image | None, Image | None]
    warnings: tuple[str, ...]


def read_pair(files: PairFiles) -> PairInputs:
    """Reads and checks all files of a registration, before any of it is computed.

    Raises:
        ImageError: unreadable, without spacing, labels on another grid than their image, or landmarks outside of it.
        ConfigurationError: labels or landmarks of one image where those of both are needed, landmarks that do not pair
            up, or label values that `spec` does not know.
    """
    _check_complete(files)
    for path in (files.fixed, files.moving):
        check_spacing(path)
    images = read_image(files.fixed), read_image(files.moving)
    fixed_labels, labels, scheme = None, None, None
    if files.moving_labels is not None:
        moving_labels = _labels(files.moving_labels, images[1], "moving")
        if files.fixed_labels is not None:
            fixed_labels = _labels(files.fixed_labels, images[0], "fixed")
            scheme = _scheme(files, fixed_labels, moving_labels)
        labels = fixed_labels, moving_labels
    pictures = [path.name for path in (files.fixed, files.moving) if lacks_scale(path)]
    warnings = (f"{' and '.join(pictures)} cannot say how large a pixel is: 1 mm is assumed.",) if pictures else ()
    return PairInputs(
        *images,
        labels=labels,
        scheme=scheme,
        landmarks=_landmarks(files, *images),
        masks=(_mask(files.mask), _mask(files.moving_mask)),
        warnings=warnings,
    )


def parse_stages(names: str | Sequence[str] | None) -> tuple[StageName, ...] | None:
    """The stages named, joined by commas or in a sequence; None stays None.

    Raises:
        ConfigurationError: an unknown stage, or one that is named twice.
    """
    if names is None:
        return None
    parts = [part.strip() for part in (names.split(",") if isinstance(names, str) else names)]
    stages: list[StageName] = []
    for part in parts:
        stage = next((stage for stage in STAGES if stage == part), None)
        if stage is None:
            raise unknown_name("stage", part, STAGES, where="stages")
        if stage in stages:
            raise ConfigurationError("a stage is named twice", where="stages", got=", ".join(parts))
        stages.append(stage)
    return tuple(stages)


def _check_complete(files: PairFiles) -> None:
    for what in ("labels", "landmarks"):
        fixed, moving = (getattr(files, f"{side}_{what}") for side in ("fixed", "moving"))
        # labels of the moving image alone are warped, landmarks of the fixed one alone are taken along
        alone, lacking = (fixed, "moving") if what == "labels" else (moving, "fixed")
        if alone is not None and (moving if what == "labels" else fixed) is None:
            raise ConfigurationError(
                f"{what} of one image alone cannot be compared",
                where=alone,
                expected=f"{what} of both images",
                remedy=f"give --{lacking}-{what} too, or leave these out",
            )


def _labels(path: Path, image: Image, side: str) -> Image:
    labels = read_labels(path)
    if labels.geometry.dimension != image.geometry.dimension:
        raise ImageError(
            "labels and image have different dimensionality",
            where=path,
            got=f"{labels.geometry.dimension}D",
            expected=f"{image.geometry.dimension}D as the {side} image",
        )
    turned, beside = turned_to(labels, image)
    if beside <= LARGEST_OFFSET and turned.shape == image.shape:
        return laid_on(labels, image, where=path)
    check_geometry(labels, image, path, ours=f"the {side} labels'", theirs=f"the {side} image's")
    return labels


def _scheme(files: PairFiles, fixed: Image, moving: Image) -> LabelScheme:
    scheme = scheme_of_values(fixed.array, moving.array) if files.spec is None else read_scheme(files.spec)
    for path, labels in ((files.fixed_labels, fixed), (files.moving_labels, moving)):
        try:
            scheme.encode(labels.array)
        except ConfigurationError as error:
            raise ImageError(error.subject, where=path, got=error.got, expected=error.expected) from None
    return scheme


def _landmarks(files: PairFiles, fixed: Image, moving: Image) -> tuple[np.ndarray, np.ndarray | None] | None:
    if files.fixed_landmarks is None:
        return None
    first = read_landmarks(files.fixed_landmarks, fixed.geometry, files.landmark_unit)
    check_landmarks(first, fixed, files.fixed_landmarks)
    if files.moving_landmarks is None:
        return first, None
    second = read_landmarks(files.moving_landmarks, moving.geometry, files.landmark_unit)
    check_landmarks(second, moving, files.moving_landmarks)
    if len(first) != len(second):
        raise RegistrationError(
            "the images have different numbers of landmarks",
            where=files.moving_landmarks,
            got=len(second),
            expected=f"{len(first)} as in {files.fixed_landmarks}, row by row the same points",
            remedy="remove the landmarks that only one of the images has",
        )
    return first, second


def _mask(path: Path | None) -> Image | None:
    return None if path is None else read_labels(path)
