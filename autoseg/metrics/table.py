"""The metrics there are, one row each: what the report prints and `score` computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from autoseg.errors import ConfigurationError
from autoseg.metrics import overlap, surface
from autoseg.metrics.confusion import Counts
from autoseg.metrics.surface import TOLERANCE_MM, SurfaceDistances, surface_distances
from autoseg.records import unknown_name

if TYPE_CHECKING:
    from jaxtyping import Bool


@dataclass(frozen=True)
class LabelPair:
    """One label of one case, prediction beside reference: what a metric may look at.

    Attributes:
        counts: voxels, ignored ones left out.
        prediction, reference: boolean masks with as many axes as the image has dimensions, cut to any box that
            holds both objects.
        spacing: mm between voxel centres, one value per axis.
        tolerance_mm: for metrics that forgive small distances.
    """

    counts: Counts
    prediction: Bool[np.ndarray, "*space"]
    reference: Bool[np.ndarray, "*space"]
    spacing: tuple[float, ...]
    tolerance_mm: float = TOLERANCE_MM

    @cached_property
    def distances(self) -> SurfaceDistances | None:
        """Distances between the surfaces, computed when first asked for; None if a mask is empty."""
        return surface_distances(self.prediction, self.reference, self.spacing)


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    Attributes:
        name: key in summaries.
        title: for tables and figures.
        unit: "" for ratios, "mm" for distances.
        best: whether higher or lower values are better.
        range: smallest and largest possible value.
        definition: one line.
        source: paper.
        compute: the value for a pair; None where it does not exist.
    """

    name: str
    title: str
    unit: str
    best: Literal["higher", "lower"]
    range: tuple[float, float]
    definition: str
    source: str
    compute: Callable[[LabelPair], float | None]


def select(names: Iterable[str] | None = None) -> tuple[Metric, ...]:
    """The metrics of those names in their order, or all of them; a name that is not known is an error."""
    if names is None:
        return tuple(METRICS.values())
    if isinstance(names, str):
        raise ConfigurationError("metrics must be a list of names", got=repr(names), expected=repr([names]))
    for name in (names := tuple(names)):
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    return tuple(METRICS[name] for name in names)


def _ratio(name: str, title: str, compute: Callable[[Counts], float | None], definition: str, source: str) -> Metric:
    return Metric(name, title, "", "higher", (0.0, 1.0), definition, source, lambda pair: compute(pair.counts))


def _distance(
    name: str, title: str, compute: Callable[[SurfaceDistances], float], definition: str, source: str
) -> Metric:
    def value(pair: LabelPair) -> float | None:
        return None if pair.distances is None else compute(pair.distances)

    return Metric(name, title, "mm", "lower", (0.0, float("inf")), definition, source, value)


def _nsd(pair: LabelPair) -> float | None:
    if pair.distances is None:
        # Infinitely far apart is a value here, unlike for distances: nothing of the one surface is near the other.
        return 0.0 if pair.counts.n_pred or pair.counts.n_ref else None
    return surface.normalised_surface_distance(pair.distances, pair.tolerance_mm)


_RELOADED = "Maier-Hein, Reinke et al. 2024, Nature Methods 21"

_ROWS = (
    _ratio("dice", "Dice", overlap.dice, "2 TP / (2 TP + FP + FN)", "Dice 1945, Ecology 26(3)"),
    _ratio("iou", "IoU", overlap.iou, "TP / (TP + FP + FN)", "Jaccard 1912, New Phytologist 11(2)"),
    _ratio("precision", "Precision", overlap.precision, "TP / (TP + FP)", _RELOADED),
    _ratio("sensitivity", "Sensitivity", overlap.sensitivity, "TP / (TP + FN)", _RELOADED),
    _ratio("specificity", "Specificity", overlap.specificity, "TN / (TN + FP)", _RELOADED),
    _ratio(
        "f_beta",
        f"F-beta ({overlap.BETA:g})",
        overlap.f_beta,
        f"(1 + b2) TP / ((1 + b2) TP + b2 FN + FP), b = {overlap.BETA:g}",
        "van Rijsbergen 1979, Information Retrieval",
    ),
    _ratio(
        "volume_similarity",
        "Volume similarity",
        overlap.volume_similarity,
        "1 - |FN - FP| / (2 TP + FP + FN)",
        "Taha and Hanbury 2015, BMC Medical Imaging 15:29",
    ),
    _distance(
        "hausdorff",
        "Hausdorff",
        surface.hausdorff,
        "largest distance from one surface to the other, the worse direction",
        "Huttenlocher et al. 1993, IEEE TPAMI 15(9)",
    ),
    _distance(
        "hd95",
        "HD95",
        lambda distances: surface.hausdorff(distances, 95),
        "95th percentile of the distances from one surface to the other, the worse direction",
        "Huttenlocher et al. 1993, IEEE TPAMI 15(9)",
    ),
    _distance(
        "assd",
        "Average surface distance",
        surface.average_symmetric_surface_distance,
        "mean distance over the border voxels of both surfaces",
        "Heimann et al. 2009, IEEE TMI 28(8)",
    ),
    Metric(
        "nsd",
        "Normalised surface distance",
        "",
        "higher",
        (0.0, 1.0),
        "share of both surfaces' border voxels within the tolerance of the other surface",
        "Nikolov et al. 2021, J Med Internet Res 23(7)",
        _nsd,
    ),
)

METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}
"""Metric name -> row. A new metric is a function and a row in `_ROWS`."""
