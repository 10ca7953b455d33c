"""The machine: names, versions, and the two peaks that physical limits are made of."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch

from autoseg.records import Record
from autoseg.version import VERSION

_REPEATS = 7
_COPIED_BYTES = 512 * 2**20
_MATRIX = 2048
_CHANNELS, _EDGE = 64, 40


class Peaks(Record):
    """Measured on all cores: what a copy moves, and what the best dense arithmetic computes.

    Attributes:
        cores: threads that were used.
        bandwidth: bytes read plus written a second by a copy of 512 MB.
        float32, bfloat16: operations a second, two a multiply-add, of the faster of a product of 2048 x 2048 matrices
            and a 3 x 3 x 3 convolution of 64 channels on 40^3 voxels.
    """

    cores: int
    bandwidth: float
    float32: float
    bfloat16: float


def measure_peaks(cores: int) -> Peaks:
    """Takes about five seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        source = torch.zeros(_COPIED_BYTES // 4)
        target = torch.ones_like(source)
        copied = _seconds(lambda: target.copy_(source))
        return Peaks(
            cores=cores,
            bandwidth=2 * _COPIED_BYTES / copied,
            float32=_operations(torch.float32),
            bfloat16=_operations(torch.bfloat16),
        )
    finally:
        torch.set_num_threads(threads)


def describe_machine(peer_python: Path, peaks: Peaks) -> dict[str, str]:
    """Processor, cores, memory, measured peaks, and the versions of both sides."""
    asked = "from importlib.metadata import version as v; print(v('nnunetv2'), v('torch'))"
    peer, peer_torch = subprocess.run(
        [str(peer_python), "-c", asked], check=True, capture_output=True, text=True
    ).stdout.split()
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "copy": f"{peaks.bandwidth / 1e9:.0f} GB/s",
        "float32": f"{peaks.float32 / 1e9:.0f} GFLOP/s",
        "bfloat16": f"{peaks.bfloat16 / 1e9:.0f} GFLOP/s",
        "python": platform.python_version(),
        "torch": version("torch"),
        "autoseg": f"{VERSION} ({_commit()})",
        "nnunetv2": peer,
        "nnunetv2's torch": peer_torch,
    }


def _seconds(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken)


def _operations(dtype: torch.dtype) -> float:
    """The better of a large matrix product and a wide 3D convolution, which different libraries compute."""
    a = torch.ones(_MATRIX, _MATRIX, dtype=dtype)
    image = torch.ones(1, _CHANNELS, *[_EDGE] * 3, dtype=dtype).contiguous(memory_format=torch.channels_last_3d)
    layer = torch.nn.Conv3d(_CHANNELS, _CHANNELS, 3, padding=1, bias=False, dtype=dtype)
    layer.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    product = 2 * _MATRIX**3 / _seconds(lambda: a @ a)
    with torch.inference_mode():
        convolution = 2 * 27 * _CHANNELS**2 * _EDGE**3 / _seconds(lambda: layer(image))
    return max(product, convolution)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    found = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True)
    return found.stdout.strip() or "not a checkout"
