"""Correlation ratio: how well the fixed image's intensity predicts the other's, by any function."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from autoseg.tasks.registration.similarities.intensity import FLAT
from autoseg.tasks.registration.similarities.mutual_information import UNIT
from autoseg.tasks.registration.similarities.parzen import BINS, bin_positions, check_bins, windows
from autoseg.tasks.registration.similarities.protocol import Similarity, average, centred, visible


def correlation_ratio(*, bins: int = BINS, value_range: tuple[float, float] = UNIT) -> Similarity:
    """One minus the correlation ratio: for a warped image whose intensities are some function of the fixed one's.

    `E[Var(w | f)] / Var(w)`, from 0 (perfect) to 1: the variance of the warped image within bins of the fixed one,
    over all its variance. The bins have cubic B-spline windows. It is not symmetric, and asks less of the images than
    `ncc` (any function, not only a linear one) and more than mutual information. Where the warped image is constant
    (variance up to `intensity.FLAT`) it is 1, without a gradient.

    Args:
        bins: of the fixed image.
        value_range: of its intensities; values beyond it count as its ends. The warped image's range does not matter.

    Raises:
        ConfigurationError: fewer than 5 bins, or a range without extent.

    Source: Roche et al. 1998, MICCAI, LNCS 1496.
    """
    check_bins(bins, value_range)
    return partial(_correlation_ratio, bins=bins, value_range=value_range)


def _correlation_ratio(
    fixed: Tensor, warped: Tensor, mask: Tensor | None = None, *, bins: int, value_range: tuple[float, float]
) -> Tensor:
    fixed, warped, weights = visible(fixed, warped, mask)
    warped = centred(warped, weights)
    total = average(warped.square(), weights)
    explained = torch.stack(
        [
            _explained(bin_positions(f.reshape(-1), bins, value_range), w.reshape(-1), weights.reshape(-1), bins)
            for f, w in zip(fixed, warped, strict=True)
        ]
    )
    contrast = total > FLAT
    return torch.where(contrast, 1 - explained / torch.where(contrast, total, 1), 1).mean()


def _explained(positions: Tensor, values: Tensor, weights: Tensor, bins: int) -> Tensor:
    """The variance of the bins' means.

    Args:
        positions: (N,) of the fixed image's values on the axis of bins.
        values: (N,) of the warped image, with mean zero.
        weights: (N,) of the voxels.
        bins: how many there are.
    """
    index, share = windows(positions, bins)
    share = share * weights[:, None]
    mass, moment = (
        positions.new_zeros(bins).index_add(0, index.reshape(-1), part.reshape(-1))
        for part in (share, share * values[:, None])
    )
    filled = mass > 0
    return torch.where(filled, moment.square() / torch.where(filled, mass, 1), 0).sum() / weights.sum()
