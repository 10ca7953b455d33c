"""Examples of a self-supervised method, from what is drawn for one to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from autoseg.errors import TrainingError
from autoseg.tasks.pretraining.views import Crop, View


@dataclass(frozen=True)
class DrawnExample:
    """All that is random about one example, before a voxel is read.

    Attributes:
        region: the box of the image to read; beyond the image it holds zeros.
        views: what is cut from it.
        extra: arrays that the method drew for this example (a mask, a class), which become the example's `extra`.
        seed: of what cannot be drawn before the values are known.
    """

    region: Crop
    views: tuple[View, ...]
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class ViewExample:
    """One example: views float32 (C, *size), and what the loss needs beside them, by name."""

    views: tuple[Tensor, ...]
    extra: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ViewBatch:
    """Examples of one step.

    Attributes:
        views: float32 (B, C, *size) per view; sizes may differ between views.
        extra: (B, ...) by name.
        cases: the case of each example.
        step: the step it belongs to.
    """

    views: tuple[Tensor, ...]
    extra: Mapping[str, Tensor]
    cases: tuple[str, ...]
    step: int = 0

    def to(self, device: str | torch.device, memory_format: torch.memory_format = torch.contiguous_format) -> ViewBatch:
        """The same batch on a device, views in that layout; nothing is waited for where memory is pinned."""
        views = tuple(view.to(device, non_blocking=True, memory_format=memory_format) for view in self.views)
        return replace(self, views=views, extra={k: v.to(device, non_blocking=True) for k, v in self.extra.items()})

    def pin_memory(self) -> ViewBatch:
        """The same batch in page-locked memory."""
        views = tuple(view.pin_memory() for view in self.views)
        return replace(self, views=views, extra={name: values.pin_memory() for name, values in self.extra.items()})


def collate(examples: Sequence[ViewExample], cases: Sequence[str], step: int = 0) -> ViewBatch:
    """Examples of one method as a batch.

    Raises:
        TrainingError: no example.
    """
    if not examples:
        raise TrainingError("a batch has no examples", expected="at least one")
    views = tuple(torch.stack(same) for same in zip(*(example.views for example in examples), strict=True))
    extra = {name: torch.stack([example.extra[name] for example in examples]) for name in examples[0].extra}
    return ViewBatch(views, extra, tuple(cases), step)
