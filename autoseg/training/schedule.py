"""How far a training is, and the learning rate that goes with it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from autoseg.errors import ConfigurationError
from autoseg.training.config import FineTuningConfig, ScheduleConfig, TrainingConfig

_LEAST_ROUND_SECONDS = 4.0
_LEAST_SHARE = 1e-3  # of the rate, where it rises from zero: so that the first step moves at all


def learning_rate(base: float, progress: float, schedule: ScheduleConfig) -> float:
    """The learning rate at a progress in [0, 1]; beyond the end it stays at the last value."""
    p = min(max(progress, 0.0), 1.0)
    if schedule.warm_up and p < schedule.warm_up:
        return base * max(p / schedule.warm_up, _LEAST_SHARE)
    if schedule.name == "cosine":
        return base * (1 + math.cos(math.pi * p)) / 2
    return base * (1 - p) ** schedule.power


def fine_tuning_rates(
    base: float, progress: float, schedule: ScheduleConfig, tuning: FineTuningConfig
) -> tuple[float, float]:
    """The learning rates of loaded and of fresh weights at a progress in [0, 1]; 0 leaves weights as they are.

    Args:
        base: learning rate at the start of the schedule.
        progress: share of the training that is done.
        schedule: the rate of an ordinary training.
        tuning: what a training from loaded weights does differently.
    """
    p = min(max(progress, 0.0), 1.0)
    alone = tuning.decoder_first if tuning.name == "sawtooth" else 0.0
    if p < alone:
        return 0.0, base * max(p / alone, _LEAST_SHARE)
    rate = learning_rate(base, p, schedule)
    if tuning.name != "usual":
        rate *= min(1.0, max((p - alone) / tuning.warm_up, _LEAST_SHARE))
    return rate * tuning.encoder_rate, rate


@dataclass
class Clock:
    """Counts steps and seconds of a training, over all the processes that it was spread over.

    With a number of steps the progress is exact and the same on every machine. With seconds the progress is the
    share of the time used so far, so that the schedule ends when the time does, whatever the machine's speed and
    however it changes.

    Between two looks at the watch nothing here changes by itself, so that processes that train together and look at
    the watch of one of them take the same decisions.

    Attributes:
        step: finished steps.
        seconds: seconds of training so far, as of the last look at the watch; at first, those before this process.
    """

    config: TrainingConfig
    step: int = 0
    seconds: float = 0.0
    _started: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        if self.config.steps is None and self.config.seconds is None:
            raise ConfigurationError("a training needs a length", expected="a number of steps or of seconds")
        self._started = time.monotonic() - self.seconds

    def watch(self) -> float:
        """Seconds of training up to now, for `seconds`."""
        return time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        if self.config.steps is not None:
            return min(1.0, self.step / self.config.steps)
        assert self.config.seconds is not None
        return min(1.0, self.seconds / self.config.seconds)

    @property
    def finished(self) -> bool:
        """No step is left. A training of seconds does at least one step."""
        return self.progress >= 1.0 and self.step > 0

    @property
    def total_steps(self) -> int:
        """Steps of the whole training: exact, or extrapolated from the pace so far."""
        if self.config.steps is not None:
            return self.config.steps
        return max(self.step, round(self.step / max(self.progress, 1e-9)))

    @property
    def remaining(self) -> float:
        """Estimated seconds to the end."""
        if self.config.steps is None:
            assert self.config.seconds is not None
            return max(0.0, self.config.seconds - self.seconds)
        return self.seconds / max(self.step, 1) * (self.config.steps - self.step)

    def round_steps(self) -> int:
        """Steps of a round: about 40 rounds per training, at most nnU-Net's 250 steps.

        In a training by time a round lasts some seconds at least, or validating and saving would use up the time.
        """
        if self.config.round_steps is not None:
            return self.config.round_steps
        steps = math.ceil(self.total_steps / 40)
        if self.config.steps is None and self.seconds > 0:
            steps = max(steps, math.ceil(_LEAST_ROUND_SECONDS * self.step / self.seconds))
        return max(1, min(250, steps))
