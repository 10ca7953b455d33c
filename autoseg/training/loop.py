"""The training loop: steps, rounds, resume. It owns everything that is the same for every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoseg.allocation import freed_memory_kept
from autoseg.errors import TrainingError
from autoseg.log import counted, logger
from autoseg.run_state import begin_training, finish_training, fold_state, withdraw_validation
from autoseg.training.averaging import WeightAverage
from autoseg.training.checkpoint import load_checkpoint, save_checkpoint
from autoseg.training.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from autoseg.training.distributed import dead_ranks_reported, gradients_kept, ranks
from autoseg.training.hooks import HookFactory, RoundReport, no_hooks
from autoseg.training.interrupt import deferred_interrupt
from autoseg.training.optimizer import Descent
from autoseg.training.plateau import Plateau
from autoseg.training.runtime import Runtime
from autoseg.training.schedule import Clock, fine_tuning_rates, learning_rate
from autoseg.training.task import TRAINING, VALIDATION, FollowedTask, MeasuredTask, Task
from autoseg.workspace import Fold

_ENDLESS = 10**9


@dataclass(frozen=True)
class Start:
    """How a training begins.

    Attributes:
        trainer: name of the plug-in that made the task, for the checkpoints.
        loaded: names of the weights that were loaded from another training, for `config.fine_tuning`.
        resume: go on from the last checkpoint, if there is one; else the fold is trained anew.
    """

    trainer: str | None = None
    loaded: tuple[str, ...] = ()
    resume: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        finished: False when it was stopped early on purpose (`stop_after`).
        steps: optimiser steps done.
        seconds: wall-clock seconds of training.
        best_score: highest smoothed online validation score, if there was any.
    """

    finished: bool
    steps: int
    seconds: float
    best_score: float | None


