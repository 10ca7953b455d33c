"""The contract of hooks of the training loop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from autoseg.testing.line_task import train_line
from autoseg.testing.subject import Subject
from autoseg.training.hooks import RoundReport, no_hooks
from autoseg.workspace import Fold


def check_hook(subject: Subject) -> None:
    """A hook keeps these promises, in a small training.

    - Made from (fold, first_step), it has `round(report)` and `end()`; the fold's folder need not exist yet.
    - It takes the reports of all rounds, also of rounds without validation, with labels that never occurred and with
      measures of the task.
    - A training that was stopped and goes on makes it anew, with the steps that are done.
    - It leaves the training alone: weights are the same with it and without it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hook = subject.plugin(Fold(folder / "alone"), 0)
        for method in ("round", "end"):
            subject.promise(callable(getattr(hook, method, None)), f"a method {method}()", type(hook).__name__)
        for report in _reports():
            hook.round(report)
        hook.end()
        calls = _Calls(subject.plugin)
        weights = train_line(Fold(folder / "hooked"), calls.make)
        plain = train_line(Fold(folder / "plain"), no_hooks)
        equal = all(torch.equal(weights[key], plain[key]) for key in plain)
        subject.promise(equal, "the weights that the training has without the hook")
        stopped = _Calls(subject.plugin)
        train_line(Fold(folder / "stopped"), stopped.make, stop_after=3)
        train_line(Fold(folder / "stopped"), stopped.make, resume=True)
        subject.promise(stopped.first_steps == [0, 3], "to be made anew when a training goes on", stopped.first_steps)


@dataclass
class _Calls:
    """Makes the hook as the loop asks for it, and remembers from which steps on."""

    plugin: Any
    first_steps: list[int] = field(default_factory=list)

    def make(self, fold: Fold, first_step: int) -> tuple[Any, ...]:
        self.first_steps.append(first_step)
        return (self.plugin(fold, first_step),)


def _reports() -> Iterator[RoundReport]:
    usual: dict[str, Any] = {
        "step": 2,
        "steps": 4,
        "seconds": 1.5,
        "remaining": 1.5,
        "loss": 0.5,
        "validation_loss": 0.6,
        "learning_rate": 0.01,
        "validation_dice": {"organ": 0.5, "lesion": None},
        "validation_foreground_dice": 0.5,
        "step_seconds": 0.7,
        "waiting_for_data": 0.1,
    }
    unvalidated: dict[str, Any] = {"validation_loss": None, "validation_dice": {}, "validation_foreground_dice": None}
    yield RoundReport(**usual)
    yield RoundReport(**{**usual, "step": 3, **unvalidated})
    yield RoundReport(**{**usual, "step": 4, "measures": {"rank": 3.0, "alignment": None}})
