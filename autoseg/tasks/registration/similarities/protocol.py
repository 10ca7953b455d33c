"""What every similarity is, and the checks and means that all share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from autoseg.errors import RegistrationError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


class Similarity(Protocol):
    """A loss of two images on one grid: lower means more alike.

    A similarity with weights of its own (`mine`) is also an `nn.Module`: its `parameters()` are to be trained on the
    same loss, beside the transform's. Those that look at single voxels (`ssd`, `sad`, `ncc`, `correlation-ratio`,
    `mutual-information`, `normalized-mutual-information`, `mine`) take any number of axes, so also sampled points
    (C, N); the others need a grid of two or three axes.
    """

    def __call__(
        self,
        fixed: Float[Tensor, " channel *space"],
        warped: Float[Tensor, " channel *space"],
        mask: Bool[Tensor, "*space"] | Float[Tensor, "*space"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss, differentiable in both images.

        Args:
            fixed, warped: (C, *S), floating point, of equal shape; warped is the moving image on the fixed grid.
            mask: (*S), bool, or float weights from 0 to 1, of the voxels that count; None where all do. What stands
                elsewhere has no influence and no gradient, even if it is not a number; the mask itself has no gradient.

        Returns:
            A scalar of the images' dtype on their device; the mean over channels, where there are several.

        Raises:
            RegistrationError: shapes that do not fit each other, or a mask that leaves no voxel. (The second is seen
                by reading one number back from the device.)
        """


def visible(
    fixed: Float[Tensor, " channel *space"],
    warped: Float[Tensor, " channel *space"],
    mask: Bool[Tensor, "*space"] | Float[Tensor, "*space"] | None,
) -> tuple[Float[Tensor, " channel *space"], Float[Tensor, " channel *space"], Float[Tensor, "*space"]]:
    """Both images with zeros where the mask is empty, and the weight of each voxel.

    Returns:
        fixed, warped: (C, *S); weights: (*S) of the dtype of `warped` (one repeated number, if there is no mask).

    Raises:
        RegistrationError: as for a `Similarity`.
    """
    if fixed.shape != warped.shape or fixed.ndim < 2:
        raise RegistrationError(
            "the images to compare have different shapes",
            got=f"fixed {tuple(fixed.shape)}, warped {tuple(warped.shape)}",
            expected="(channels, *space), the same for both",
        )
    weights = weights_of(warped, mask)
    if mask is None:
        return fixed, warped, weights
    seen = weights > 0
    return torch.where(seen, fixed, 0), torch.where(seen, warped, 0), weights


def weights_of(
    image: Float[Tensor, " channel *space"], mask: Bool[Tensor, "*space"] | Float[Tensor, "*space"] | None
) -> Float[Tensor, "*space"]:
    """The weight (*S) of each voxel of an image (C, *S) under a mask, as float.

    Raises:
        RegistrationError: a mask of another shape, or no voxel that counts.
    """
    space = image.shape[1:]
    if mask is not None and mask.shape != space:
        raise RegistrationError(
            "the mask has another shape than the images", got=tuple(mask.shape), expected=tuple(space)
        )
    if image.numel() == 0 or (mask is not None and not bool((mask > 0).any())):
        raise RegistrationError(
            "no voxel is left to compare the images by",
            got="an empty mask" if image.numel() else f"images of shape {tuple(image.shape)}",
            expected="at least one voxel that both images and their masks cover",
            remedy="start from a better alignment, or give wider masks",
        )
    if mask is None:
        return image.new_ones(()).expand(space)
    return mask.to(image.dtype)


def average(values: Float[Tensor, " map *space"], weights: Float[Tensor, "*space"]) -> Float[Tensor, " map"]:
    """The weighted mean over voxels of (K, *S): (K,)."""
    return (values * weights).flatten(1).sum(1) / weights.sum()


def centred(
    image: Float[Tensor, " channel *space"], weights: Float[Tensor, "*space"]
) -> Float[Tensor, " channel *space"]:
    """An image (C, *S) less its weighted mean, channel by channel; zero where the weight is."""
    mean = average(image, weights).reshape(-1, *[1] * weights.ndim)
    return torch.where(weights > 0, image - mean, 0)
