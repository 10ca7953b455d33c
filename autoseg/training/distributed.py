"""Several processes that train one model, as `torchrun` starts them: who is who, sums, agreement, waiting.

The ranks share each batch, so that the number of processes changes nothing but the time. Tensors are summed by the
backend of their device; everything else goes over gloo on the CPU, so that no step waits for a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from autoseg.errors import AutosegError, ConfigurationError, TrainingError
from autoseg.log import counted

Value = TypeVar("Value")

_EXCHANGE_TIMEOUT = timedelta(minutes=30)  # of tensors, which every rank is about to send
_WAIT_TIMEOUT = timedelta(days=7)  # of waiting for a rank that works alone; a rank that died is noticed at once


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, seen from one of them. A process alone is `Ranks()`, and nothing is exchanged.

    All ranks must call the methods that exchange something, in the same order.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        local_rank: number of this process among those of its machine; its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and reports."""
        return self.rank == 0

    def share(self, items: int) -> range:
        """This process's part of `range(items)`: consecutive, of even length up to one, possibly empty."""
        each, more = divmod(items, self.count)
        start = self.rank * each + min(self.rank, more)
        return range(start, start + each + (self.rank < more))

    def share_of_batch(self, size: int) -> range:
        """This process's samples of a batch.

        Raises:
            ConfigurationError: on every rank alike, if some rank would have none.
        """
        if size < self.count:
            raise ConfigurationError(
                "the batch has fewer samples than there are processes",
                got=f"{counted(size, 'sample')}, {counted(self.count, 'process')}",
                remedy=f"start at most {size} (torchrun --nproc-per-node {size})",
            )
        return self.share(size)

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over the ranks, on each of them, with a gradient (the sum of the gradients)."""
        if self.count == 1:
            return values
        total: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
        return total

    def agree(self, value: Value) -> Value:
        """The leading rank's value, on every rank; it must be picklable."""
        if self.count == 1:
            return value
        box = [value]
        with dead_ranks_reported():
            dist.broadcast_object_list(box, src=0, group=_joined.control)
        return box[0]

    def agree_on_numbers(self, *numbers: float) -> tuple[float, ...]:
        """The leading rank's numbers, on every rank: one small message, cheap enough for every step."""
        if self.count == 1:
            return numbers
        message = torch.tensor(numbers, dtype=torch.float64)
        with dead_ranks_reported():
            dist.broadcast(message, src=0, group=_joined.control)
        return tuple(message.tolist())

    def gather(self, value: Value) -> list[Value]:
        """The picklable values of all ranks in the order of ranks, on every rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with dead_ranks_reported():
            dist.all_gather_object(values, value, group=_joined.control)
        return values

    def wait(self) -> None:
        """Returns when every rank has come here, however long that takes."""
        if self.count > 1:
            with dead_ranks_reported():
                dist.barrier(group=_joined.control)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with gradients that are averaged over the ranks; the same module for a process alone.

        The state of the network stays that of `network` itself. Weights without a gradient in the first step must
        be without one in all the others (heads of resolutions that are not supervised), and stay as they are.
        """
        if self.count == 1:
            return network
        with dead_ranks_reported():
            return DistributedDataParallel(network, gradient_as_bucket_view=True, static_graph=True)


@dataclass
class _Joined:
    """What this process takes part in."""

    ranks: Ranks = Ranks()
    control: dist.ProcessGroup | None = None


_joined = _Joined()


def ranks() -> Ranks:
    """The processes that this one belongs to: itself alone, unless `start_ranks` was called."""
    return _joined.ranks


