"""The scores of one label over the cases, as arrays that pitfalls of metrics are looked for in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi

import numpy as np

from autoseg.evaluation.scores import ScoreRows
from autoseg.metrics.score import SHIFTS


@dataclass(frozen=True, eq=False)
class LabelScores:
    """One label over the n cases that have a row of it; arrays float64 (n,), NaN where a value does not exist.

    Attributes:
        n_ref, n_pred: voxels.
        hausdorff, hd95: mm.
        dice, nsd: 0..1.
        hole_voxels_ref, hole_voxels_pred: background voxels that the object encloses.
        centroid_distance: mm.
        shift: (n, axes) mm from the reference's centroid to the prediction's, the axes in the order of `SHIFTS`.
        width: mm, of the ball (in a plane the disc) of the reference's volume, the widest that the structure can be
            at its thickest place; NaN for an absent one or without spacing.
        spacing: (n, axes) mm between voxels; NaN where it is not known, and along z in a plane.
    """

    name: str
    n_ref: np.ndarray
    n_pred: np.ndarray
    dice: np.ndarray
    hausdorff: np.ndarray
    hd95: np.ndarray
    nsd: np.ndarray
    hole_voxels_ref: np.ndarray
    hole_voxels_pred: np.ndarray
    centroid_distance: np.ndarray
    shift: np.ndarray
    width: np.ndarray
    spacing: np.ndarray

    @property
    def coarsest(self) -> np.ndarray:
        """Largest spacing of each image in mm, float64 (n,); NaN where it is not known."""
        spacing = np.where(np.isnan(self.spacing), -np.inf, self.spacing).max(axis=1)
        return np.where(np.isinf(spacing), np.nan, spacing)


def collect(name: str, cases: Mapping[str, ScoreRows], spacings: Mapping[str, Sequence[float]] | None) -> LabelScores:
    """Gathers a label from the scores of the cases that have a row of it.

    Args:
        cases: case -> label -> scores; a score that a row lacks, as rows of earlier versions do, is NaN.
        spacings: case -> mm between voxels, three values or those of a plane, (y, x).
    """
    rows = {case: scores[name] for case, scores in cases.items() if name in scores}

    def values(key: str) -> np.ndarray:
        column = [row.get(key) for row in rows.values()]
        return np.array([np.nan if value is None else value for value in column], np.float64)

    sized = [() if spacings is None else tuple(spacings[case]) for case in rows]
    axes = len(SHIFTS)
    return LabelScores(
        name=name,
        n_ref=values("n_ref"),
        n_pred=values("n_pred"),
        dice=values("dice"),
        hausdorff=values("hausdorff"),
        hd95=values("hd95"),
        nsd=values("nsd"),
        hole_voxels_ref=values("hole_voxels_ref"),
        hole_voxels_pred=values("hole_voxels_pred"),
        centroid_distance=values("centroid_distance"),
        shift=np.stack([values(key) for key in SHIFTS], axis=1),
        width=np.array([_width(n, spacing) for n, spacing in zip(values("n_ref"), sized, strict=True)], np.float64),
        spacing=np.array([(*(np.nan,) * (axes - len(spacing)), *spacing) for spacing in sized], np.float64).reshape(
            -1, axes
        ),
    )


def _width(voxels: float, spacing: Sequence[float]) -> float:
    if not spacing or not voxels > 0:
        return float("nan")
    size = voxels * float(np.prod(spacing))
    return 2 * (size / pi) ** 0.5 if len(spacing) == 2 else (6 * size / pi) ** (1 / 3)
