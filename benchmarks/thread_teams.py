"""What a second thread that calls PyTorch costs a small network on a CPU, even while it does nothing.

    python benchmarks/thread_teams.py

Prints the median seconds of a forward pass before and after another thread of the program has computed something with
all cores, and after one has with a single one (docs/decisions/0008-one-team-of-threads.md).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.allocation import freed_memory_kept
from autoseg.networks.blocks import conv_stage

REPEATS = 40
PATCH = (40, 56, 40)
FEATURES = (16, 32, 64, 128)


def main() -> None:
    """Times the three situations one after the other; a thread that has computed stays alive."""
    threads = torch.get_num_threads()
    network = torch.nn.Sequential(
        *(
            conv_stage(2, before, width, (3, 3, 3), (1, 1, 1) if before == 1 else (2, 2, 2))
            for before, width in zip((1, *FEATURES), FEATURES, strict=False)
        )
    )
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    patches = torch.randn(2, 1, *PATCH).contiguous(memory_format=torch.channels_last_3d)

    def forward() -> None:
        with torch.inference_mode():
            network(patches)

    print(
        f"{threads} threads, {len(FEATURES)} stages of {FEATURES[0]} to {FEATURES[-1]} features, 2 patches of {PATCH}"
    )
    with freed_memory_kept():
        print(f"alone                                          {seconds(forward):.4f} s")
        with thread_that_computed(1):
            print(f"beside a thread that computed with one thread  {seconds(forward):.4f} s")
        with thread_that_computed(threads):
            print(f"beside a thread that computed with all threads {seconds(forward):.4f} s")


def seconds(work: Callable[[], None]) -> float:
    """Median of several runs after a few to warm up."""
    times = []
    for repeat in range(REPEATS + 5):
        start = time.perf_counter()
        work()
        if repeat >= 5:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def thread_that_computed(threads: int) -> ThreadPoolExecutor:
    """A thread that has added up some numbers and now waits."""
    pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))
    pool.submit(lambda: torch.ones(10**7).add_(1)).result()
    return pool


if __name__ == "__main__":
    main()
