"""What a metric is, those of this project, and the table of all: what the report prints and `score` computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from autoseg import plugins
from autoseg.errors import ConfigurationError, PluginError
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
    """How a label of a case is scored: a plug-in of kind "metric".

    Attributes:
        name: key in summaries, and of the plug-in.
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


class Metrics(Mapping[str, Metric]):
    """Name -> metric, each a plug-in of kind "metric": those of this project first, then those of others by name.

    A name of this project's is looked up without looking for others.
    """

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, name: object) -> bool:
        return name in plugins.BUILT_IN["metric"] or name in self._names()

    def __getitem__(self, name: str) -> Metric:
        if name not in self:
            raise KeyError(name)
        metric = plugins.resolve("metric", name)
        if not isinstance(metric, Metric) or metric.name != name:
            raise PluginError(
                f"the metric {name!r} cannot be used",
                got=f"one of name {metric.name!r}" if isinstance(metric, Metric) else type(metric).__name__,
                expected="a Metric of autoseg.metrics.table, of the name that it is registered by",
            )
        return metric

    @staticmethod
    def _names() -> tuple[str, ...]:
        return _names(tuple(name for name, _ in plugins.registered("metric")))


@lru_cache(maxsize=4)
def _names(registered: tuple[str, ...]) -> tuple[str, ...]:
    """All names while these are registered; installed ones are looked for once."""
    return tuple(plugins.addresses("metric"))


METRICS = Metrics()


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


def _ratio(name: str, title: str, compute: Callable[[Counts], float | None], *, definition: str, source: str) -> Metric:
    return Metric(name, title, "", "higher", (0.0, 1.0), definition, source, lambda pair: compute(pair.counts))


def _distance(
    name: str, title: str, compute: Callable[[SurfaceDistances], float], *, definition: str, source: str
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

DICE = _ratio("dice", "Dice", overlap.dice, definition="2 TP / (2 TP + FP + FN)", source="Dice 1945, Ecology 26(3)")

IOU = _ratio("iou", "IoU", overlap.iou, definition="TP / (TP + FP + FN)", source="Jaccard 1912, New Phytologist 11(2)")

PRECISION = _ratio("precision", "Precision", overlap.precision, definition="TP / (TP + FP)", source=_RELOADED)

SENSITIVITY = _ratio("sensitivity", "Sensitivity", overlap.sensitivity, definition="TP / (TP + FN)", source=_RELOADED)

SPECIFICITY = _ratio("specificity", "Specificity", overlap.specificity, definition="TN / (TN + FP)", source=_RELOADED)

F_BETA = _ratio(
    "f_beta",
    f"F-beta ({overlap.BETA:g})",
    overlap.f_beta,
    definition="(1 + b2) TP / ((1 + b2) TP + b2 FN + FP), b = 2",
    source="van Rijsbergen 1979, Information Retrieval",
)

VOLUME_SIMILARITY = _ratio(
    "volume_similarity",
    "Volume similarity",
    overlap.volume_similarity,
    definition="1 - |FN - FP| / (2 TP + FP + FN)",
    source="Taha and Hanbury 2015, BMC Medical Imaging 15:29",
)

HAUSDORFF = _distance(
    "hausdorff",
    "Hausdorff",
    surface.hausdorff,
    definition="largest distance from one surface to the other, the worse direction",
    source="Huttenlocher et al. 1993, IEEE TPAMI 15(9)",
)

HD95 = _distance(
    "hd95",
    "HD95",
    lambda distances: surface.hausdorff(distances, 95),
    definition="95th percentile of the distances from one surface to the other, the worse direction",
    source="Huttenlocher et al. 1993, IEEE TPAMI 15(9)",
)

ASSD = _distance(
    "assd",
    "Average surface distance",
    surface.average_symmetric_surface_distance,
    definition="mean distance over the border voxels of both surfaces",
    source="Heimann et al. 2009, IEEE TMI 28(8)",
)

NSD = Metric(
    name="nsd",
    title="Normalised surface distance",
    unit="",
    best="higher",
    range=(0.0, 1.0),
    definition="share of both surfaces' border voxels within the tolerance of the other surface",
    source="Nikolov et al. 2021, J Med Internet Res 23(7)",
    compute=_nsd,
)
