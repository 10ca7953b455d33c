"""Losses of a student that predicts what its momentum teacher sees. Nothing of the teacher has a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from autoseg.errors import TrainingError
from autoseg.tasks.pretraining.losses.precision import full


def byol(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the two directions: the mean of 2 - 2 cos, from 0 (the same) to 4 (opposite).

    One of the two terms of the paper's symmetric loss; it equals 2 + 2 x the negative cosine similarity of SimSiam.

    Args:
        prediction: (N, F) of the student's predictor.
        target: (N, F) of the teacher's projector, of the other view.

    Source: Grill et al. 2020 (BYOL), arXiv:2006.07733, equation 2.
    """
    return (2 - 2 * functional.cosine_similarity(full(prediction), full(target).detach(), dim=1)).mean()


def dino(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    centre: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """Cross-entropy of the student's view of an image to the teacher's centred and sharpened one.

    The mean over samples and over all pairs (teacher's view, student's view) but those of a view with itself, of
    -sum over k of softmax((t - centre) / teacher_temperature)_k log softmax(s / student_temperature)_k.

    Args:
        student: logits (N, K) per view; the first are those that the teacher sees too, in the same order.
        teacher: logits (N, K) per view.
        centre: (K,), the running mean of the teacher's logits (`next_centre`), against one output for everything.
        student_temperature, teacher_temperature: the teacher's is smaller, against outputs that are all alike.

    Raises:
        TrainingError: no pair of different views.

    Source: Caron et al. 2021 (DINO), arXiv:2104.14294, equations 1 to 3.
    """
    pairs = [(t, s) for t in range(len(teacher)) for s in range(len(student)) if s != t]
    if not pairs:
        raise TrainingError(
            "the student has no view that differs from the teacher's",
            got=f"{len(student)} views of the student, {len(teacher)} of the teacher",
            expected="at least two views of the student and one of the teacher",
        )
    teacher_shares = [functional.softmax((full(t).detach() - centre) / teacher_temperature, dim=-1) for t in teacher]
    student_logs = [functional.log_softmax(full(s) / student_temperature, dim=-1) for s in student]
    return torch.stack([-(teacher_shares[t] * student_logs[s]).sum(-1).mean() for t, s in pairs]).mean()


@torch.no_grad()
def next_centre(centre: Tensor, teacher: Sequence[Tensor], momentum: float = 0.9) -> Tensor:
    """The centre (K,) after a batch: momentum x centre + (1 - momentum) x mean of the teacher's logits (N, K).

    It is linear in the batch's mean, so that the mean over processes of their centres is that of the whole batch.

    Source: Caron et al. 2021 (DINO), arXiv:2104.14294, equation 4.
    """
    mean = torch.stack([full(logits) for logits in teacher]).mean((0, 1))
    return centre * momentum + mean * (1 - momentum)


def jepa(prediction: Tensor, target: Tensor, blocks: Tensor) -> Tensor:
    """Smooth L1 distance of predicted and seen embeddings, over the cells of the target blocks.

    The mean over features and over cells of all blocks, a cell counted once for each block that it lies in; 0 where
    there is no cell. The paper writes the squared distance; its experiments use this one, whose slope ends at 1.

    Args:
        prediction: (B, F, *grid) of the predictor, which has not seen the blocks.
        target: (B, F, *grid) of the teacher, which has seen all.
        blocks: (B, M, *grid), bool.

    Source: Assran et al. 2023 (I-JEPA), arXiv:2301.08243, section 3.
    """
    distance = functional.smooth_l1_loss(full(prediction), full(target).detach(), reduction="none").mean(1)
    counts = blocks.sum(1).to(distance.dtype)
    return (distance * counts).sum() / counts.sum().clamp(min=1)
