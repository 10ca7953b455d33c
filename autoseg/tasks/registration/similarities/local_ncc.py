"""Correlation in a window around each voxel: the similarity of greedy, ANTs and most learned registrations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.similarities.neighbourhoods import box_counts, box_sum
from autoseg.tasks.registration.similarities.protocol import Similarity, average, centred, visible, weights_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

RADIUS = 2
"""Window of 5 voxels per side, with which greedy is usually run."""

FLATNESS = 1e-5
"""Added to the variance of a window: a standard deviation of 0.3 % of the range of intensities counts as noise."""


def local_ncc(*, radius: int = RADIUS, flatness: float = FLATNESS, signed: bool = False) -> Similarity:
    """Minus the mean squared correlation in a window around each voxel: for images of one kind, any lighting.

    Over the voxels x that count, with means, variances v and covariance over the window around x,

        loss = -mean_x c(x),  c = cov^2 / ((v_f + flatness) (v_w + flatness)),

    from -1 to 0 (signed: to 1). The window is cut off at the border of the grid and of the mask: its moments are
    divided by the voxels (the weight) that remain, so that nothing is filled in. In windows where an image is constant
    c and its gradient are 0.

    Args:
        radius: of the window, voxels.
        flatness: added to variances, in squared intensity.
        signed: c takes the sign of the covariance, so that inverted contrast is a mismatch and not a match.

    Raises:
        ConfigurationError: a radius below 1 or a flatness that is not above 0.

    Source: Avants et al. 2008, Medical Image Analysis 12(1).
    """
    _check(radius, flatness)
    return partial(_local_ncc, radius=radius, flatness=flatness, signed=signed)


def local_ncc_gradient(
    fixed: Float[Tensor, " channel *space"],
    warped: Float[Tensor, " channel *space"],
    mask: Bool[Tensor, "*space"] | Float[Tensor, "*space"] | None = None,
    radius: int = RADIUS,
    *,
    flatness: float = FLATNESS,
    signed: bool = False,
) -> tuple[Float[Tensor, ""], Float[Tensor, " channel *space"]]:
    """The loss of `local_ncc` and its derivative by the warped image, in closed form and without a graph.

    About two thirds of the work of the same by autograd. Where fixed image and mask stay the same, `FixedWindows` saves
    the share that depends on them, another third.

    Args:
        fixed, warped, mask: as for a `Similarity`.
        radius, flatness, signed: as for `local_ncc`.

    Returns:
        The loss, a scalar, and dloss/dwarped, (C, *S); zero outside the mask.

    Raises:
        RegistrationError: as for a `Similarity`.
    """
    with torch.no_grad():
        fixed, warped, _ = visible(fixed, warped, mask)
        return FixedWindows.of(fixed, mask, radius, flatness=flatness, signed=signed).gradient(warped)


@dataclass(frozen=True)
class FixedWindows:
    """What local correlation needs of the fixed image: made once for many warped images.

    Attributes:
        image: (C, *S), the fixed image less its mean, zero where it does not count.
        mean, variance: (C, *S), in the window around each voxel; `flatness` is added to the variance.
        weights: (*S), of voxels.
        count: (*S), the weight in each window.
        radius, flatness, signed: options of `local_ncc`.
        masked: whether some voxels do not count in full.
    """

    image: Float[Tensor, " channel *space"]
    mean: Float[Tensor, " channel *space"]
    variance: Float[Tensor, " channel *space"]
    weights: Float[Tensor, "*space"]
    count: Float[Tensor, "*space"]
    radius: int
    flatness: float
    signed: bool
    masked: bool

    @classmethod
    def of(
        cls,
        fixed: Float[Tensor, " channel *space"],
        mask: Bool[Tensor, "*space"] | Float[Tensor, "*space"] | None = None,
        radius: int = RADIUS,
        *,
        flatness: float = FLATNESS,
        signed: bool = False,
    ) -> FixedWindows:
        """The windows of a fixed image under a mask.

        Args:
            fixed, mask: as for a `Similarity`.
            radius, flatness, signed: as for `local_ncc`.

        Raises:
            ConfigurationError, RegistrationError: as for `local_ncc` and a `Similarity`.
        """
        _check(radius, flatness)
        weights = weights_of(fixed, mask)
        image = centred(fixed, weights)
        if mask is None:
            count = box_counts(image.shape[1:], radius, image)
        else:
            # a voxel that counts is in its own window; elsewhere the number only must not be zero
            count = torch.where(weights > 0, box_sum(weights[None], radius)[0], 1)
        masked = mask is not None
        maps = _weighted(torch.cat((image, image * image)), weights, masked)
        mean, square = (box_sum(maps, radius) / count).chunk(2)
        variance = (square - mean.square()).clamp_min(0) + flatness
        return cls(image, mean, variance, weights, count, radius, flatness, signed, masked)

    def loss(self, warped: Float[Tensor, " channel *space"]) -> Float[Tensor, ""]:
        """The loss of a warped image (C, *S), whose values outside the mask must be finite; differentiable."""
        _, _, spread, covariance = self._compare(warped)
        return -self._mean(self._correlation(spread, covariance))

    def gradient(
        self, warped: Float[Tensor, " channel *space"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " channel *space"]]:
        """The loss and its derivative by the warped image (C, *S), whose values outside the mask must be finite.

        A window x contributes to the derivative at a voxel y in it, with a = dc/dcov / n and b = -2 dc/dv_w / n,

            a(x) (f(y) - mean_f(x)) - b(x) (w(y) - mean_w(x)),

        so that three sums over windows give it for all voxels. (Avants et al. 2008 keep the term of the window around y
        alone; greedy sums all windows, as here.)
        """
        with torch.no_grad():
            image, mean, spread, covariance = self._compare(warped)
            correlation = self._correlation(spread, covariance)
            share = self.weights / self.count
            slope = 2 * (covariance.abs() if self.signed else covariance) / (self.variance * spread) * share
            shrink = 2 * correlation / spread * share
            sums = box_sum(torch.cat((slope, shrink, slope * self.mean - shrink * mean)), self.radius)
            by_fixed, by_warped, rest = sums.chunk(3)
            change = by_fixed * self.image - by_warped * image - rest
            if self.masked:
                change = change * self.weights
            return -self._mean(correlation), change * (-1 / (len(warped) * self.weights.sum()))

    def _compare(self, warped: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The warped image less its mean, its mean and its variance in windows, and the covariance."""
        # the mean only keeps digits; correlation does not depend on it, so neither does the gradient
        middle = average(warped.detach(), self.weights).reshape(-1, *[1] * self.weights.ndim)
        image = warped - middle
        if self.masked:
            image = torch.where(self.weights > 0, image, 0)
        maps = _weighted(torch.cat((image, image * image, image * self.image)), self.weights, self.masked)
        mean, square, product = (box_sum(maps, self.radius) / self.count).chunk(3)
        spread = (square - mean.square()).clamp_min(0) + self.flatness
        return image, mean, spread, product - mean * self.mean

    def _correlation(self, spread: Tensor, covariance: Tensor) -> Tensor:
        squared = covariance * (covariance.abs() if self.signed else covariance)
        return squared / (self.variance * spread)

    def _mean(self, correlation: Tensor) -> Tensor:
        return average(correlation, self.weights).mean()


def _local_ncc(
    fixed: Tensor, warped: Tensor, mask: Tensor | None = None, *, radius: int, flatness: float, signed: bool
) -> Tensor:
    fixed, warped, _ = visible(fixed, warped, mask)
    return FixedWindows.of(fixed, mask, radius, flatness=flatness, signed=signed).loss(warped)


def _weighted(maps: Tensor, weights: Tensor, masked: bool) -> Tensor:
    return maps * weights if masked else maps


def _check(radius: int, flatness: float) -> None:
    if radius < 1 or not flatness > 0:
        raise ConfigurationError(
            "local correlation needs a window of neighbours and some flatness",
            got=f"radius {radius}, flatness {flatness}",
            expected="a radius of at least 1 voxel, and a flatness above 0",
        )
