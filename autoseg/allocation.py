"""The machine's memory: how much there is, and freed memory that stays with the process."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt's parameters (malloc.h of the GNU C library), and what its own adaptive thresholds end at in a process that
# allocates large blocks: once a parameter was set by hand they no longer adapt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_TRIM_THRESHOLD: 64 * 2**20, _MMAP_THRESHOLD: 32 * 2**20, _MMAP_MAX: 65536}
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}


def machine_memory() -> int:
    """Bytes of the machine's main memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def freed_memory_kept(device: str = "cpu") -> Iterator[None]:
    """Within the context, large blocks that are freed are given out again instead of going back to the kernel.

    By default the GNU C library maps large blocks freshly and unmaps them at once. Every activation of every step is
    then new memory that the kernel has to clear page by page: a tenth of a step on a CPU, more on a small network in
    the contiguous layout. The allocations of a step repeat, so that the memory kept is hardly more than its peak; at
    the end of the context it goes back. Elsewhere than with the GNU C library nothing changes.

    Args:
        device: where activations live; on another one than a CPU nothing changes either.
    """
    library = _gnu_library() if device == "cpu" else None
    if library is None:
        yield
        return
    _set(library, _KEEPING)
    try:
        yield
    finally:
        _set(library, _USUAL)
        library.malloc_trim(0)


def keep_freed_memory() -> None:
    """The same for the rest of a process's life, such as that of a worker which makes batches."""
    library = _gnu_library()
    if library is not None:
        _set(library, _KEEPING)


def _gnu_library() -> ctypes.CDLL | None:
    """The C library that the process runs with, if it is GNU's."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def _set(library: ctypes.CDLL, parameters: dict[int, int]) -> None:
    for parameter, value in parameters.items():
        library.mallopt(parameter, value)