class Training:
    """One training in progress: the only thing that changes while it runs.

    With several processes (`training.distributed`) each has one; they take the same decisions from the same numbers,
    and the leading one writes.

    Args:
        task: what is trained.
        config: how long and by which method. With `accumulation` n, a step takes the mean loss of n batches; a loss
            over a batch as one image, such as batch Dice, stays that of one of them.
        runtime: where.
        fold: folder for checkpoints and metrics.
        dimension: spatial dimensions of the images, for the memory layout.
        hooks: makes what is called, in this order, after every round and at the end; in the leading process alone.
        start: anew or resumed, and from which weights.
    """

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        runtime: Runtime,
        fold: Fold,
        *,
        dimension: int,
        hooks: HookFactory = no_hooks,
        start: Start | None = None,
    ) -> None:
        start = start or Start()
        self.trainer = start.trainer
        self.task, self.config, self.runtime, self.fold = task, config, runtime, fold
        self.ranks = ranks()
        self.layout = runtime.memory_format(dimension)
        self.network = runtime.place(task.network, dimension)
        parallel = self.ranks.parallel(self.network)
        # Compiled from outside, so that the graph is cut where gradients are exchanged while others are computed.
        self.forward: Any = runtime.compile(parallel)
        self.method = config.optimizer or OptimizerConfig()
        self.schedule = config.schedule or ScheduleConfig()
        self.loaded = frozenset(start.loaded) if config.fine_tuning is not None else frozenset()
        self.descent = self._descent()
        self.average = None if config.ema_decay is None else WeightAverage(self.network, config.ema_decay)
        self.follower = task.follower(self.network) if isinstance(task, FollowedTask) else None
        self.clock = Clock(config)
        self.plateau = Plateau()
        self.round_steps = config.round_steps
        self._unchecked: list[tuple[int, tuple[str, ...], Tensor]] = []
        self._first_step = self._stop_at = 0
        self._interrupted = False
        self._asked_to_stop: Callable[[], bool] = lambda: False
        self.resumed = start.resume and self._take_up()
        self.hooks = tuple(hooks(fold, self.clock.step)) if self.ranks.leads else ()

    @property
    def finished(self) -> bool:
        """Whether the schedule is at its end, or the score has stood still for as long as the user's patience."""
        return self.clock.finished or self.plateau.reached(self.config.patience)

    def run(self) -> Outcome:
        """Trains from where the state stands to the end of the schedule.

        Raises:
            TrainingError: a loss that is not finite, a worker that died, or another process that did.
            KeyboardInterrupt: after Ctrl-C, when the step is done and the state is saved.
        """
        # Sums on a CPU depend on the number of threads, so that a resumed training needs as many as it began with.
        torch.set_num_threads(self.runtime.threads)
        if self.ranks.leads and not self.resumed:
            begin_training(self.fold)
        self._first_step = self.clock.step
        self._stop_at = _ENDLESS if self.config.stop_after is None else self.clock.step + self.config.stop_after
        kept = freed_memory_kept(self.runtime.device)
        with deferred_interrupt() as self._asked_to_stop, dead_ranks_reported(), kept:
            while not self._over():
                with self.task.batches(self._batch_numbers(), TRAINING) as batches:
                    self._rounds(_Stream(batches))
            if self._interrupted and not self.finished:
                logger.warning("stopped at step %d; the state is saved, --resume goes on from here", self.clock.step)
                raise KeyboardInterrupt
        if self.finished:
            if not self.clock.finished:
                rounds, steps = counted(self.plateau.rounds, "round"), counted(self.clock.step, "step")
                logger.info("no better score for %s: done after %s", rounds, steps)
            self._finish()
        for hook in self.hooks:
            hook.end()
        self.ranks.wait()  # for the files of the leading process
        return Outcome(self.finished, self.clock.step, self.clock.seconds, self.plateau.best)

    def _take_up(self) -> bool:
        """Takes up the state of the last checkpoint, if there is one; True if so."""
        if not fold_state(self.fold).resumable:
            return False
        state = load_checkpoint(self.fold.last)
        self.network.load_state_dict(state["network"])
        self.loaded = frozenset(state.get("loaded", ()))
        self.descent = self._descent()
        self.descent.load_state(state)
        self.task.load_state(state["task"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state(state["average"])
        if self.follower is not None:
            self.follower.load_state(state["follower"])
        self.clock = Clock(self.config, step=state["step"], seconds=state["seconds"])
        self.plateau = Plateau(**state["plateau"])
        self.round_steps = state["round_steps"]
        logger.info("resuming at step %d", self.clock.step)
        return True

    def averaged(self) -> Any:
        """A context in which the network has its averaged weights, if an average is kept."""
        return self.average.applied() if self.average is not None else nullcontext()

    def _descent(self) -> Descent:
        return Descent(self.network, self.method, self.runtime, clip=self.config.gradient_clip, loaded=self.loaded)

    def _rates(self) -> tuple[float | None, float]:
        """Learning rates now: of loaded weights, None where they have none of their own, and of the others."""
        tuning, progress = self.config.fine_tuning, self.clock.progress
        if tuning is None or not self.loaded:
            return None, learning_rate(self.method.rate, progress, self.schedule)
        if tuning.name == "sawtooth" and self.loaded >= {name for name, _ in self.network.named_parameters()}:
            tuning = tuning.with_(name="warm-up")  # nothing is fresh
        return fine_tuning_rates(self.method.rate, progress, self.schedule, tuning)

    def _over(self) -> bool:
        return self.finished or self._interrupted or self.clock.step >= self._stop_at

    def _look(self) -> None:
        """Looks at the watch and for Ctrl-C. What the leading process sees holds for all until the next look."""
        seconds, interrupted = self.ranks.agree_on_numbers(self.clock.watch(), self._asked_to_stop())
        self.clock.seconds, self._interrupted = seconds, bool(interrupted)

    def _batch_numbers(self) -> range:
        """Numbers of the batches from here on; a step takes as many as are accumulated."""
        last = _ENDLESS if self.config.steps is None else self.config.steps
        return range(self.clock.step * self.config.accumulation, last * self.config.accumulation)

    def _rounds(self, batches: _Stream) -> None:
        """Rounds on one stream of batches, until the end or until the task wants other batches."""
        changed = False
        while not self._over() and not changed:
            if self._round(batches):
                changed = self.task.adapt(self.forward, self.clock.step, self._place)
            self._look()
            self._save()

    def _round(self, batches: _Stream) -> bool:
        """Steps up to the next multiple of `round_steps`; False if stopped before it."""
        losses: list[Tensor] = []
        waited, start = batches.waited, time.perf_counter()
        rate, complete = 0.0, False
        while not complete and not self._over():
            loaded_rate, rate = self._rates()
            losses.append(self._step(batches, rate, loaded_rate))
            self.clock.step += 1
            self._look()
            if self.round_steps is None and self.clock.step >= 10:
                # Only now is the pace known well enough to cut the time into rounds.
                self.round_steps = self.clock.round_steps()
            complete = self.round_steps is not None and self.clock.step % self.round_steps == 0
        self._check_losses()
        seconds = time.perf_counter() - start
        loss = float(torch.stack(losses).mean())
        validation_loss, scores, measures = self._validate(len(losses))
        defined = [score for score in scores.values() if score is not None]
        mean = sum(defined) / len(defined) if defined else None
        # A round that was cut short goes on after resuming; only whole ones count, so that they are the same ones.
        if (complete or self.finished) and self.plateau.add(mean):
            self._write_weights(self.fold.best)
        report = RoundReport(
            step=self.clock.step,
            steps=self.clock.total_steps,
            seconds=round(self.clock.seconds, 2),
            remaining=round(self.clock.remaining, 1),
            loss=loss,
            validation_loss=validation_loss,
            learning_rate=rate,
            validation_dice=scores,
            validation_foreground_dice=mean,
            step_seconds=round(seconds / len(losses), 4),
            waiting_for_data=round((batches.waited - waited) / seconds, 4),
            measures=measures,
        )
        for hook in self.hooks:
            hook.round(report)
        return complete

    def _step(self, batches: _Stream, rate: float, loaded_rate: float | None) -> Tensor:
        """One optimiser step; returns the mean loss of its batches, still on the device."""
        losses = []
        for left in reversed(range(self.config.accumulation)):
            batch = next(batches)
            # Only gradients of the last batch are exchanged, with those kept. The first step of a process exchanges
            # all, from which DistributedDataParallel learns which weights have a gradient.
            kept = left > 0 and self.clock.step > self._first_step
            with gradients_kept(self.forward) if kept else nullcontext():
                with self.runtime.autocast():
                    loss = self.task.loss(self.forward, self._place(batch))
                self._unchecked.append((self.clock.step, batch.cases, loss.detach()))
                if self.runtime.device == "cpu":  # another device is asked once a round, so that it is never waited for
                    self._check_losses()
                self.descent.add_gradient(loss / self.config.accumulation)
            losses.append(loss.detach())
        self.descent.step(rate, loaded_rate)
        if self.average is not None:
            self.average.update()
        if self.follower is not None:
            self.follower.update(self.clock.progress)
        return torch.stack(losses).mean()

    def _place(self, batch: Any) -> Any:
        return batch.to(self.runtime.device, self.layout)

    def _check_losses(self) -> None:
        """Raises for a loss that is not finite among those not looked at yet; waits for the device."""
        unchecked, self._unchecked = self._unchecked, []
        losses = torch.stack([loss for _, _, loss in unchecked]).tolist() if unchecked else []
        for (step, cases, _), loss in zip(unchecked, losses, strict=True):
            if not math.isfinite(loss):
                raise TrainingError(
                    "the loss is not a finite number",
                    where=f"step {step}, cases {', '.join(sorted(set(cases)))}",
                    got=loss,
                    remedy="look at these images (`autoseg check`), or lower the learning rate",
                )

    @torch.no_grad()
    def _validate(self, steps: int) -> tuple[float | None, dict[str, float | None], dict[str, float | None]]:
        """Mean loss, scores and the task's measures over patches of the validation cases.

        The patches are the same ones after equal steps.
        """
        share = steps * self.config.accumulation * self.config.validation_share
        if share == 0:
            return None, {}, {}
        numbers = range(self.clock.step, self.clock.step + max(1, round(share)))
        losses, counts = [], None
        self.network.eval()
        with self.averaged(), self.task.batches(numbers, VALIDATION) as batches:
            for batch in batches:
                with self.runtime.autocast():
                    loss, batch_counts = self.task.validation(self.forward, self._place(batch))
                losses.append(loss)
                counts = batch_counts if counts is None else counts + batch_counts
        self.network.train()
        assert counts is not None
        total = self.ranks.total(counts).cpu()
        measures = self.task.measures(total) if isinstance(self.task, MeasuredTask) else {}
        return float(torch.stack(losses).mean()), self.task.scores(total), measures

    def _summary(self) -> dict[str, Any]:
        return {
            "step": self.clock.step,
            "seconds": self.clock.seconds,
            "runtime": self.runtime.model_dump(),
            "config": self.config.model_dump(),
            "trainer": self.trainer,
        }

    def _save(self) -> None:
        """Everything that a resumed training needs, in checkpoint_last."""
        if not self.ranks.leads:
            return
        save_checkpoint(
            self.fold.last,
            {
                "network": self.network.state_dict(),
                **self.descent.state(),
                "average": None if self.average is None else self.average.state(),
                "follower": None if self.follower is None else self.follower.state(),
                "task": self.task.state(),
                "plateau": self.plateau.state(),
                "round_steps": self.round_steps,
                "loaded": sorted(self.loaded),
                **self._summary(),
            },
        )

    def _finish(self) -> None:
        """Replaces the final weights by those of this training."""
        if self.ranks.leads:
            withdraw_validation(self.fold)
        self._write_weights(self.fold.final)
        if self.ranks.leads:
            finish_training(self.fold)

    def _write_weights(self, path: Path) -> None:
        """The weights to predict with."""
        if self.ranks.leads:
            with self.averaged():
                save_checkpoint(path, {"network": self.network.state_dict(), **self._summary()})


class _Stream:
    """Batches in their order.

    Attributes:
        waited: seconds spent waiting for them.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = iter(batches)
        self.waited = 0.0

    def __next__(self) -> Any:
        start = time.perf_counter()
        batch = next(self._batches)
        self.waited += time.perf_counter() - start
        return batch
