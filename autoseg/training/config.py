"""What the user chose about a training. The data's decisions stand in the plan, the machine's in the runtime."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autoseg.records import Record

SHORT_TRAINING = 20_000
"""Optimiser steps below which nnU-Net's momentum is too slow (docs/decisions/0002)."""


class OptimizerConfig(Record):
    """Optimiser and its numbers; the defaults are nnU-Net's.

    Attributes:
        name: "sgd" with Nesterov momentum, or "adamw".
        learning_rate: at the start of the schedule.
        momentum: of SGD.
        weight_decay: coupled (SGD) or decoupled (AdamW).
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(default=1e-2, gt=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    weight_decay: float = Field(default=3e-5, ge=0)


def optimizer_for(steps: float) -> OptimizerConfig:
    """SGD for a training of that many steps: nnU-Net's, or for a short one the same effective rate with less memory.

    Momentum 0.99 averages over 100 steps, which a training of a few thousand steps has no time for: it spends the
    first hundreds getting under way. With momentum 0.9 and ten times the rate, lr / (1 - momentum) stays the same.
    """
    if steps < SHORT_TRAINING:
        return OptimizerConfig(learning_rate=0.1, momentum=0.9)
    return OptimizerConfig()


class ScheduleConfig(Record):
    """Learning rate as a function of the progress p in [0, 1] of the training.

    Attributes:
        name: "polynomial", lr (1 - p)^power (Chen et al., 2018, arXiv:1606.00915), or "cosine",
            lr (1 + cos(pi p)) / 2 (Loshchilov and Hutter, 2017, arXiv:1608.03983).
        power: exponent of the polynomial.
        warm_up: share of the training over which the rate rises linearly from zero.
    """

    name: Literal["polynomial", "cosine"] = "polynomial"
    power: float = Field(default=0.9, gt=0)
    warm_up: float = Field(default=0.0, ge=0, lt=1)


class TrainingConfig(Record):
    """A training's length and method.

    Attributes:
        steps: optimiser steps; None trains for `seconds` instead.
        seconds: wall-clock seconds from the first step to the last. Used when `steps` is None.
        seed: of the initial weights and of every random draw.
        loss: plug-in of kind "loss", a function of (logits, target, batch_dice=...); None takes the task's own.
        gradient_clip: largest norm of the gradient; larger ones are scaled down.
        ema_decay: decay a step of the averaged weights (exponential moving average); None keeps no average.
        round_steps: steps between two online validations and checkpoints; None derives it from the length.
        validation_share: online validation batches a training batch.
        stop_after: ends cleanly after this many steps of this process, to be resumed (None: never).
    """

    steps: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)
    seed: int = 0
    loss: str | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    gradient_clip: float = Field(default=12.0, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    round_steps: int | None = Field(default=None, ge=1)
    validation_share: float = Field(default=0.1, ge=0, le=1)
    stop_after: int | None = Field(default=None, ge=1)
