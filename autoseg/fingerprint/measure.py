"""One case, read once: its check, and all that the fingerprint wants to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from autoseg.data.check import CheckedCase, read_and_check
from autoseg.data.crop import as_slices, bounding_box, nonzero_mask
from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.data.orientation import orientation_code
from autoseg.fingerprint.pooling import IntensitySample, draw, exact_statistics
from autoseg.fingerprint.record import CaseFingerprint


@dataclass(frozen=True)
class Measurement:
    """What a worker sends back of a usable case; small beside the images.

    Attributes:
        fingerprint: the case, measured.
        samples: drawn foreground intensities per channel.
        ranges: least and greatest intensity of the whole image per channel.
        whole_numbers: whether all intensities are, per channel.
        at_border: foreground touches the border of the image.
    """

    fingerprint: CaseFingerprint
    samples: tuple[IntensitySample, ...]
    ranges: tuple[tuple[float, float], ...]
    whole_numbers: tuple[bool, ...]
    at_border: bool


def check_and_measure(case: Case, dataset: Dataset, draws: int) -> tuple[CheckedCase, Measurement | None]:
    """Reads a case once, checks it and, unless it has errors, measures it.

    Args:
        draws: foreground voxels to draw per channel for the pooled statistics.

    Returns:
        The check without arrays, and None for a case with errors.
    """
    checked = read_and_check(case, dataset)
    unread = case.label is not None and checked.labels is None
    if not checked.usable or checked.image is None or unread:
        return checked.summary(), None
    measured = measure(case.id, checked.image, checked.labels, dataset.labels, draws=draws, annotated=case.annotated)
    return checked.summary(), measured


def measure(
    identifier: str,
    image: Image,
    labels: np.ndarray | None,
    scheme: LabelScheme,
    draws: int,
    *,
    annotated: Sequence[str] | None = None,
) -> Measurement:
    """Measures an image (C, Z, Y, X) with labels (Z, Y, X) in file values.

    Without labels the intensities are those of the whole non-zero region, and no class is listed.

    As in nnU-Net v2, foreground intensities are those inside the crop box of every voxel that is not background,
    the ignore label included. Class volumes are of the whole image.

    Args:
        identifier: of the case.
        image: with all channels.
        labels: (Z, Y, X) in file values; None where the case has none.
        scheme: which values make a class or region.
        draws: foreground voxels to draw per channel for the pooled statistics.
        annotated: classes that were looked for, the only ones that are listed; None for all.
    """
    nonzero = nonzero_mask(image.array)
    box = bounding_box(nonzero)
    crop = as_slices(box)
    foreground = nonzero if labels is None or scheme.zero_is_class else labels != 0
    inside = foreground[crop]
    intensities = [channel[crop][inside].astype(np.float32) for channel in image.array]
    voxels: dict[str, int] = {}
    if labels is not None:
        listed = labels if scheme.zero_is_class else labels[foreground]
        counts = dict(zip(*np.unique(listed, return_counts=True), strict=True))
        voxels = {
            name: int(sum(counts.get(v, 0) for v in values))
            for name, values in scheme.foreground.items()
            if annotated is None or name in annotated
        }
    return Measurement(
        fingerprint=CaseFingerprint(
            id=identifier,
            shape=image.shape,
            spacing=image.geometry.spacing,
            crop_box=box,
            relative_size=inside.size / foreground.size,
            intensities=tuple(exact_statistics(values) for values in intensities),
            class_voxels=voxels,
            class_volumes={name: count * image.geometry.voxel_volume for name, count in voxels.items()},
            left_right_axis=left_right_axis(image.geometry),
            orientation=orientation_code(image.geometry),
        ),
        samples=draw(intensities, draws),
        ranges=tuple((float(channel.min()), float(channel.max())) for channel in image.array),
        whole_numbers=tuple(_whole_numbers(channel) for channel in image.array),
        at_border=labels is not None and _at_border(foreground),
    )


def left_right_axis(geometry: Geometry) -> int | None:
    """The array axis within 45 degrees of the patient's left-right direction, the world's x axis; None if none is.

    Of a plane image that is its x axis.
    """
    if geometry.dimension == 2:
        return 2
    along = np.abs(geometry.direction[2])  # rows are world (z, y, x), columns array axes
    axis = int(along.argmax())
    return axis if along[axis] > sqrt(0.5) else None


def _whole_numbers(channel: np.ndarray) -> bool:
    return channel.dtype.kind in "iub" or bool((channel == np.rint(channel)).all())


def _at_border(foreground: np.ndarray) -> bool:
    axes = [axis for axis in range(3) if foreground.shape[axis] > 1]
    return any(bool(foreground.take(side, axis).any()) for axis in axes for side in (0, -1))
