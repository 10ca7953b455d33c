"""What a transform is: it draws parameters, or applies given ones, and never does both at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """One patch on its way to a batch.

    Attributes:
        image: float32 (C, *spatial), spatial being (Z, Y, X) or (Y, X).
        labels: int16 (L, *spatial); channel 0 is the target, channel 1 in a cascade what the previous stage predicted.
    """

    image: Float32[torch.Tensor, " channel *space"]
    labels: Int16[torch.Tensor, " label *space"]


@runtime_checkable
class Transform(Protocol):
    """A random transform and its deterministic twin in one object.

    Parameters are drawn before any voxel is read, so they may depend on the shape but not on the values.
    `apply` may change the sample's tensors in place and returns the sample to go on with.
    """

    def draw(self, rng: np.random.Generator, shape: Shape) -> Any | None:
        """Parameters for one sample of shape (C, *spatial); None if nothing is to be done."""
        ...

    def apply(self, sample: Sample, parameters: Any) -> Sample:
        """The sample changed as the parameters say; the same parameters always do the same."""
        ...


@dataclass(frozen=True)
class PatchBox:
    """The part of an image that a patch is made of, in voxels, relative to the drawn centre voxel.

    Attributes:
        start: first voxel minus centre voxel, per axis.
        size: voxels per axis.
        centre: position of the patch's midpoint inside the box, per axis (voxel centres at integers).
        beyond: for each axis, whether the first and the last layer lie beyond what may be seen, and are blanked.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    centre: tuple[float, ...]
    beyond: tuple[tuple[bool, bool], ...]


@runtime_checkable
class Cropping(Transform, Protocol):
    """A transform that stands first and makes the patch from a larger part of the image."""

    def window(self, patch_size: Shape) -> Shape:
        """The largest part of the image, centred on the drawn voxel, that may reach a patch of this size."""
        ...

    def box(self, parameters: Any | None, patch_size: Shape) -> PatchBox:
        """What must be read for these parameters (None: the patch itself)."""
        ...

    def crop(self, sample: Sample, parameters: Any | None, box: PatchBox, patch_size: Shape) -> Sample:
        """The patch, from a sample that holds exactly the box.

        Args:
            sample: image (C, *box.size) float32 and labels (L, *box.size) int16.
            parameters: as `draw` gave them; None leaves the patch as it lies.
            box: as `box` gave it for these parameters.
            patch_size: voxels per axis of the result.
        """
        ...


def patch_box(patch_size: Shape) -> PatchBox:
    """The box of a patch that is only cut out: nnU-Net's rule, the centre voxel has `size // 2` voxels before it."""
    return PatchBox(
        start=tuple(-(n // 2) for n in patch_size),
        size=patch_size,
        centre=tuple((n - 1) / 2 for n in patch_size),
        beyond=((False, False),) * len(patch_size),
    )
