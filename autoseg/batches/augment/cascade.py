"""Mistakes for the labels of a cascade's first stage, so that the second does not trust them blindly.

nnU-Net v2 grows, shrinks and smooths the labels and leaves parts of them out; these transforms do the same. They
change the sample's second label channel (see `Source.previous`), which becomes one-hot input channels afterwards. As
long as it is one channel no voxel can have two labels, and an operator costs its label's neighbourhood alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

import cc3d
import edt
import numpy as np
from pydantic import Field
from scipy.ndimage import find_objects

from autoseg.batches.augment.transform import Sample, Shape
from autoseg.records import Record

if TYPE_CHECKING:
    from jaxtyping import Bool

Operation = Literal["dilation", "erosion", "closing", "opening"]
OPERATIONS: tuple[Operation, ...] = ("dilation", "erosion", "closing", "opening")

Probability = Annotated[float, Field(ge=0, le=1)]
Radius = Annotated[float, Field(ge=0)]
_PREVIOUS = 1  # the label channel that holds the previous stage's labels


@dataclass(frozen=True)
class BallOperator:
    """What happens to the voxels of one label.

    Attributes:
        label: training value.
        operation: morphological operation with a ball.
        radius: of the ball, voxels.
    """

    label: int
    operation: Operation
    radius: float


class CascadeMorphology(Record):
    """Dilates, erodes, closes or opens labels of the previous stage with a ball of random radius.

    Labels are worked on one after the other in random order. Voxels that a label gains are taken from the others,
    voxels that it loses become background.

    Attributes:
        labels: training values 1..labels are the foreground.
        radius: range of the radius in voxels, uniform.
        label_probability: chance of each label.
    """

    labels: int = Field(ge=0)
    radius: tuple[Radius, Radius] = (1.0, 8.0)
    label_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, shape: Shape) -> tuple[BallOperator, ...] | None:
        """The operators in their order; None if no label is chosen."""
        chosen = _some_labels(rng, self.labels, self.label_probability)
        operators = [
            BallOperator(label, OPERATIONS[rng.integers(len(OPERATIONS))], float(rng.uniform(*self.radius)))
            for label in chosen
        ]
        return tuple(operators) or None

    def apply(self, sample: Sample, parameters: tuple[BallOperator, ...]) -> Sample:
        """The operators applied to the previous stage's labels in place."""
        labels = sample.labels[_PREVIOUS].numpy()
        for operator in parameters:
            before = labels == operator.label
            after = apply_ball(before, operator.operation, operator.radius)
            labels[before & ~after] = 0
            labels[after] = operator.label
        return sample


@dataclass(frozen=True)
class DroppedComponent:
    """A component of a label.

    Attributes:
        label: training value.
        place: which of the label's droppable components, as a share of their number in [0, 1).
    """

    label: int
    place: float


class CascadeDropComponents(Record):
    """Leaves out one connected component of labels of the previous stage: its voxels become background.

    Attributes:
        labels: training values 1..labels are the foreground.
        largest_share: only components smaller than this share of the patch are left out.
        label_probability: chance of each label.
    """

    labels: int = Field(ge=0)
    largest_share: Probability = 0.15
    label_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, shape: Shape) -> tuple[DroppedComponent, ...] | None:
        """A component for each label that is chosen; None if none is."""
        chosen = _some_labels(rng, self.labels, self.label_probability)
        return tuple(DroppedComponent(label, float(rng.random())) for label in chosen) or None

    def apply(self, sample: Sample, parameters: tuple[DroppedComponent, ...]) -> Sample:
        """The components removed in place; a label without a small enough one stays as it is."""
        labels = sample.labels[_PREVIOUS].numpy()
        for dropped in parameters:
            mask = labels == dropped.label
            box = _bounding_box(mask, 0)
            if box is None:
                continue
            components = _components(mask[box])
            sizes = np.bincount(components.ravel())
            droppable = np.flatnonzero(sizes[1:] < self.largest_share * labels.size) + 1
            if len(droppable):
                labels[box][components == droppable[int(dropped.place * len(droppable))]] = 0
        return sample


def apply_ball(mask: Bool[np.ndarray, "*space"], operation: Operation, radius: float) -> Bool[np.ndarray, "*space"]:
    """A morphological operation with a Euclidean ball, by distances: its cost does not grow with the ball.

    What lies beyond the array neither adds to a dilation nor takes away in an erosion.

    Args:
        mask: bool, 2 or 3 axes.
        radius: voxels, any real number; the ball holds offsets of at most this length.

    Returns:
        A new bool array of the same shape.
    """
    match operation:
        case "dilation":
            return _dilated(mask, radius)
        case "erosion":
            return _eroded(mask, radius)
        case "closing":
            return _eroded(_dilated(mask, radius), radius)
        case "opening":
            return _dilated(_eroded(mask, radius), radius)


def _dilated(mask: np.ndarray, radius: float) -> np.ndarray:
    """Voxels at most the radius away from the mask."""
    result = np.zeros_like(mask)
    box = _bounding_box(mask, ceil(radius))
    if box is not None:
        result[box] = _squared_distance_to(mask[box]) <= radius**2
    return result


def _eroded(mask: np.ndarray, radius: float) -> np.ndarray:
    """Voxels more than the radius away from what is not the mask."""
    result = np.zeros_like(mask)
    box = _bounding_box(mask, 1)  # one layer around the mask holds, for each voxel, a nearest one outside of it
    if box is not None:
        result[box] = _squared_distance_to(~mask[box]) > radius**2
    return result


def _squared_distance_to(mask: np.ndarray) -> np.ndarray:
    """For each voxel the squared distance to the mask's nearest voxel; infinite where the mask is empty."""
    return edt.edtsq(np.ascontiguousarray(~mask).view(np.uint8), parallel=1)


def _bounding_box(mask: np.ndarray, margin: int) -> tuple[slice, ...] | None:
    """The box of the mask's voxels, larger by the margin where the array goes on; None for an empty mask."""
    slices = find_objects(mask.view(np.uint8))
    if not slices:
        return None
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, length in zip(slices[0], mask.shape, strict=True)
    )


def _components(mask: np.ndarray) -> np.ndarray:
    """Numbers the components from 1; voxels that touch at a corner are connected, as in nnU-Net."""
    volume = np.ascontiguousarray(mask).view(np.uint8).reshape((1,) * (3 - mask.ndim) + mask.shape)
    return cc3d.connected_components(volume, connectivity=26).reshape(mask.shape)


def _some_labels(rng: np.random.Generator, labels: int, probability: float) -> list[int]:
    """Each of 1..labels with the probability, in random order."""
    return [int(label) + 1 for label in rng.permutation(labels) if rng.random() < probability]
