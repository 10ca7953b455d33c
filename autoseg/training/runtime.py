"""Where and how a training or prediction computes: device, precision, memory layout, compilation, processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from shutil import which
from typing import Any, Literal

import torch
from torch import nn

from autoseg.errors import ConfigurationError
from autoseg.log import logger
from autoseg.records import Record

Precision = Literal["float32", "bfloat16", "float16"]
Layout = Literal["contiguous", "channels_last"]

_PATIENCE = 1.0  # seconds of timing after which a candidate is known well enough: long steps vary less


class Runtime(Record):
    """The machine's part of a training.

    Attributes:
        device: "cpu", "cuda", "cuda:1", "mps".
        precision: of the activations; weights, losses and sums are always float32.
        layout: memory layout of activations and weights.
        compiled: the network runs through torch.compile (CUDA only).
        threads: CPU threads of one operation.
        workers: processes that prepare batches; 0 prepares them in the main process.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    layout: Layout = "contiguous"
    compiled: bool = False
    threads: int = 1
    workers: int = 0

    def autocast(self) -> AbstractContextManager:
        """The context for forward passes."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, getattr(torch, self.precision))

    def memory_format(self, dimension: int) -> torch.memory_format:
        """The layout for images of 2 or 3 spatial dimensions."""
        if self.layout == "contiguous":
            return torch.contiguous_format
        return torch.channels_last_3d if dimension == 3 else torch.channels_last

    def place(self, network: nn.Module, dimension: int) -> nn.Module:
        """The network on the device in the layout."""
        return network.to(device=self.device, memory_format=self.memory_format(dimension))  # type: ignore[call-overload,no-any-return]

    def compile(self, function: Any, *, backend: Any = "inductor") -> Any:
        """A network or function compiled by torch.compile, or as it is where `compiled` is off.

        What cannot be compiled runs uncompiled, with PyTorch's warning.
        """
        if not self.compiled:
            return function
        torch._dynamo.config.suppress_errors = True
        return torch.compile(function, backend=backend)


def find_device(name: str = "auto") -> str:
    """A device by name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigurationError: the device does not exist here.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    elif torch.backends.mps.is_available():
        available.insert(0, "mps")
    if name == "auto":
        return available[0]
    kind = name.partition(":")[0]
    if kind not in available:
        raise ConfigurationError(f"device {name!r} is not available here", expected="one of " + ", ".join(available))
    return name


def device_memory_gb(device: str) -> float | None:
    """All memory of a CUDA device in the unit of nnU-Net's memory targets, 2^30 bytes; None for another device."""
    if torch.device(device).type != "cuda":
        return None
    return float(torch.cuda.get_device_properties(device).total_memory / 2**30)


def base_runtime(device: str, workers: int | None = None) -> Runtime:
    """A runtime without measurement: float32 on a CPU, mixed precision and channels-last on CUDA."""
    cores = max(1, torch.get_num_threads())
    kind = torch.device(device).type
    if kind == "cuda":
        half: Precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        count = min(12, max(2, cores - 1)) if workers is None else workers
        return Runtime(
            device=device, precision=half, layout="channels_last", compiled=_can_compile(), threads=cores, workers=count
        )
    count = (1 if cores < 4 else 2 if cores < 8 else 4) if workers is None else workers
    return Runtime(device=device, threads=cores, workers=count)


def steady_runtime(runtime: Runtime) -> Runtime:
    """The precision and layout that are usually fastest here, without measuring.

    A timing may come out differently the next time, and another precision gives other weights. A training of a
    given number of steps is to be the same each time on the same machine, so that it takes this.
    """
    if torch.device(runtime.device).type != "cpu":
        return runtime
    return runtime.with_(precision="bfloat16" if _has_fast_bfloat16() else "float32", layout="channels_last")


def tune_runtime(runtime: Runtime, step: Callable[[Runtime], None], *, repeats: int = 2) -> tuple[Runtime, float]:
    """Chooses precision and layout on a CPU by timing real steps.

    Which is fastest depends on the processor (bfloat16 units or not) and on the width of the network, so it is
    measured: `repeats` steps of each candidate after one to warm up, or a single one where it takes seconds.

    Args:
        runtime: from `base_runtime`; other devices are returned as they are, timed once.
        step: does one whole training step under a runtime.

    Returns:
        The fastest runtime and its seconds per step.
    """
    candidates = [runtime]
    if torch.device(runtime.device).type == "cpu":
        precisions: list[Precision] = ["float32", "bfloat16"] if _has_fast_bfloat16() else ["float32"]
        layouts: list[Layout] = ["contiguous", "channels_last"]
        candidates = [runtime.with_(precision=p, layout=la) for p in precisions for la in layouts]
    timed = [
        (seconds_of(partial(step, candidate), repeats, patience=_PATIENCE), i) for i, candidate in enumerate(candidates)
    ]
    seconds, best = min(timed)
    chosen = candidates[best]
    logger.debug(
        "runtime: %s", ", ".join(f"{candidates[i].precision}/{candidates[i].layout} {s:.3f}s" for s, i in timed)
    )
    return chosen, seconds


def seconds_of(work: Callable[[], None], repeats: int, *, patience: float = float("inf")) -> float:
    """The shortest of `repeats` timings of `work`, after one run to warm up; fewer once `patience` seconds are over."""
    work()
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < patience):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16 or AMX, or Arm's BF16); emulation is slow."""
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    if get_capabilities is not None:
        features = get_capabilities()
        return any(bool(features.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _can_compile() -> bool:
    """Whether torch.compile can make CUDA kernels: it needs Triton, which needs a C compiler."""
    if find_spec("triton") is None:
        return False
    if not any(map(which, ("cc", "gcc", "clang"))):
        logger.warning("note: there is no C compiler here (gcc or clang), so that networks run uncompiled and slower")
        return False
    return True
