"""Batches of consecutive steps, made ahead by worker processes."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, cast

import torch
from torch.utils.data import DataLoader, Dataset

from autoseg.allocation import keep_freed_memory
from autoseg.batches.source import Source
from autoseg.batches.staging import staged
from autoseg.errors import TrainingError


class Drawn(Protocol):
    """A sample before a voxel is read."""

    @property
    def case(self) -> str: ...


class BatchSource(Protocol):
    """What makes the batch of any step, by `batches.source.Source`'s rules; one with `can_use_device` is a `Source`."""

    @property
    def can_use_device(self) -> bool: ...

    def draws(self, step: int, samples: range | None = None) -> Sequence[Drawn]: ...

    def batch(self, step: int, samples: range | None = None) -> Any: ...

    def snapshot(self) -> BatchSource: ...


class Batches:
    """The batches of `steps`, in order; a context manager, iterated once.

    Samples depend on the source's seed and the step alone, not on `workers`. The source is taken as it is when
    the context is entered (see `HardLocationSampler`).

    Args:
        source: what makes a batch.
        steps: consecutive steps, such as `range(100, 200)`; empty gives no batch.
        workers: processes that each make whole batches; 0 makes them in this process, when they are asked for.
        pin_memory: hand batches over in page-locked memory (for a CUDA device).
        samples: makes only these samples of each batch, for a process that shares batches with others; None all.
        device: where batches are transformed, one ahead, and handed over (see `Source.transform`); workers then only
            read. None, or a source that cannot use one: workers do everything.

    Raises (while iterating):
        TrainingError: a batch could not be made, with the worker's traceback and the cases, or a worker died.
    """

    def __init__(
        self,
        source: BatchSource,
        steps: range,
        *,
        workers: int = 0,
        pin_memory: bool = False,
        samples: range | None = None,
        device: str | None = None,
    ) -> None:
        self._source, self._steps, self._samples = source, steps, samples
        self._workers, self._pin_memory = min(workers, len(steps)), pin_memory
        self._device = device if source.can_use_device else None
        self._iterator: Iterator[Any] | None = None
        self._take: Callable[[], Any] | None = None

    def __len__(self) -> int:
        return len(self._steps)

    def __enter__(self) -> Self:
        steps = _Steps(self._source.snapshot(), self._steps, self._samples, raw=self._device is not None)
        loader: DataLoader[Any] = DataLoader(
            steps,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self._workers,
            generator=torch.Generator(),  # else the loader draws its workers' seeds from the global generator
            pin_memory=self._pin_memory,
            multiprocessing_context=_start_method() if self._workers else None,
            worker_init_fn=_prepare_worker if self._workers else None,
            prefetch_factor=max(2, -(-3 // self._workers)) if self._workers else None,
        )
        self._iterator = iter(loader)
        fetch: Callable[[], Any] = partial(_fetch, self._iterator)
        self._take = fetch
        if self._device is not None:
            self._take = staged(fetch, cast(Source, self._source), self._device)
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._take is None:
            raise RuntimeError("iterate over Batches inside its `with` block")
        return self._take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        iterator, self._iterator, self._take = self._iterator, None, None
        # Waiting for the iterator to be collected is not enough: a traceback may still hold it.
        shut_down = getattr(iterator, "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()
        # torch reports a dead worker from a signal handler, that is, wherever the program happens to be.
        if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
            raise _worker_died(error) from error


@dataclass(frozen=True)
class _Failure:
    """An exception in a form that every process can read."""

    step: int
    cases: tuple[str, ...]
    trace: str

    def error(self) -> TrainingError:
        return TrainingError(
            "a batch could not be made",
            where=f"step {self.step}",
            got=self.trace,
            remedy=f"look at the cases of this batch: {', '.join(self.cases) or 'none was drawn'}",
        )


class _Steps(Dataset[Any]):
    """Batches, or raw ones, by position in the range of steps."""

    def __init__(self, source: BatchSource, steps: range, samples: range | None, *, raw: bool) -> None:
        self._source, self._steps, self._samples = source, steps, samples
        self._make: Callable[..., Any] = cast(Source, source).read if raw else source.batch

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, position: int) -> Any:
        step = self._steps[position]
        try:
            return self._make(step, self._samples)
        except Exception:
            trace = traceback.format_exc()
        try:
            cases = tuple(draw.case for draw in self._source.draws(step, self._samples))
        except Exception:  # the sampler itself is what fails; its traceback is already there
            cases = ()
        return _Failure(step, cases, trace)


def _fetch(iterator: Iterator[Any]) -> Any:
    """What the workers have made next."""
    try:
        batch = next(iterator)
    except RuntimeError as error:
        raise _worker_died(error) from error
    if isinstance(batch, _Failure):
        raise batch.error()
    return batch


def _as_it_is(batch: Any) -> Any:
    return batch


def _prepare_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it stops its workers
    torch.set_num_threads(1)
    keep_freed_memory()


def _start_method() -> str:
    """Workers are forked on Linux (they start at once and share the parent's caches), spawned elsewhere."""
    forks = sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods()
    return "fork" if forks else "spawn"


def _worker_died(error: RuntimeError) -> TrainingError:
    return TrainingError(
        "a process that makes batches died",
        got=str(error),
        remedy="often the machine ran out of memory or of shared memory (/dev/shm): try fewer workers",
    )
