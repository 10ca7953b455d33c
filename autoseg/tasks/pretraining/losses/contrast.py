"""Losses that hold embeddings of one image together and those of others apart."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from autoseg.errors import TrainingError
from autoseg.tasks.pretraining.losses.precision import full, no_autocast

Distance = Literal["cosine", "euclidean"]


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy: which of all other views shows the same image.

    For each of the 2 N views i with partner j: -log(exp(s_ij / t) / sum over k != i of exp(s_ik / t)), s the cosine;
    the mean over all views. Identical embeddings everywhere give log(2 N - 1), whatever the temperature; it does not
    change when samples are permuted, or when the two views are swapped.

    Args:
        first, second: (N, F), row n of both of the same image; N at least 2, the others serve as negatives.
        temperature: t > 0; small ones look at the nearest negatives only.

    Raises:
        TrainingError: shapes that differ, or fewer than two samples.

    Source: Chen et al. 2020 (SimCLR), arXiv:2002.05709, equation 1.
    """
    if first.shape != second.shape or first.ndim != 2 or len(first) < 2:
        raise TrainingError(
            "the views of a batch cannot be contrasted",
            got=f"embeddings {tuple(first.shape)} and {tuple(second.shape)}",
            expected="(samples, features), the same for both, at least two samples",
            remedy="raise the batch size",
        )
    count = len(first)
    with no_autocast(first):
        views = functional.normalize(full(torch.cat((first, second))), dim=1)
        itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
        logits = (views @ views.T / temperature).masked_fill(itself, float("-inf"))
        partner = torch.arange(2 * count, device=views.device).roll(count)
        return functional.cross_entropy(logits, partner)


def triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 0.5, distance: Distance = "cosine"
) -> Tensor:
    """How far the positive is from being nearer to the anchor than the negative, by a margin.

    The mean of max(0, d(anchor, positive) - d(anchor, negative) + margin), with d one minus the cosine, or the
    Euclidean distance (FaceNet squares it). Embeddings that are all the same give the margin.

    Args:
        anchor, positive: (N, F), row n of both of the same image.
        negative: of other images, (N, F), or (N, M, F) for M of them an anchor. Without any, the loss is 0.
        margin: in units of the distance.
        distance: "cosine" or "euclidean".

    Source: Schroff et al. 2015 (FaceNet), arXiv:1503.03832, equation 2.
    """
    anchor, positive, negative = full(anchor), full(positive), full(negative)
    if negative.ndim == 2:
        negative = negative.unsqueeze(1)
    if negative.shape[1] == 0:
        return anchor.sum() * 0
    near = _distance(anchor, positive, distance).unsqueeze(1)
    far = _distance(anchor.unsqueeze(1), negative, distance)
    return functional.relu(near - far + margin).mean()


def others(embeddings: Tensor) -> Tensor:
    """For each of N rows (N, F) all rows but itself, in their order: (N, N - 1, F)."""
    count = len(embeddings)
    numbers = torch.arange(count, device=embeddings.device)
    rest = numbers[:-1] + (numbers[:-1] >= numbers[:, None])  # counts on behind oneself
    return embeddings[rest]


def _distance(one: Tensor, other: Tensor, kind: Distance) -> Tensor:
    if kind == "cosine":
        return 1 - functional.cosine_similarity(one, other, dim=-1)
    return torch.linalg.vector_norm(one - other, dim=-1)
