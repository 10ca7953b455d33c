"""The way of raw batches onto a device and through its part of the augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from autoseg.batches.raw import RawBatch
from autoseg.batches.source import Batch, Source
from autoseg.errors import TrainingError

Item = TypeVar("Item")


def staged(fetch: Callable[[], RawBatch], source: Source, device: str | torch.device) -> Callable[[], Batch]:
    """A function that gives the batches of `source` on the device, one per call.

    On CUDA the next batch is copied and transformed on a stream of its own while the present one is trained on: it
    is queued before the present one is handed over, and the stream that computes waits for it only when it is taken.
    The program itself waits for neither. Other devices transform a batch when it is asked for.

    Args:
        fetch: gives raw batches in order, StopIteration after the last. What it raises is raised for that batch.
        source: what the raw batches come from.
        device: such as "cuda", "cuda:1" or "cpu".
    """
    torch_device = torch.device(device)
    if torch_device.type != "cuda":
        return lambda: source.transform(fetch(), torch_device)
    stream = torch.cuda.Stream(torch_device)

    def transfer() -> tuple[Batch, torch.cuda.Event]:
        raw = fetch()
        with torch.cuda.stream(stream):
            return source.transform(raw, torch_device), stream.record_event()

    ahead = one_ahead(transfer)

    def take() -> Batch:
        batch, event = next(ahead)
        computing = torch.cuda.current_stream(torch_device)
        computing.wait_event(event)
        for tensor in (batch.image, batch.target):
            tensor.record_stream(computing)  # the memory is the other stream's, to be used again only afterwards
        return batch

    return take


def one_ahead(make: Callable[[], Item]) -> Iterator[Item]:
    """What `make` gives until it raises StopIteration, each item made before the one before it is handed out.

    Raises:
        TrainingError: that of `make`, in its turn.
    """
    following = _attempt(make)
    while not isinstance(following, Exception):
        present, following = following, _attempt(make)
        yield present
    if not isinstance(following, StopIteration):
        raise following


def _attempt(make: Callable[[], Item]) -> Item | StopIteration | TrainingError:
    try:
        return make()
    except (StopIteration, TrainingError) as error:
        return error
