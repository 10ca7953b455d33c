"""What a network says before it has learned anything."""

from __future__ import annotations

import math

import torch
from torch import nn

from autoseg.networks.structure import part_of, structure_of


@torch.no_grad()
def expect_background(network: nn.Module, share: float, *, regions: bool = False) -> None:
    """Sets the biases of a network's heads so that it begins with background nearly everywhere.

    Each foreground label begins with log(share / (1 - share)) in its logits, background with 0. Labels fill a few
    percent of most images; without this first guess the first steps, which have the highest rate, are spent on pushing
    all features towards background, and some trainings of a hundred steps never come back (docs/decisions/0010).

    Args:
        network: changed in place where its heads are known (`networks.structure`), a convolution to the logits or a
            list of them; others are left alone.
        share: expected of each foreground label, from 0 to below 1; 0 leaves biases at zero.
        regions: logits are those of regions, each with its own sigmoid, and none is background's.

    Source: Lin et al. 2017 (focal loss), arXiv:1708.02002, section 4.1, there 0.01.
    """
    heads = part_of(network, structure_of(network).heads)
    if share == 0 or heads is None:
        return
    first = 0 if regions else 1
    for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
        if isinstance(bias := getattr(head, "bias", None), nn.Parameter):
            bias[first:] = math.log(share / (1 - share))
