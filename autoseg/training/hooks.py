"""What happens after every round: a line on the console, a line in a file, a picture, TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from autoseg import plugins
from autoseg.log import duration, logger
from autoseg.records import Record
from autoseg.training.curves import write_progress
from autoseg.workspace import Fold


class RoundReport(Record):
    """One round of a training, as a line of `metrics.jsonl`.

    Attributes:
        step, steps: optimiser steps done, and in the whole training (estimated while it runs by time).
        seconds, remaining: since the start of the training, and estimated to its end.
        loss, validation_loss: means over the round.
        validation_dice: Dice per label over sampled patches, all as one volume; None where the label is absent.
        validation_foreground_dice: their mean.
        step_seconds: mean wall-clock seconds of a step.
        waiting_for_data: share of the round spent waiting for batches.
        measures: numbers that the task has beside scores, by name.
    """

    step: int
    steps: int
    seconds: float
    remaining: float
    loss: float
    validation_loss: float | None
    learning_rate: float
    validation_dice: dict[str, float | None]
    validation_foreground_dice: float | None
    step_seconds: float
    waiting_for_data: float
    measures: dict[str, float | None] = {}


class Hook(Protocol):
    """Something called after every round and at the end of a training."""

    def round(self, report: RoundReport) -> None: ...

    def end(self) -> None: ...


class HookFactory(Protocol):
    """Makes hooks for a fold's folder, of a training that begins or is resumed at a step."""

    def __call__(self, fold: Fold, first_step: int, /) -> Iterable[Hook]: ...


def no_hooks(fold: Fold, first_step: int) -> tuple[Hook, ...]:
    """For a training that nobody looks at."""
    return ()


class Console:
    """A table that grows by a line per round."""

    def __init__(self) -> None:
        self._titled = False

    def round(self, report: RoundReport) -> None:
        if not self._titled:
            self._titled = True
            logger.info(
                "%14s %9s %9s %9s %8s  %8s  %s", "step", "loss", "val loss", "lr", "s/step", "eta", _titles(report)
            )
        numbers = {**report.validation_dice, **report.measures}
        scores = "  ".join(_number(number) for number in numbers.values())
        logger.info(
            "%14s %9.4f %9s %9.2e %8.3f  %8s  %s",
            f"{report.step}/{report.steps}",
            report.loss,
            "" if report.validation_loss is None else f"{report.validation_loss:.4f}",
            report.learning_rate,
            report.step_seconds,
            duration(report.remaining),
            scores,
        )

    def end(self) -> None:
        """Nothing to close."""


class JsonLines:
    """Appends each round to `metrics.jsonl`, after dropping rounds of a run that was killed and repeats them."""

    def __init__(self, fold: Fold, first_step: int) -> None:
        self._path = fold.metrics
        fold.root.mkdir(parents=True, exist_ok=True)
        kept = [line for line in _lines(self._path) if json.loads(line)["step"] <= first_step]
        self._path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def round(self, report: RoundReport) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(report.model_dump_json() + "\n")

    def end(self) -> None:
        """Every line is on disk already."""


class ProgressPicture:
    """Draws `progress.png` from the metrics, seldom enough not to cost time."""

    def __init__(self, fold: Fold, *, every: int = 10) -> None:
        self._fold, self._every, self._rounds = fold, every, 0

    def round(self, report: RoundReport) -> None:
        self._rounds += 1
        if self._rounds % self._every == 0:
            write_progress(self._fold.metrics, self._fold.progress)

    def end(self) -> None:
        """The last picture."""
        write_progress(self._fold.metrics, self._fold.progress)


class TensorBoard:
    """Scalars for TensorBoard; made only where it is installed (`tensorboard_installed`)."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def round(self, report: RoundReport) -> None:
        scalars = {"loss/training": report.loss, "loss/validation": report.validation_loss}
        scalars |= {"learning_rate": report.learning_rate, "seconds_a_step": report.step_seconds}
        scalars |= {f"dice/{name}": score for name, score in report.validation_dice.items()}
        scalars |= {f"measure/{name}": value for name, value in report.measures.items()}
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, report.step)

    def end(self) -> None:
        """Closes the event file."""
        self._writer.close()


def tensorboard_installed() -> bool:
    """Whether the optional package is there."""
    return find_spec("tensorboard") is not None


def default_hooks(fold: Fold, first_step: int, *, names: Sequence[str] = ()) -> tuple[Hook, ...]:
    """The hooks of every training, in the order of their calls: numbers first, then what is drawn from them.

    Args:
        fold: folder of the fold.
        first_step: steps that are done already, of a training that is resumed.
        names: plug-ins of kind "hook", which come last; each is a function of (fold, first_step).
    """
    hooks: list[Hook] = [Console(), JsonLines(fold, first_step), ProgressPicture(fold)]
    if tensorboard_installed():
        hooks.append(TensorBoard(fold.root / "tensorboard"))
    return (*hooks, *(plugins.resolve("hook", name)(fold, first_step) for name in names))


def _titles(report: RoundReport) -> str:
    labels = "  ".join(name[:12] for name in report.validation_dice)
    measures = "  ".join(name.replace("_", " ") for name in report.measures)
    return "  ".join(part for part in ("" if measures and not labels else f"dice: {labels}", measures) if part)


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    # A killed process may have left half a line.
    return [line for line in lines if line.endswith("}")]


def _number(score: float | None) -> str:
    return "   -  " if score is None else f"{score:.4f}"
