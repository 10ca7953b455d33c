"""Similarities of images of one modality: differences of intensities, and their global correlation."""

from __future__ import annotations

import torch
from torch import Tensor

from autoseg.tasks.registration.similarities.protocol import Similarity, average, centred, visible

FLAT = 1e-10
"""Variance, in squared intensity, up to which an image counts as constant."""


def ssd() -> Similarity:
    """Sum of squared differences, as their mean over voxels: for images of one modality and one scale.

    `mean((w - f)^2)`, in squared intensity; 0 is perfect. Two constant images have a value like any others.

    Source: e.g. Sotiras et al. 2013, IEEE TMI 32(7), section II-B.
    """
    return _ssd


def sad() -> Similarity:
    """Sum of absolute differences, as their mean over voxels: as SSD, but less moved by outliers.

    `mean(|w - f|)`, in units of intensity; 0 is perfect. The gradient of a voxel without a difference is 0.

    Source: e.g. Sotiras et al. 2013, IEEE TMI 32(7), section II-B.
    """
    return _sad


def ncc() -> Similarity:
    """Minus the correlation coefficient of all voxels: for intensities that are linear in one another.

    `-cov(f, w) / (sd(f) sd(w))`, from -1 (perfect) to 1. Where an image is constant (variance up to `FLAT`) the
    coefficient counts as 0 and has no gradient.

    Source: e.g. Lewis 1995, Fast normalized cross-correlation.
    """
    return _ncc


def _ssd(fixed: Tensor, warped: Tensor, mask: Tensor | None = None) -> Tensor:
    fixed, warped, weights = visible(fixed, warped, mask)
    return average((warped - fixed).square(), weights).mean()


def _sad(fixed: Tensor, warped: Tensor, mask: Tensor | None = None) -> Tensor:
    fixed, warped, weights = visible(fixed, warped, mask)
    return average((warped - fixed).abs(), weights).mean()


def _ncc(fixed: Tensor, warped: Tensor, mask: Tensor | None = None) -> Tensor:
    fixed, warped, weights = visible(fixed, warped, mask)
    fixed, warped = centred(fixed, weights), centred(warped, weights)
    covariance = average(fixed * warped, weights)
    variances = average(fixed.square(), weights), average(warped.square(), weights)
    contrast = (variances[0] > FLAT) & (variances[1] > FLAT)
    spread = [torch.where(contrast, variance, 1).sqrt() for variance in variances]
    return -torch.where(contrast, covariance / (spread[0] * spread[1]), 0).mean()
