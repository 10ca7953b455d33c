"""Regions grown from seeds through voxels of like intensity, by what training cases show of each label."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import cc3d
import numpy as np
from scipy.ndimage import gaussian_filter

from autoseg.data.dataset import Case
from autoseg.data.files import read_case
from autoseg.data.image import Image
from autoseg.studies.comparison.baselines.examples import TrainingExample, examples, read_example
from autoseg.studies.comparison.baselines.intensities import normalize
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation

TOLERANCES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""How far an intensity may be from the label's median, in spreads; one is chosen per label."""

REACHES = (1.0, 3.0)
"""Half axes of the ellipsoid where seeds may lie, in standard deviations of the label's positions: 1 stays within one
compact structure, 3 finds many structures scattered over the image."""

CHOOSING_CASES = 12
"""Training cases on which channel, tolerance and reach are chosen; statistics are of all."""

_SAMPLE = 2000  # voxels of a label and case that its median and spread are taken from
_SEED_TOLERANCE = 0.5  # spreads; seeds are typical of their label
_SMALLEST_SPREAD = 1e-3  # of a label with one intensity
_MARGIN = 0.05  # of the image, around the box where the label was seen


@dataclass(frozen=True)
class Appearance:
    """A label as the training cases show it; positions are relative to the image, 0 to 1 in the order (z, y, x).

    Attributes:
        median, spread: float64 (C,), of the smoothed intensities inside the label; 1.4826 times the median absolute
            deviation, which is the standard deviation of a normal distribution.
        position, deviation: float64 (3,), mean and standard deviation of the voxels' positions.
        low, high: float64 (3,), the box that holds the label in every training case, with a margin.
    """

    median: np.ndarray
    spread: np.ndarray
    position: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Growth:
    """What was chosen for a label: the channel's index, the tolerance in spreads, the seeds' reach in deviations."""

    channel: int
    tolerance: float
    reach: float


@dataclass(frozen=True)
class Regions:
    """Labels that are grown: training value -> how it looks and how it grows."""

    channels: tuple[str, ...]
    labels: dict[int, tuple[Appearance, Growth]]

    @property
    def note(self) -> str:
        """What was chosen."""
        grown = (growth for _, growth in self.labels.values())
        parts = {f"{self.channels[one.channel]} within {one.tolerance:g} spreads": None for one in grown}
        return "; ".join(parts) or "no training case has a label"

    def predict(self, case: Case) -> Segmentation:
        """Labels int16; where regions overlap, the label whose median is nearer, in spreads."""
        smooth, inside = _smoothed(read_case(case, len(self.channels)), self.channels)
        segmentation: np.ndarray = np.zeros(inside.shape, np.int16)
        nearest = np.full(inside.shape, np.inf, np.float32)
        for label, (appearance, growth) in self.labels.items():
            candidate = territory(smooth[growth.channel], inside, appearance, growth.channel)
            better = candidate.grow(growth.tolerance, growth.reach) & (candidate.distance < nearest[candidate.box])
            segmentation[candidate.box][better] = label
            nearest[candidate.box][better] = candidate.distance[better]
        return Segmentation(segmentation)


@dataclass(frozen=True)
class Territory:
    """Where a label may grow in one channel of an image.

    Attributes:
        box: where the label may be, as an index into (Z, Y, X); the arrays below have its shape.
        distance: float32, from the label's median in spreads; infinite outside the non-zero region.
        away: float32, from the label's mean position in its standard deviations.
    """

    box: tuple[slice, slice, slice]
    distance: np.ndarray
    away: np.ndarray

    def grow(self, tolerance: float, reach: float) -> np.ndarray:
        """Face-connected voxels within the tolerance that are connected to a seed; bool, perhaps nowhere True."""
        components = cc3d.connected_components(self.distance <= tolerance, connectivity=6)
        seeds = (self.distance <= _SEED_TOLERANCE) & (self.away <= reach)
        kept: np.ndarray = np.zeros(int(components.max(initial=0)) + 1, bool)
        kept[components[seeds]] = True
        return kept[components]


