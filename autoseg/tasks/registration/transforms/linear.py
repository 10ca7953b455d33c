"""Maps with a matrix: affine ones, and the homographies of a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Affine:
    """T(p) = matrix (p - centre) + centre + translation, as ITK's `AffineTransform`.

    Attributes:
        matrix: (D, D).
        translation, centre: (D,) in mm. The centre is where the matrix turns and scales; it stays fixed under the map
            but for the translation.

    The tensors are float64 by convention; gradients flow through them.
    """

    matrix: Float[Tensor, "dimension dimension"]
    translation: Float[Tensor, " dimension"]
    centre: Float[Tensor, " dimension"]

    @classmethod
    def identity(cls, dimension: int, centre: Sequence[float] | None = None) -> Affine:
        """The map that moves nothing, around a centre (the world's origin by default)."""
        zero = torch.zeros(dimension, dtype=torch.float64)
        middle = zero if centre is None else torch.tensor(tuple(centre), dtype=torch.float64)
        return cls(torch.eye(dimension, dtype=torch.float64), zero, middle)

    @property
    def dimension(self) -> int:
        return len(self.translation)

    def __call__(self, points: Float[Tensor, "*points dimension"]) -> Float[Tensor, "*points dimension"]:
        matrix, translation, centre = (part.to(points) for part in (self.matrix, self.translation, self.centre))
        return (points - centre) @ matrix.T + (centre + translation)

    def inverse(self) -> Affine:
        """Exact. Raises `torch.linalg.LinAlgError` for a matrix that flattens space."""
        back = torch.linalg.inv(self.matrix)
        return Affine(back, -(back @ self.translation), self.centre)

    def then(self, second: Affine) -> Affine:
        """The affine map that applies this one first, then `second`; it keeps this one's centre."""
        centre = self.centre
        translation = second(centre + self.translation) - centre
        return Affine(second.matrix @ self.matrix, translation, centre)


@dataclass(frozen=True, eq=False)
class Perspective:
    """A homography: T(p) = centre + q / w with (q, w) = matrix (p - centre, 1).

    Attributes:
        matrix: (D + 1, D + 1); only its direction matters, not its length.
        centre: (D,) in mm.

    Points with w = 0 map to infinity; a sensible homography has w > 0 over the whole image.
    """

    matrix: Float[Tensor, "homogeneous homogeneous"]
    centre: Float[Tensor, " dimension"]

    @property
    def dimension(self) -> int:
        return len(self.centre)

    def __call__(self, points: Float[Tensor, "*points dimension"]) -> Float[Tensor, "*points dimension"]:
        matrix, centre = self.matrix.to(points), self.centre.to(points)
        mapped = (points - centre) @ matrix[:, :-1].T + matrix[:, -1]
        return mapped[..., :-1] / mapped[..., -1:] + centre

    def inverse(self) -> Perspective:
        """Exact. Raises `torch.linalg.LinAlgError` for a matrix that flattens space."""
        return Perspective(torch.linalg.inv(self.matrix), self.centre)
