"""Mutual information of intensities: for images of different modalities."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from autoseg.tasks.registration.similarities.parzen import BINS, bin_positions, check_bins, joint_histogram
from autoseg.tasks.registration.similarities.protocol import Similarity, visible

UNIT = (0.0, 1.0)

_NEVER = 1e-12  # added to probabilities under the logarithm, so that an empty bin pulls at nothing


def mutual_information(*, bins: int = BINS, value_range: tuple[float, float] = UNIT) -> Similarity:
    """Minus the mutual information of the intensities, in nats: for images of different modalities.

    `-(H(f) + H(w) - H(f, w))` over a joint histogram with cubic B-spline windows, at best minus the smaller entropy.
    An image that is constant has none and leaves no gradient. All voxels count, in chunks: the memory is that of a few
    numbers per voxel, whatever the bins.

    Args:
        bins: of each image; four of them belong to the ends of the windows.
        value_range: of intensities, for both images; values beyond it count as its ends and have no gradient.

    Raises:
        ConfigurationError: fewer than 5 bins, or a range without extent.

    Source: Viola and Wells 1997, IJCV 24(2); Mattes et al. 2003, IEEE TMI 22(1), whose window for the fixed image is
    narrower; the same window for both makes the measure symmetric.
    """
    check_bins(bins, value_range)
    return partial(_over_channels, _mutual_information, bins=bins, value_range=value_range)


def normalized_mutual_information(*, bins: int = BINS, value_range: tuple[float, float] = UNIT) -> Similarity:
    """Minus the normalised mutual information, from -2 to -1: less moved by the size of the overlap than MI.

    `-(H(f) + H(w)) / H(f, w)`; -1 says that the intensities tell nothing of each other, as when an image is constant,
    which leaves no gradient. Options, errors and memory as for `mutual_information`.

    Source: Studholme et al. 1999, Pattern Recognition 32(1).
    """
    check_bins(bins, value_range)
    return partial(_over_channels, _normalized, bins=bins, value_range=value_range)


def _over_channels(
    measure: Callable[[Tensor], Tensor],
    fixed: Tensor,
    warped: Tensor,
    mask: Tensor | None = None,
    *,
    bins: int,
    value_range: tuple[float, float],
) -> Tensor:
    fixed, warped, weights = visible(fixed, warped, mask)
    losses = [
        -measure(
            joint_histogram(
                bin_positions(f.reshape(-1), bins, value_range),
                bin_positions(w.reshape(-1), bins, value_range),
                weights.reshape(-1),
                bins,
            )
        )
        for f, w in zip(fixed, warped, strict=True)
    ]
    return torch.stack(losses).mean()


def _mutual_information(joint: Tensor) -> Tensor:
    return _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint)


def _normalized(joint: Tensor) -> Tensor:
    # not zero even for constant images, which a window spreads over three bins or four
    return (_entropy(joint.sum(1)) + _entropy(joint.sum(0))) / _entropy(joint)


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * (probabilities + _NEVER).log()).sum()
