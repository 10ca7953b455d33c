"""The fit of one pair: the best state is kept, and a fit that settles, or diverges, ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.similarities.protocol import Similarity

Stopped = Literal["converged", "iterations", "diverged"]
Transform = TypeVar("Transform")

WINDOW = 10
"""Iterations between looks at the loss; only then is a number read back from the device."""

TOLERANCE = 1e-4
"""A window must lower the best loss by this share of all that was gained before, or the fit counts as settled."""

NETWORK_RATE = 5e-3
"""Learning rate of a similarity that is a network."""

_BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class FitSettings:
    """How a stage is fitted, where that is not left to the stage.

    Attributes:
        levels: resolutions of the pyramid; None for the stage's own number.
        iterations: at most, at each level; None for the stage's own number.
        learning_rate: step size of Adam in mm; None for the stage's own.
    """

    levels: int | None = None
    iterations: int | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class OptimizationResult:
    """How a fit ended.

    Attributes:
        best: the state with the lowest loss, without gradient.
        loss: its loss; infinite if none was a number.
        history: loss of every iteration.
        stopped: why it ended; what diverged keeps its best state.
    """

    best: tuple[Tensor, ...]
    loss: float
    history: tuple[float, ...]
    stopped: Stopped


@dataclass(frozen=True)
class FitHistory:
    """How the fits of several levels went, one after the other.

    Attributes:
        losses: of every iteration, level after level.
        stopped: why the last level ended, or "diverged" if any did.
    """

    losses: tuple[float, ...] = ()
    stopped: Stopped = "iterations"

    def then(self, fit: OptimizationResult) -> FitHistory:
        """This history with the fit of one more level."""
        stopped: Stopped = "diverged" if "diverged" in (self.stopped, fit.stopped) else fit.stopped
        return FitHistory((*self.losses, *fit.history), stopped)

    def with_transform(self, transform: Transform) -> TransformFit[Transform]:
        """The transform that these fits led to, with their history."""
        return TransformFit(transform, self.losses, self.stopped)


@dataclass(frozen=True)
class TransformFit(Generic[Transform]):
    """A transform and how it was fitted.

    Attributes:
        transform: the result.
        history: of the loss, level after level.
        stopped: why the last level ended, or "diverged" if any did.
    """

    transform: Transform
    history: tuple[float, ...]
    stopped: Stopped

    @property
    def iterations(self) -> int:
        """Of all levels."""
        return len(self.history)


def learnt(similarity: Similarity) -> list[Tensor]:
    """The weights of a similarity that learns while it is lowered; most have none."""
    return list(similarity.parameters()) if isinstance(similarity, nn.Module) else []


class Watch:
    """Keeps the best state that a fit has seen, and says when to stop.

    Everything stays on the device, but for one look every `window` iterations.
    """

    def __init__(self, state: Sequence[Tensor], *, window: int = WINDOW, tolerance: float = TOLERANCE) -> None:
        self._best = tuple(part.detach().clone() for part in state)
        self._lowest: Tensor | None = None
        self._losses: list[Tensor] = []
        self._looks: list[float] = []
        self._window, self._tolerance = window, tolerance

    def see(self, loss: Tensor, state: Sequence[Tensor]) -> Stopped | None:
        """Takes note of an iteration's loss and of the state it belongs to; a reason to stop, or None."""
        loss = loss.detach()
        lowest = torch.full_like(loss, math.inf) if self._lowest is None else self._lowest
        better = loss < lowest
        self._lowest = torch.where(better, loss, lowest)
        self._best = tuple(
            torch.where(better, part.detach(), kept) for part, kept in zip(state, self._best, strict=True)
        )
        self._losses.append(loss)
        return self._look() if len(self._losses) % self._window == 0 else None

    def end(self, stopped: Stopped = "iterations") -> OptimizationResult:
        """The fit as it ended."""
        history = tuple(torch.stack(self._losses).tolist()) if self._losses else ()
        loss = min((value for value in history if math.isfinite(value)), default=math.inf)
        if any(not math.isfinite(value) for value in history):
            stopped = "diverged"
        return OptimizationResult(self._best, loss, history, stopped)

    def _look(self) -> Stopped | None:
        recent = torch.stack(self._losses[-self._window :]).tolist()
        if not all(math.isfinite(value) for value in recent):
            return "diverged"
        if not self._looks:
            self._looks.append(recent[0])
        self._looks.append(min(self._looks[-1], *recent))
        gained, lately = self._looks[0] - self._looks[-1], self._looks[-2] - self._looks[-1]
        return "converged" if lately <= self._tolerance * gained else None


def minimise(
    loss_of: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    *,
    iterations: int,
    learning_rate: float,
    beside: Sequence[Tensor] = (),
    window: int = WINDOW,
    tolerance: float = TOLERANCE,
) -> OptimizationResult:
    """Lowers a loss by Adam (Kingma and Ba 2015, arXiv:1412.6980) in parameters, which end where the fit was best.

    Args:
        loss_of: the loss at the parameters' present values.
        parameters: leaves that require gradients.
        iterations: at most.
        learning_rate: step of a parameter, in its own unit.
        beside: what else is trained on the loss, at `NETWORK_RATE` (`learnt`); it stays as it is at the end.
        window, tolerance: of `Watch`.

    Returns:
        The fit. A loss that is no number, or no longer defined (nothing left of the overlap), ends it as diverged.

    Raises:
        RegistrationError: the loss is not defined at the start.
    """
    groups = [{"params": list(parameters), "lr": learning_rate}]
    groups += [{"params": list(beside), "lr": NETWORK_RATE}] if beside else []
    optimiser = torch.optim.Adam(groups, betas=_BETAS)
    watch = Watch(parameters, window=window, tolerance=tolerance)
    stopped: Stopped | None = None
    for iteration in range(iterations):
        optimiser.zero_grad()
        try:
            loss = loss_of()
        except RegistrationError:
            if iteration == 0:
                raise
            stopped = "diverged"
            break
        stopped = watch.see(loss, parameters)
        if stopped:
            break
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    fit = watch.end(stopped or "iterations")
    with torch.no_grad():
        for parameter, best in zip(parameters, fit.best, strict=True):
            parameter.copy_(best)
    return fit
