"""A part of the network that names the labels of each image by itself, before two images are compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.learned.stages import Block, Encoder, enlarged

_SMOOTH = 1e-5
"""Added to numerator and denominator of Dice, so that a label that no image has scores 1."""


class Recognition(nn.Module):
    """A U-Net of the plan's widths: images (N, C, *S) -> logits (N, 1 + labels, *S), background first.

    It works at the finest stage of the encoder and enlarges what it finds there linearly. Its probabilities join the
    images as channels, so that a network that lays structures on each other has been told where they are, and what
    it learns of that does not depend on the pair: Xu and Niethammer 2019, MICCAI, DeepAtlas; labels as features of a
    registration: Siebert et al. 2021, MICCAI Learn2Reg.
    """

    def __init__(self, plan: LearnedPlan, channels: int) -> None:
        super().__init__()
        self.encoder = Encoder(plan, channels)
        self.decoder = nn.ModuleList(
            Block(plan, finer + coarser, finer)
            for finer, coarser in zip(reversed(plan.features[:-1]), reversed(plan.features[1:]), strict=True)
        )
        make = nn.Conv2d if plan.dimension == 2 else nn.Conv3d
        self.head = make(plan.features[0], plan.labels + 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        state, *finer = reversed(self.encoder(images))
        for block, features in zip(self.decoder, finer, strict=True):
            state = block(torch.cat((features, enlarged(state, features.shape[2:])), dim=1))
        return enlarged(self.head(state).float(), images.shape[2:])


def probabilities(logits: Tensor) -> Tensor:
    """Of the foreground labels: (N, 1 + K, *S) -> (N, K, *S) in [0, 1]."""
    return logits.softmax(dim=1)[:, 1:]


def recognition_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy plus one minus the mean Dice of foreground labels, over all voxels of all images.

    Args:
        logits: (N, 1 + K, *S), background first.
        labels: (N, *S) integer; values other than 1..K count as background.

    Returns:
        A float32 scalar.
    """
    count = logits.shape[1] - 1
    truth = torch.where((labels >= 1) & (labels <= count), labels, 0).long()
    entropy = functional.cross_entropy(logits, truth)
    predicted = probabilities(logits)
    membership = functional.one_hot(truth, count + 1).movedim(-1, 1)[:, 1:].to(predicted)
    axes = (0, *range(2, predicted.ndim))
    overlap, size = (predicted * membership).sum(axes), predicted.sum(axes) + membership.sum(axes)
    return entropy + 1 - ((2 * overlap + _SMOOTH) / (size + _SMOOTH)).mean()
