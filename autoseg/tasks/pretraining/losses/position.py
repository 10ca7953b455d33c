"""Losses that ask where a crop lies or how it is turned."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoseg.tasks.pretraining.losses.precision import full

_SMALL = 1e-6


def volume_contrast(crop: Tensor, bases: Tensor, shares: Tensor, *, spread_weight: float = 1.0) -> Tensor:
    """Position contrast: a crop is as similar to each base crop as it overlaps with it, and base crops are unlike.

    mean of -log(1 - |y - max(0, cos(crop, base))|) over crops and bases, the bases' embeddings held fixed, plus
    `spread_weight` x the mean of |cos(base i, base j)| over pairs i < j. Crops that lie on one base each, with
    embeddings that are orthogonal but for that, give 0.

    Args:
        crop: (B, F) of a crop anywhere in the region.
        bases: (B, M, F) of the crops of a grid that tiles it.
        shares: (B, M), y: share of the crop's volume that lies in each base, from 0 to 1.
        spread_weight: of the second term, which one base alone does not have.

    Source: Wu et al. 2024 (VoCo), arXiv:2402.17300, equations 3 to 5.
    """
    crop, bases = full(crop), full(bases)
    similarity = functional.cosine_similarity(crop.unsqueeze(1), bases.detach(), dim=-1).clamp(0, 1)
    prediction = -(1 - (shares.to(similarity.dtype) - similarity).abs()).clamp(min=_SMALL).log().mean()
    count = bases.shape[1]
    if count < 2:
        return prediction
    pairwise = functional.cosine_similarity(bases.unsqueeze(1), bases.unsqueeze(2), dim=-1).abs()
    off_diagonal = pairwise.triu(diagonal=1).sum((1, 2)) * 2 / (count * (count - 1))
    return prediction + spread_weight * off_diagonal.mean()


def rotation(logits: Tensor, turns: Tensor) -> Tensor:
    """Cross-entropy over the right-angle rotations; logits that know nothing give log(number of rotations).

    Args:
        logits: (N, R), one for each of `rotations.right_angles`.
        turns: (N,), which one it was.

    Source: Gidaris et al. 2018, arXiv:1803.07728; in 3D Taleb et al. 2020, arXiv:2006.03829.
    """
    return functional.cross_entropy(full(logits), turns)
