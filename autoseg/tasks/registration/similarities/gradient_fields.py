"""Normalised gradient fields: edges that run in the same direction, whatever their height or sign."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.similarities.neighbourhoods import differences
from autoseg.tasks.registration.similarities.protocol import Similarity, average, visible

_TINY = 1e-10  # squared intensity per voxel: an image without any edge has directions of length zero


def gradient_fields(*, noise: float = 1.0) -> Similarity:
    """One minus the squared cosine between the images' gradients: for modalities that share edges, not intensities.

    With normalised gradients n = grad / sqrt(|grad|^2 + eta^2), eta = noise * rms(|grad|) of each image and channel,

        loss = mean(1 - (n_f . n_w)^2),

    from 0 (all gradients strong and parallel or opposite) to 1 (orthogonal, or none in one of the images). Gradients
    are central differences per voxel, one-sided at the border of the grid and of the mask; on an anisotropic grid
    parallel edges stay parallel, so that the minimum does not move. A constant image gives 1, without a gradient.

    Args:
        noise: gradients below this multiple of the image's root mean square gradient count as noise.

    Raises:
        ConfigurationError: noise that is not above 0.

    Source: Haber and Modersitzki 2006, MICCAI, LNCS 4191; they take eta from the mean of |grad|,
    whose derivative does not exist where an image is flat.
    """
    if not noise > 0:
        raise ConfigurationError("gradient fields need a level of noise", got=noise, expected="a number above 0")
    return partial(_gradient_fields, noise=noise)


def _gradient_fields(fixed: Tensor, warped: Tensor, mask: Tensor | None = None, *, noise: float) -> Tensor:
    fixed, warped, weights = visible(fixed, warped, mask)
    seen = weights > 0
    gradients = differences(fixed, seen), differences(warped, seen)
    squares = [gradient.square().sum(1) for gradient in gradients]
    lengths = [square + noise**2 * _over_space(average(square, weights), square) + _TINY for square in squares]
    return average(1 - (gradients[0] * gradients[1]).sum(1).square() / (lengths[0] * lengths[1]), weights).mean()


def _over_space(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))
