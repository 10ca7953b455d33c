"""Which part of a policy a device works out for a whole batch, and how.

Drawing parameters and reading boxes stays with the workers. They also apply the steps up to the last one that has no
batched twin here (a researcher's plug-in, the cascade's mistakes), so that the order of a policy is kept; the rest is
left to the device. Given the same parameters the twins make the same patches as the transforms themselves, up to
rounding and to the values of the noise, which each kind of device draws in its own way from the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from autoseg.batches.augment import batched_intensity as intensity
from autoseg.batches.augment import batched_spatial as spatial
from autoseg.batches.augment.batched_intensity import Packed
from autoseg.batches.augment.intensity import Brightness, Contrast, Gamma, GaussianBlur, GaussianNoise, LowResolution
from autoseg.batches.augment.policy import Policy, Step
from autoseg.batches.augment.spatial import Mirror, Spatial, SpatialParameters
from autoseg.batches.augment.transform import PatchBox, Sample, Shape
from autoseg.data.labels import OUTSIDE

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16


@dataclass(frozen=True)
class Twin:
    """A transform for whole batches.

    Attributes:
        pack: (transform, parameters of each sample, shape of a sample (C, *spatial)) -> what `apply` needs, None if
            nothing is to be done. Called on a worker.
        apply: (image float32 (B, C, *spatial), labels int16 (B, L, *spatial), *packed), contiguous, changed in place.
            Waits for no device.
    """

    pack: Callable[[Any, Sequence[Any | None], Shape], Packed | None]
    apply: Callable[..., None]


TWINS: Mapping[type, Twin] = {
    GaussianNoise: Twin(intensity.pack_noise, intensity.add_noise),
    GaussianBlur: Twin(intensity.pack_blur, intensity.multiply_axes),
    Brightness: Twin(intensity.pack_factors, intensity.multiply),
    Contrast: Twin(intensity.pack_factors, intensity.stretch),
    LowResolution: Twin(intensity.pack_low_resolution, intensity.multiply_axes),
    Gamma: Twin(intensity.pack_gamma, intensity.raise_to_power),
    Mirror: Twin(spatial.pack_mirror, spatial.mirror),
}
"""Beside these, `Spatial` as a policy's first step has `batched_spatial.crop`."""


@dataclass(frozen=True)
class Division:
    """A policy divided between workers and device.

    Attributes:
        before: what workers apply.
        crops: whether the device also crops the patches out of their boxes; `before` is empty then.
        steps: what the device applies to patches.
    """

    before: Policy
    crops: bool
    steps: tuple[Step, ...]

    @property
    def helps(self) -> bool:
        """Whether there is anything for the device to do."""
        return self.crops or bool(self.steps)

    def drawn(self, parameters: Sequence[Any | None]) -> Sequence[Any | None]:
        """Those of a sample's parameters that belong to `steps`."""
        return parameters[len(parameters) - len(self.steps) :]

    def pack(self, drawn: Sequence[Sequence[Any | None]], shape: Shape) -> tuple[Packed | None, ...]:
        """What each of `steps` needs for a batch, from the parameters of each sample and its shape (C, *spatial)."""
        by_step = [self.drawn(parameters) for parameters in drawn]
        return tuple(
            TWINS[type(step.transform)].pack(step.transform, of_step, shape)
            for step, of_step in zip(self.steps, zip(*by_step, strict=True), strict=True)
        )

    def apply(
        self,
        image: Float32[Tensor, "batch channel *space"],
        labels: Int16[Tensor, "batch label *space"],
        packed: Sequence[Packed | None],
    ) -> None:
        """Applies `steps` in place, with what `pack` gave, on the device that the tensors are on."""
        for step, needed in zip(self.steps, packed, strict=True):
            if needed is not None:
                TWINS[type(step.transform)].apply(image, labels, *needed)


def divide(policy: Policy) -> Division:
    """The longest end of the policy that a device can do is the device's."""
    steps = policy.steps
    crops = bool(steps) and type(steps[0].transform) is Spatial
    batched = [type(step.transform) in TWINS for step in steps]
    batched[:1] = [batched[0] or crops] if steps else []
    first = len(steps) - next((i for i, twin in enumerate(reversed(batched)) if not twin), len(steps))
    crops = crops and first == 0
    return Division(Policy(steps[:first]), crops, steps[first + crops :])


@dataclass(frozen=True)
class Boxes:
    """Parts of images that patches are yet to be cropped from.

    Attributes:
        image: float32 (m, C, *largest), each box at the start of its row and 0 after it.
        labels: int16 (m, L, *largest), OUTSIDE there.
        matrices: float32 (m, d, d), see `batched_spatial.crop`.
        centres: float32 (m, d).
    """

    image: Float32[Tensor, "box channel *largest"]
    labels: Int16[Tensor, "box label *largest"]
    matrices: Float32[np.ndarray | Tensor, "box axis axis"]
    centres: Float32[np.ndarray | Tensor, "box axis"]


def stack_boxes(boxes: Sequence[tuple[Sample, SpatialParameters, PatchBox]]) -> Boxes:
    """Boxes of at least one sample, as they were read, in tensors that hold the largest; what may not be seen blank."""
    largest = np.max([box.size for _, _, box in boxes], axis=0).tolist()
    sample, parameters, _ = boxes[0]
    image = sample.image.new_zeros((len(boxes), len(sample.image), *largest))
    labels = sample.labels.new_full((len(boxes), len(sample.labels), *largest), OUTSIDE)
    for row, (read, _, box) in enumerate(boxes):
        # layers that may not be seen are left out, and blank already
        inside = (slice(None), *(slice(low, n - high) for n, (low, high) in zip(box.size, box.beyond, strict=True)))
        image[row][inside] = read.image[inside]
        labels[row][inside] = read.labels[inside]
    dimension = len(parameters.matrix)
    matrices = np.array([drawn.matrix for _, drawn, _ in boxes], np.float32)
    centres = np.array([box.centre[len(box.centre) - dimension :] for _, _, box in boxes], np.float32)
    return Boxes(image, labels, matrices, centres)


def moved(values: Any, move: Callable[[Tensor], Tensor]) -> Any:
    """Nested tuples with `move` done to all arrays and tensors in them, which become tensors."""
    match values:
        case tuple():
            return tuple(moved(value, move) for value in values)
        case np.ndarray():
            return move(torch.from_numpy(values))
        case Tensor():
            return move(values)
        case _:
            return values
