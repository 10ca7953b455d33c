"""Transforms of the places: rotation and scaling, and mirroring."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, floor, pi, radians, sin
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from pydantic import Field

from autoseg.batches.augment.affine import sample_affine
from autoseg.batches.augment.transform import PatchBox, Sample, Shape, patch_box
from autoseg.data.labels import OUTSIDE
from autoseg.records import Record

if TYPE_CHECKING:
    from jaxtyping import Float64

Probability = Annotated[float, Field(ge=0, le=1)]
_SMALLEST_SCALE = 0.85  # nnU-Net sizes its window for this scale, whatever range is drawn
_ROUNDING = 1e-3  # voxels; more than the error of a float32 coordinate


@dataclass(frozen=True)
class SpatialParameters:
    """A linear map from patch offsets to image offsets, both from the middle, in voxels of the last axes.

    `matrix` is (3, 3), or (2, 2) in the plane of the last two axes, which is applied to each slice alone.
    """

    matrix: tuple[tuple[float, ...], ...]


class Spatial(Record):
    """Rotation about each axis and isotropic scaling, linear in the image, largest share in the labels.

    As in nnU-Net the map is Rz Ry Rx s (applied to offsets (axis 0, axis 1, axis 2), angles uniform and
    independent), so a larger scale shows a larger part of the image and smaller objects; nothing is seen beyond
    a window of fixed size around the patch, where the image is 0 and the label OUTSIDE.

    Attributes:
        rotation_degrees: angles are uniform in +- this.
        rotation_probability, scaling_probability: independent of each other.
        scaling: range of the scale, uniform.
        dummy_2d: rotate and scale in the plane of the last two axes only (anisotropic patches).
    """

    rotation_degrees: float = Field(default=30.0, ge=0, le=180)
    rotation_probability: Probability = 0.2
    scaling: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.7, 1.4)
    scaling_probability: Probability = 0.2
    dummy_2d: bool = False

    def draw(self, rng: np.random.Generator, shape: Shape) -> SpatialParameters | None:
        """Parameters for a patch (C, *spatial); None where neither rotation nor scaling is drawn."""
        planar = self.dummy_2d or len(shape) == 3
        rotate = rng.random() < self.rotation_probability
        scale = rng.random() < self.scaling_probability
        if not (rotate or scale):
            return None
        limit = radians(self.rotation_degrees)
        angles = rng.uniform(-limit, limit, 1 if planar else 3) if rotate else np.zeros(1 if planar else 3)
        factor = rng.uniform(*self.scaling) if scale else 1.0
        matrix = rotation(angles) * factor
        return SpatialParameters(tuple(tuple(map(float, row)) for row in matrix))

    def apply(self, sample: Sample, parameters: SpatialParameters) -> Sample:
        """The whole sample rotated and scaled about its middle, same shape; 0 and OUTSIDE come in at the border."""
        shape = tuple(sample.image.shape[1:])
        transformed = shape[len(shape) - len(parameters.matrix) :]
        margin = [0] * (len(shape) - len(transformed)) + [1] * len(transformed)
        padding = [m for m in reversed(margin) for _ in range(2)]
        bordered = Sample(
            torch.nn.functional.pad(sample.image, padding),
            torch.nn.functional.pad(sample.labels, padding, value=OUTSIDE),
        )
        box = PatchBox(
            start=(0,) * len(shape),
            size=tuple(bordered.image.shape[1:]),
            centre=tuple((n - 1) / 2 + m for n, m in zip(shape, margin, strict=True)),
            beyond=tuple((m == 1, m == 1) for m in margin),
        )
        return self.crop(bordered, parameters, box, shape)

    def window(self, patch_size: Shape) -> Shape:
        """nnU-Net's enlarged patch: what a rotated patch of this size covers, over 0.85, rounded down."""
        return window_size(patch_size, self.rotation_degrees, dummy_2d=self.dummy_2d)

    def box(self, parameters: SpatialParameters | None, patch_size: Shape) -> PatchBox:
        """The part of the window that the drawn map needs; without a map exactly the patch."""
        if parameters is None:
            return patch_box(patch_size)
        plain = len(patch_size) - len(parameters.matrix)
        lead = patch_box(patch_size[:plain])
        window, halves = self.window(patch_size)[plain:], [(n - 1) / 2 for n in patch_size[plain:]]
        start, size, centre, beyond = [], [], [], []
        for length, row in zip(window, parameters.matrix, strict=True):
            middle, reach = (length - 1) / 2, sum(abs(m) * half for m, half in zip(row, halves, strict=True))
            low = max(floor(middle - reach - _ROUNDING), -1)
            high = min(floor(middle + reach + _ROUNDING) + 1, length)
            start.append(low - length // 2)
            size.append(high - low + 1)
            centre.append(middle - low)
            beyond.append((low < 0, high >= length))
        return PatchBox((*lead.start, *start), (*lead.size, *size), (*lead.centre, *centre), (*lead.beyond, *beyond))

    def crop(self, sample: Sample, parameters: SpatialParameters | None, box: PatchBox, patch_size: Shape) -> Sample:
        """The patch from the part of the image that `box` asked for; without parameters the sample itself.

        Args:
            sample: image (C, *box.size) float32 and labels (L, *box.size) int16; layers beyond the image are blanked in
                place.
            parameters: as drawn; None where the patch is neither turned nor scaled.
            box: where the sample lies about the patch's midpoint.
            patch_size: voxels per axis of the result.
        """
        if parameters is None:
            return sample
        image, labels = sample.image.contiguous(), sample.labels.contiguous()
        seen_image, seen_labels = image.numpy(), labels.numpy()
        for axis, (low, high) in enumerate(box.beyond, start=1):
            for layer in [0] * low + [-1] * high:
                index = (slice(None),) * axis + (layer,)
                seen_image[index], seen_labels[index] = 0, OUTSIDE
        matrix = np.asarray(parameters.matrix)
        plain = len(patch_size) - len(matrix)
        shape, centre = patch_size[plain:], box.centre[plain:]
        # Axes that stay as they are (slices of a planar map) count as channels.
        flat_image, flat_labels = image.flatten(0, plain), labels.flatten(0, plain)
        clamp = any(low or high for low, high in box.beyond)
        new_image, new_labels = sample_affine(flat_image, flat_labels, matrix, centre, shape, clamp=clamp)
        return Sample(
            new_image.reshape(len(image), *patch_size),
            new_labels.reshape(len(labels), *patch_size),
        )


@dataclass(frozen=True)
class MirrorParameters:
    """Spatial axes (0 first) to flip."""

    axes: tuple[int, ...]


class Mirror(Record):
    """Flips each of `axes` (spatial, 0 first) with probability one half."""

    axes: tuple[Annotated[int, Field(ge=0, le=2)], ...] = (0, 1, 2)

    def draw(self, rng: np.random.Generator, shape: Shape) -> MirrorParameters | None:
        """The axes to flip; None if no axis is."""
        axes = tuple(axis for axis in self.axes if rng.random() < 0.5)
        return MirrorParameters(axes) if axes else None

    def apply(self, sample: Sample, parameters: MirrorParameters) -> Sample:
        """New tensors with the axes reversed."""
        axes = [axis + 1 for axis in parameters.axes]
        return Sample(sample.image.flip(axes), sample.labels.flip(axes))


def rotation(angles: Float64[np.ndarray, " angle"]) -> Float64[np.ndarray, "axis axis"]:
    """Rotation matrix: one angle (rad) in the plane, or Rz Ry Rx from three angles about axes 0, 1 and 2."""
    if len(angles) == 1:
        c, s = cos(angles[0]), sin(angles[0])
        return np.array([[c, -s], [s, c]])
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_0 = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_1 = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_2 = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_2 @ about_1 @ about_0


@lru_cache(maxsize=64)
def window_size(patch_size: Shape, rotation_degrees: float, *, dummy_2d: bool = False) -> Shape:
    """nnU-Net's "initial patch size": how far from the drawn voxel a patch of `patch_size` may see.

    The corner of the patch is turned by the largest angle (at most 90 degrees) about each axis alone, the largest
    extent of each axis is taken and divided by 0.85. With `dummy_2d` the first axis keeps its size.
    """
    angle = min(pi / 2, radians(rotation_degrees))
    planes = ((0, 1),) if len(patch_size) == 2 else ((1, 2), (2, 0), (0, 1))
    size = [float(n) for n in patch_size]
    for plus, minus in planes:
        a, b = patch_size[plus], patch_size[minus]
        size[plus] = max(size[plus], abs(a * cos(angle) + b * sin(angle)))
        size[minus] = max(size[minus], abs(b * cos(angle) - a * sin(angle)))
    window = [int(s / _SMALLEST_SCALE) for s in size]
    if dummy_2d:
        window[0] = patch_size[0]
    return tuple(window)
