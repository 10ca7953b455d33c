"""What the user chose about a training. The data's decisions stand in the plan, the machine's in the runtime."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from autoseg.plan.record import SamplerPlan
from autoseg.records import Record

SHORT_TRAINING = 20_000
"""Optimiser steps below which nnU-Net's momentum is too slow (docs/decisions/0002)."""


def _by_name(value: Any) -> Any:
    """A record that is given as a name has that name, and its defaults otherwise."""
    return {"name": value} if isinstance(value, str) else value


def _one_loss(value: Any) -> Any:
    return {value: 1.0} if isinstance(value, str) else value


def _letters(value: Any) -> Any:
    """Letters of axes, each once, in array order; "none" says in words that there are none."""
    if not isinstance(value, str):
        return value
    letters = "" if value == "none" else value
    if wrong := sorted(set(letters) - set("zyx")):
        raise ValueError(f"{''.join(wrong)!r} names no axis; expected some of the letters z, y, x, or none")
    return "".join(letter for letter in "zyx" if letter in letters)


class OptimizerConfig(Record):
    """Optimiser and its numbers; the defaults are nnU-Net's.

    Attributes:
        name: "sgd" with Nesterov momentum, or "adamw".
        learning_rate: at the start of the schedule; None takes 0.01 for SGD and 0.001 for AdamW.
        momentum: of SGD.
        weight_decay: coupled (SGD) or decoupled (AdamW).
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    weight_decay: float = Field(default=3e-5, ge=0, allow_inf_nan=False)

    @property
    def rate(self) -> float:
        """The learning rate at the start of the schedule."""
        return self.learning_rate or (1e-3 if self.name == "adamw" else 1e-2)


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
    power: float = Field(default=0.9, gt=0, allow_inf_nan=False)
    warm_up: float = Field(default=0.0, ge=0, lt=1)


class FineTuningConfig(Record):
    """How a network that starts from pretrained weights is trained on; fresh weights are those that were not loaded.

    Shares are of the training. Where no weights were loaded, nothing of this counts.

    Attributes:
        name: "usual", the schedule as it is; "warm-up", all rates rise linearly from zero first; "sawtooth", first the
            fresh weights alone are trained by a rising rate, then all by rates that rise from zero once more (Wald et
            al., 2024, arXiv:2410.23132).
        decoder_first: share in which a sawtooth trains the fresh weights alone, after a pretraining the decoder.
        warm_up: share over which the rates of all weights rise.
        encoder_rate: rate of the weights that were loaded, after a pretraining the encoder, over that of the others.
    """

    name: Literal["usual", "warm-up", "sawtooth"] = "usual"
    decoder_first: float = Field(default=0.1, gt=0, lt=1)
    warm_up: float = Field(default=0.1, gt=0, lt=1)
    encoder_rate: float = Field(default=1.0, ge=0, le=1)


class TrainingConfig(Record):
    """What the user chose about a training: its length and its method. None leaves a choice to the software.

    Optimizer, schedule, fine-tuning and sampler may be given as a name alone, and so may a single loss.

    Attributes:
        steps: optimiser steps; None trains for `seconds` instead.
        seconds: wall-clock seconds from the first step to the last. Used when `steps` is None.
        seed: of the initial weights and of every random draw.
        optimizer: None takes SGD as suits the length (`optimizer_for`).
        schedule: of the learning rate; None takes what suits the trainer, for segmentation the polynomial.
        fine_tuning: of pretrained weights; None as they are trained without.
        foreground_share: what a segmentation network with fresh weights expects each foreground label to fill of an
            image; 0 begins undecided between all labels, as nnU-Net does.
        losses: plug-ins of kind "loss" and their weights in the sum; empty takes the task's own. A loss is a
            function of (logits, target, batch_dice=...).
        batch_dice: Dice over the whole batch as one image; None as planned.
        deep_supervision: losses at several resolutions; None as planned.
        sampler: which places make a batch; None as planned.
        mirror_axes: image axes that may be mirrored, some of the letters "zyx" ("" or "none" for none); None as
            planned.
        augmentation_on: who augments: "workers" (processes on the CPU), the training's "device" (whole batches at
            once, from boxes that workers read), or "auto", the device if it is a CUDA one.
        accumulation: batches whose gradients are added up to an optimiser step.
        gradient_clip: largest norm of the gradient; larger ones are scaled down.
        ema_decay: decay per step of the averaged weights (exponential moving average); None keeps no average.
        patience: rounds without a better smoothed validation score after which the training ends; None never.
        round_steps: steps between two online validations and checkpoints; None derives it from the length.
        validation_share: online validation batches per training batch.
        stop_after: ends cleanly after this many steps of this process, to be resumed (None: never).
        hooks: plug-ins of kind "hook" that are called after every round and at the end, after those of every training.
        options: choices for a trainer with a record of its own, such as `registration`: field -> value, instead of the
            plan's.
    """

    steps: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    optimizer: Annotated[OptimizerConfig | None, BeforeValidator(_by_name)] = None
    schedule: Annotated[ScheduleConfig | None, BeforeValidator(_by_name)] = None
    fine_tuning: Annotated[FineTuningConfig | None, BeforeValidator(_by_name)] = None
    foreground_share: float = Field(default=0.01, ge=0, lt=1)
    losses: Annotated[dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]], BeforeValidator(_one_loss)] = {}
    batch_dice: bool | None = None
    deep_supervision: bool | None = None
    sampler: Annotated[SamplerPlan | None, BeforeValidator(_by_name)] = None
    mirror_axes: Annotated[str | None, BeforeValidator(_letters)] = None
    augmentation_on: Literal["auto", "workers", "device"] = "auto"
    accumulation: int = Field(default=1, ge=1)
    gradient_clip: float = Field(default=12.0, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    round_steps: int | None = Field(default=None, ge=1)
    validation_share: float = Field(default=0.1, ge=0, le=1)
    stop_after: int | None = Field(default=None, ge=1)
    hooks: tuple[str, ...] = ()
    options: dict[str, Any] = {}

    def augments_on(self, device: str) -> bool:
        """Whether batches are augmented on the training's device, such as "cuda:1"."""
        return self.augmentation_on == "device" or (self.augmentation_on == "auto" and device.startswith("cuda"))
