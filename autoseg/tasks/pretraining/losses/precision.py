"""Losses in full precision, whatever the network computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full(values: Tensor) -> Tensor:
    """Half-precision values as float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def no_autocast(values: Tensor) -> AbstractContextManager:
    """A context in which matrix products of these values are not rounded to half precision.

    A similarity over a temperature of 0.1 would else be wrong by several hundredths.
    """
    return torch.autocast(values.device.type, enabled=False)
