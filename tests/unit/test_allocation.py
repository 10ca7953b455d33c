"""Freed memory that is kept, counted in pages that the kernel had to hand out, in a process of its own."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from autoseg.allocation import freed_memory_kept

STEPS = """
import ctypes, json, resource
from pathlib import Path
from statistics import median

from autoseg.allocation import freed_memory_kept

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes, library.free.argtypes = (
    ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
)
sizes = [megabytes * 2**20 for megabytes in (40, 48, 64, 36)]


def new_pages():
    # share of a step's memory that was handed out anew: the median of steps that are all alike
    faults = []
    for _ in range(9):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [library.malloc(size) for size in sizes]
        for block, size in zip(blocks, sizes):
            ctypes.memset(block, 1, size)
        for block in blocks:
            library.free(block)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return median(faults) * resource.getpagesize() / sum(sizes)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / sum(sizes)


before = new_pages()
try:
    with freed_memory_kept():
        within, kept = new_pages(), resident()
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print(json.dumps({"before": before, "within": within, "given_back": kept - resident()}))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_memory_is_given_out_again_within_the_context_and_goes_back_at_its_end() -> None:
    program = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    found = json.loads(program.stdout)
    assert found["before"] > 0.9
    assert found["within"] < 0.05
    assert found["given_back"] > 0.9


def test_with_another_c_library_nothing_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)
    with freed_memory_kept():
        pass