def start_ranks(device: str) -> Ranks:
    """Joins the processes that torchrun started with this one; a process that was started alone stays alone.

    To be called once, before work on a device begins; `stop_ranks` at the end. On GPUs each process takes the one
    of its local rank, so that "cuda" means another GPU in each.

    Args:
        device: "cpu" or "cuda" (`autoseg.training.runtime.find_device`).

    Raises:
        ConfigurationError: an incomplete environment, a device that cannot be shared, or too few GPUs.
        TrainingError: the other processes are not there.
    """
    own = _from_environment()
    if own.count == 1 or _joined.ranks.count > 1:
        return _joined.ranks
    if device not in ("cpu", "cuda"):
        raise ConfigurationError(f"several processes cannot train on {device!r}", expected="cpu or cuda")
    backend = "cpu:gloo"
    if device == "cuda":
        if own.local_rank >= torch.cuda.device_count():
            raise ConfigurationError(
                "there are more processes than GPUs",
                got=f"{torch.cuda.device_count()} GPUs",
                remedy=f"start one process per GPU (torchrun --nproc-per-node {torch.cuda.device_count()})",
            )
        torch.cuda.set_device(own.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    with dead_ranks_reported():
        dist.init_process_group(backend, rank=own.rank, world_size=own.count, timeout=_EXCHANGE_TIMEOUT)
        _joined.control = dist.new_group(backend="gloo", timeout=_WAIT_TIMEOUT)
    _joined.ranks = own
    return own


def stop_ranks() -> None:
    """Leaves the other processes; this one is alone again. To be called also after an error."""
    _joined.ranks, _joined.control = Ranks(), None
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """A context in which this process belongs to those that torchrun started with it; inside another one it stays.

    Args:
        device: as for `start_ranks`.
    """
    if _joined.ranks.count > 1:
        yield _joined.ranks
        return
    try:
        yield start_ranks(device)
    finally:
        stop_ranks()


def rank_from_environment() -> tuple[int, int]:
    """(rank, number of processes) as torchrun told this process; (0, 1) for one that was started alone.

    Raises:
        ConfigurationError: the environment is incomplete or holds something else than numbers.
    """
    own = _from_environment()
    return own.rank, own.count


def on_leader(work: Callable[[], Value]) -> Value:
    """What `work` gives on the leading rank, on every rank; the others wait, however long it takes.

    Args:
        work: called on the leading rank only; gives something picklable. It may read `ranks`, but not exchange.

    Raises:
        AutosegError: that of `work`, on every rank.
    """
    own = ranks()
    if own.count == 1:
        return work()
    value: Any = None
    error: AutosegError | None = None
    if own.leads:
        try:
            value = work()
        except AutosegError as raised:
            error = raised
    value, error = own.agree((value, error))
    if error is not None:
        raise error
    done: Value = value
    return done


def gradients_kept(network: nn.Module) -> AbstractContextManager[None]:
    """A context for forward and backward passes whose gradients wait on their rank, to be added to the next ones."""
    no_sync = getattr(network, "no_sync", None)
    kept: AbstractContextManager[None] = nullcontext() if no_sync is None else no_sync()
    return kept


@contextmanager
def dead_ranks_reported() -> Iterator[None]:
    """Within the context, a connection to another rank that breaks is a TrainingError."""
    try:
        yield
    except RuntimeError as error:
        # Gloo raises plain RuntimeErrors, which are known by the place in its sources that they name.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            "another process of this training died",
            remedy="what it said is the cause; --resume goes on from the last save",
        ) from error


class _Total(torch.autograd.Function):
    """A sum over ranks. Each rank's loss depends on every rank's values, so that gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    with dead_ranks_reported():
        dist.all_reduce(total)
    return total


def _from_environment() -> Ranks:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    variables = {name: os.environ.get(name, "") for name in names}
    if not variables["RANK"] and variables["WORLD_SIZE"] in ("", "1"):
        return Ranks()
    try:
        rank, count, local_rank = (int(variables[name]) for name in names)
    except ValueError:
        raise ConfigurationError(
            "the environment of this process is not torchrun's",
            got=", ".join(f"{name}={value!r}" for name, value in variables.items()),
            remedy="start with torchrun, or clear RANK and WORLD_SIZE",
        ) from None
    return Ranks(rank, count, local_rank)
