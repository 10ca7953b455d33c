"""Peak memory of this process over a span of work."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Starts a new span. Where the system cannot (it is Linux's), spans begin with the process."""
    if _RESET.exists():
        try:
            _RESET.write_text("5", encoding="ascii")  # 5 sets the high-water mark to what is resident now (proc(5))
        except OSError:
            return


def peak_gb() -> float | None:
    """Largest resident memory since `reset_peak`, in GB (1e9 bytes), libraries included but no other process.

    None where the system does not tell.
    """
    if _STATUS.exists():
        high_water = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii", errors="replace"))
        if high_water is not None:
            return int(high_water[1]) * 1024 / 1e9
    if importlib.util.find_spec("resource") is None:
        return None
    import resource  # there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
