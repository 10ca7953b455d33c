"""All numbers of one case: metrics, counts and volumes for each label or region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import hypot
from typing import TYPE_CHECKING

import numpy as np

from autoseg.errors import ImageError
from autoseg.metrics.bounding_boxes import BoundingBox
from autoseg.metrics.confusion import comparable, confusion, count
from autoseg.metrics.shape import centroid_shift, hole_voxels
from autoseg.metrics.surface import TOLERANCE_MM
from autoseg.metrics.table import LabelPair, select

if TYPE_CHECKING:
    from jaxtyping import Bool, Integer

COUNTS = ("n_pred", "n_ref", "tp", "fp", "fn", "tn")
"""Keys of the voxel counts that `score_labels` adds to the metrics."""

VOLUMES = ("volume_pred", "volume_ref")
"""Keys of the volumes in mm3 (mm2 in 2D)."""

SHIFTS = ("shift_z", "shift_y", "shift_x")
"""Keys of the way from the reference's centroid to the prediction's along the axes of the array, in mm."""

SHAPE = ("hole_voxels_pred", "hole_voxels_ref", "centroid_distance", *SHIFTS)
"""Keys of enclosed background voxels and of the centroids (see `shape`). Older summaries lack them."""


def score_labels(
    prediction: Bool[np.ndarray, "z y x"] | Integer[np.ndarray, "z y x"],
    reference: Bool[np.ndarray, "z y x"] | Integer[np.ndarray, "z y x"],
    foreground: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    dimension: int,
    ignore: int | None = None,
    metrics: Iterable[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
) -> dict[str, dict[str, float | None]]:
    """Compares a predicted label image with its reference.

    Args:
        prediction, reference: training values of any integer type, or masks; plane images have Z = 1.
        foreground: name -> training values of a label, or of a region (their union is compared).
        spacing: mm, (z, y, x).
        dimension: 2 for a plane image: its surfaces are outlines, its volumes areas, and z spacing is not used.
        ignore: training value of the reference's voxels without annotation. They count nowhere; for distances they
            are background in both images.
        metrics: names from `METRICS`; all of them by default.
        tolerance_mm: tolerance of the normalised surface distance.

    Returns:
        name -> metric -> value, None where it does not exist (see `overlap` and `surface`), with the `COUNTS` in
        voxels, the `VOLUMES` in mm3 (mm2 in 2D) and the `SHAPE` beside the metrics. Without both objects there is no
        centroid distance and no shift, in a plane none along z.

    Raises:
        ImageError: shapes differ, values are no labels, or a plane image has several slices.
        ConfigurationError: a metric that is not known.
    """
    chosen = select(metrics)
    prediction, reference, ignored = comparable(prediction, reference, ignore)
    if dimension == 2:
        if prediction.shape[0] != 1:
            raise ImageError("a plane image has several slices", got=prediction.shape, expected="(1, Y, X)")
        prediction, reference, spacing = prediction[0], reference[0], spacing[1:]
    spacing = tuple(float(step) for step in spacing)
    voxel = float(np.prod(spacing))
    confused = confusion(prediction, reference, ignored)
    scores: dict[str, dict[str, float | None]] = {}
    for name, values in foreground.items():
        box = _union(confused.boxes[value] for value in values if value in confused.boxes)
        counts = count(confused, values)
        labels = prediction[box], reference[box]
        masks = _mask(labels[0], values), _mask(labels[1], values)
        pair = LabelPair(counts, *masks, spacing, tolerance_mm)
        scores[name] = {
            **{metric.name: metric.compute(pair) for metric in chosen},
            **{key: getattr(counts, key) for key in COUNTS},
            "volume_pred": counts.n_pred * voxel,
            "volume_ref": counts.n_ref * voxel,
            **dict(zip(SHAPE, _shape(masks, labels, spacing), strict=True)),
        }
    return scores


def _shape(
    masks: tuple[np.ndarray, np.ndarray], labels: tuple[np.ndarray, np.ndarray], spacing: tuple[float, ...]
) -> tuple[float | None, ...]:
    """The values of `SHAPE` of a prediction's and a reference's mask and labels."""
    holes = [hole_voxels(mask, own) if mask.any() else 0 for mask, own in zip(masks, labels, strict=True)]
    shift = centroid_shift(*masks, spacing)
    if shift is None:
        return *holes, None, None, None, None
    return *holes, hypot(*shift), *(None,) * (3 - len(shift)), *shift


def _union(boxes: Iterable[BoundingBox]) -> BoundingBox:
    """The smallest box that holds all; no boxes give an empty one."""
    sides = zip(*boxes, strict=True)
    joined = tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides)
    return joined or (slice(0, 0),)


def _mask(labels: np.ndarray, values: Sequence[int]) -> np.ndarray:
    mask = labels == values[0]
    for value in values[1:]:
        mask |= labels == value
    return mask
