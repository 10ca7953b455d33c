"""What every transform is: a map from the fixed image's world to the moving image's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


class SpatialTransform(Protocol):
    """Says for a point of the fixed image's world where it lies in the moving image's world (ITK's convention).

    An image is warped by looking up: `warped(p) = moving(T(p))`. Points are in mm, in the project's axis order.
    """

    @property
    def dimension(self) -> int:
        """D: 2 or 3."""
        ...

    def __call__(self, points: Float[Tensor, "*points dimension"]) -> Float[Tensor, "*points dimension"]:
        """World points (..., D) mapped, in their own dtype and on their own device."""
        ...

    def inverse(self) -> SpatialTransform:
        """The map back. Where no closed form is known, an approximation that its class names."""
        ...
