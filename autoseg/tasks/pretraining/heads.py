"""What a method adds to the encoder and throws away after pretraining: projectors, predictors, DINO's head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.networks.blocks import ConvBlock, convolution
from autoseg.tasks.pretraining.blocks import at_resolution

Norm = Literal["batch", "layer", "none"]

FEWEST_FOR_BATCH_NORM = 8
"""Samples of a batch from which batch norm in a head is worth its noise; the papers have hundreds."""


def norm_for(batch_size: int) -> Norm:
    """Batch norm as in the papers, but layer norm where a batch is too small to estimate a variance from."""
    return "batch" if batch_size >= FEWEST_FOR_BATCH_NORM else "layer"


def mlp(
    widths: Sequence[int], norm: Norm, *, last_norm: bool = False, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Linear layers of vectors (N, widths[0]) -> (N, widths[-1]), each but the last with norm and activation.

    Args:
        widths: of the input and of each layer, at least one layer.
        norm: "batch" needs more than one sample in training.
        last_norm: norm (without activation) after the last layer too.
        activation: a class of modules.
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        normalised = norm != "none" and (not last or last_norm)
        layers.append(nn.Linear(inputs, outputs, bias=not normalised))
        if normalised:
            layers.append(nn.BatchNorm1d(outputs) if norm == "batch" else nn.LayerNorm(outputs))
        if not last:
            layers.append(activation())
    return nn.Sequential(*layers)


def simclr_projector(inputs: int, norm: Norm, *, hidden: int = 512, outputs: int = 128) -> nn.Sequential:
    """SimCLR's projector: two layers, both normalised (Chen et al. 2020, arXiv:2002.05709, appendix B).

    Args:
        inputs: features of the embedding.
        norm: "batch" or "layer" (`norm_for`).
        hidden: features of the first layer.
        outputs: features of the second layer.
    """
    return mlp((inputs, hidden, outputs), norm, last_norm=True)


def byol_mlp(inputs: int, norm: Norm, *, hidden: int = 512, outputs: int = 128) -> nn.Sequential:
    """BYOL's projector, and its predictor of the same form: two layers, the first normalised.

    Args:
        inputs: features of the vectors.
        norm: "batch" or "layer" (`norm_for`).
        hidden: features of the first layer.
        outputs: features of the second layer.

    Source: Grill et al. 2020, arXiv:2006.07733, section 3.2 (there 4096 and 256 wide).
    """
    return mlp((inputs, hidden, outputs), norm)


class DinoHead(nn.Module):
    """Three layers with GELU, then cosines with prototypes: (N, inputs) -> logits (N, outputs) in [-1, 1].

    Source: Caron et al. 2021, arXiv:2104.14294, appendix C: the last layer is weight-normalised and its gain is kept 1.
    Weights begin with a deviation of 1 / sqrt(inputs), the paper's 0.02 at its width of 2048: in narrow layers 0.02 is
    so little that the biases drown the image after a step.

    Attributes:
        centre: (outputs,), the running mean of the teacher's logits; a buffer, and so part of checkpoints.
    """

    centre: Tensor

    def __init__(
        self, inputs: int, norm: Norm = "none", *, hidden: int = 512, bottleneck: int = 128, outputs: int = 1024
    ) -> None:
        super().__init__()
        self.layers = mlp((inputs, hidden, hidden, bottleneck), norm, activation=nn.GELU)
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.prototypes = nn.Parameter(torch.empty(outputs, bottleneck))
        nn.init.trunc_normal_(self.prototypes, std=0.02)
        self.register_buffer("centre", torch.zeros(outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        unit = functional.normalize(self.layers(vectors), dim=-1)
        return functional.linear(unit, functional.normalize(self.prototypes, dim=-1))


class ContextPredictor(nn.Module):
    """Embeddings of hidden cells from those of visible ones: (B, F, *grid) -> (B, F, *grid).

    A narrow convolutional network; hidden cells hold a learned token, and every cell is told its place by a learned
    code, as I-JEPA's narrow transformer does. All target blocks are predicted in one pass.

    Source: Assran et al. 2023 (I-JEPA), arXiv:2301.08243, section 3.

    Args:
        features: F.
        grid: cells along each axis; fixed, since places are learned.
        width: of the layers between.
        blocks: how many convolutions.
    """

    def __init__(self, features: int, grid: Sequence[int], *, width: int = 128, blocks: int = 3) -> None:
        super().__init__()
        dimension, ones = len(grid), (1,) * len(grid)
        kernel = tuple(3 if cells > 1 else 1 for cells in grid)
        self.enter = convolution(dimension, features, width, ones, ones)
        self.token = nn.Parameter(torch.zeros(1, width, *ones))
        self.place = nn.Parameter(torch.zeros(1, width, *grid))
        nn.init.trunc_normal_(self.token, std=0.02)
        nn.init.trunc_normal_(self.place, std=0.02)
        self.blocks = nn.Sequential(*(ConvBlock(width, width, kernel, ones) for _ in range(blocks)))
        self.leave = convolution(dimension, width, features, ones, ones)

    def forward(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Predictions for all cells; `hidden` is bool (B, *grid)."""
        unseen = at_resolution(hidden, features.shape[2:]).unsqueeze(1)
        cells = torch.where(unseen, self.token, self.enter(features)) + self.place
        result: Tensor = self.leave(self.blocks(cells))
        return result
