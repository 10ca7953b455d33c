"""How a network is told the weight of the regulariser."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class WeightCode(nn.Module):
    """A weight of the regulariser as a vector that modulates features: (B,) -> (B, width).

    The logarithm of the weight, -1 to 1 over the range (held there outside of it), through two layers. Each decoder
    stage makes from it a scale and a shift of its features.

    Source: HyperMorph, Hoopes et al. 2021, IPMI, arXiv:2101.01035, with modulation (Perez et al. 2018, AAAI, FiLM; for
    registration Mok and Chung 2021, MICCAI, arXiv:2106.12673) in place of generated convolution kernels.
    """

    width = 32

    def __init__(self, bounds: tuple[float, float]) -> None:
        super().__init__()
        self.bounds = bounds
        self.first, self.second = nn.Linear(1, self.width), nn.Linear(self.width, self.width)

    def forward(self, weight: Tensor) -> Tensor:
        low, high = (math.log(bound) for bound in self.bounds)
        position = 2 * (weight.float().clamp_min(torch.finfo(torch.float32).tiny).log() - low) / (high - low) - 1
        inner = functional.silu(self.first(position.clamp(-1, 1)[:, None]))
        return functional.silu(self.second(inner))