def territory(smooth: np.ndarray, inside: np.ndarray, appearance: Appearance, channel: int) -> Territory:
    """The territory of a label in the smoothed intensities (Z, Y, X) of a channel.

    Args:
        smooth: float32 (Z, Y, X).
        inside: bool (Z, Y, X), the non-zero region.
        appearance: where the label lies and how bright it is, from the training cases.
        channel: which one the intensities are of.
    """
    shape = np.array(smooth.shape)
    low = np.floor(appearance.low * shape).astype(int)
    high = np.ceil(appearance.high * shape).astype(int)
    z, y, x = (slice(a, max(b, a + 1)) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    box = z, y, x
    median, spread = np.float32(appearance.median[channel]), np.float32(appearance.spread[channel])
    distance = np.abs(smooth[box] - median) / spread
    distance[~inside[box]] = np.inf
    # At least half a voxel: the ellipsoid of a label on one slice would else hold no voxel's centre.
    deviation = np.maximum(appearance.deviation, 0.5 / shape)
    away: np.ndarray = np.zeros(distance.shape, np.float32)
    for axis, part in enumerate(box):
        line = (np.arange(part.start, part.stop) + 0.5) / shape[axis] - appearance.position[axis]
        away += np.square(line / deviation[axis]).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
    return Territory(box, distance, np.sqrt(away))


def region_growing(context: BaselineContext) -> Regions:
    """Regions grown from typical voxels at a label's usual place; tolerance and channel by Dice on training cases.

    Intensities are normalised and smoothed by one voxel. Seeds are voxels near the median of the label and near its
    mean relative position; a region spreads over faces to voxels within the tolerance, inside the box where the label
    lay in the training cases. A label without training voxels is never predicted.
    Sources: Zucker 1976, "Region growing: childhood and adolescence", Computer Graphics and Image Processing 5(3);
    Adams and Bischof 1994, "Seeded region growing", IEEE TPAMI 16(6) (to which of several regions a voxel goes).
    """
    looks = _appearances(context)
    return Regions(context.dataset.channels, _choose(context, looks))


@dataclass
class _Seen:
    """Sums over the training cases of one label."""

    values: list[np.ndarray] = field(default_factory=list)
    voxels: int = 0
    total: np.ndarray = field(default_factory=lambda: np.zeros(3))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(3))
    low: np.ndarray = field(default_factory=lambda: np.ones(3))
    high: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def add(self, smooth: np.ndarray, mask: np.ndarray) -> None:
        """Adds a case: (C, Z, Y, X) and a mask that is not empty."""
        voxels = np.argwhere(mask)
        taken = voxels[:: max(1, len(voxels) // _SAMPLE)]
        self.values.append(smooth[:, taken[:, 0], taken[:, 1], taken[:, 2]])
        relative = (voxels + 0.5) / mask.shape
        self.voxels += len(relative)
        self.total += relative.sum(axis=0)
        self.squares += np.square(relative).sum(axis=0)
        self.low = np.minimum(self.low, relative.min(axis=0))
        self.high = np.maximum(self.high, relative.max(axis=0))

    def appearance(self) -> Appearance:
        values = np.concatenate(self.values, axis=1).astype(np.float64)
        median = np.median(values, axis=1)
        spread = 1.4826 * np.median(np.abs(values - median[:, None]), axis=1)
        position = self.total / self.voxels
        deviation = np.sqrt(np.maximum(self.squares / self.voxels - position**2, 0))
        low, high = np.clip([self.low - _MARGIN, self.high + _MARGIN], 0, 1)
        return Appearance(median, np.maximum(spread, _SMALLEST_SPREAD), position, deviation, low, high)


def _appearances(context: BaselineContext) -> dict[int, Appearance]:
    """How each label that the training cases have looks in them."""
    seen: dict[int, _Seen] = {}
    for example in examples(context):
        smooth, _ = _smoothed(example.image, context.dataset.channels)
        for label in _labels(example, context):
            seen.setdefault(label, _Seen()).add(smooth, example.labels == label)
    return {label: seen[label].appearance() for label in sorted(seen)}


def _choose(context: BaselineContext, looks: dict[int, Appearance]) -> dict[int, tuple[Appearance, Growth]]:
    """For each label the growth with the largest mean Dice over annotated voxels, the first among equals."""
    channels = context.dataset.channels
    options = [Growth(*values) for values in product(range(len(channels)), TOLERANCES, REACHES)]
    dice: dict[int, list[list[float]]] = {label: [] for label in looks}
    step = max(1, -(-len(context.training) // CHOOSING_CASES))
    for case in context.training[::step]:
        example = read_example(case, context.dataset)
        smooth, inside = _smoothed(example.image, channels)
        annotated = example.labels < len(context.labels.values)
        for label, appearance in looks.items():
            reference = example.labels == label
            voxels = int(np.count_nonzero(reference))
            scores = []
            for channel in range(len(channels)):
                candidate = territory(smooth[channel], inside, appearance, channel)
                for tolerance, reach in product(TOLERANCES, REACHES):
                    grown = candidate.grow(tolerance, reach) & annotated[candidate.box]
                    scores.append(_dice(grown, reference[candidate.box], voxels))
            dice[label].append(scores)
    best = {label: int(np.argmax(np.mean(scores, axis=0))) for label, scores in dice.items()}
    return {label: (appearance, options[best[label]]) for label, appearance in looks.items()}


def _dice(grown: np.ndarray, reference: np.ndarray, voxels: int) -> float:
    """Dice of a region and a label with so many voxels in the whole image; 1 where both are empty.

    Choosing needs a number for those too, so that leaving a case without the label empty is worth something.
    """
    both = int(np.count_nonzero(grown)) + voxels
    return 2 * int(np.count_nonzero(grown & reference)) / both if both else 1.0


def _smoothed(image: Image, channels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Normalised intensities after a Gaussian of one voxel of the finest spacing, (C, Z, Y, X), and the region."""
    ready = normalize(image, channels)
    spacing = image.geometry.spacing
    sigmas = [min(spacing) / one if length > 1 else 0.0 for one, length in zip(spacing, image.shape, strict=True)]
    return np.stack([gaussian_filter(channel, sigmas) for channel in ready.array]), ready.inside


def _labels(example: TrainingExample, context: BaselineContext) -> list[int]:
    """Foreground labels that a case has."""
    values = np.unique(example.labels)
    return [int(label) for label in values if 0 < label < len(context.labels.values)]
