"""3D convolution, around a fault of CPU libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


class Convolution3d(nn.Conv3d):
    """`nn.Conv3d` whose gradients can be trusted in bfloat16 on a CPU.

    There, for features of two slices and a kernel of three, the gradient of the weights has memory in it that was never
    written: it comes out huge or not finite (torch 2.13.0 with its oneDNN, on processors with AVX512-BF16). Such
    features are few, so they are computed in float32.
    """

    def forward(self, features: Float[Tensor, "batch input z y x"]) -> Float[Tensor, "batch output _ _ _"]:
        """(B, inputs, Z, Y, X) -> (B, outputs, Z', Y', X')."""
        if not (self.kernel_size[0] > 1 and features.shape[2] == 2 and _in_bfloat16_on_cpu(features)):
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float()).to(torch.bfloat16)


def _in_bfloat16_on_cpu(features: Tensor) -> bool:
    """Whether a convolution of these would be in bfloat16, and have a gradient."""
    if features.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
