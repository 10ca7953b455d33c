"""Training for a given time: how long a baseline that trains a network may."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from autoseg.errors import ConfigurationError
from autoseg.log import Progress


def allowed_seconds(options: Mapping[str, Any], usual: float) -> float:
    """`options["seconds"]`, or what is usual.

    Raises:
        ConfigurationError: not a positive number.
    """
    seconds = options.get("seconds", usual)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise ConfigurationError("is not a time to train", where="seconds", got=seconds, expected="a number above 0")
    return float(seconds)


def timed_steps(title: str, options: Mapping[str, Any], *, seconds: float, most: int) -> Iterator[int]:
    """Numbers of training steps, 0, 1, ..., until the time is over; the first is always given.

    Args:
        title: of the progress line, which counts seconds.
        options: "seconds" and "steps" replace the next two. A training that ends by its steps is the same each time;
            one that ends by its time is not.
        seconds: wall clock from the first step on.
        most: steps, at most.
    """
    seconds, most = allowed_seconds(options, seconds), int(options.get("steps", most))
    begun, shown = time.monotonic(), 0
    with Progress(f"{title} (seconds)", max(1, round(seconds))) as bar:
        for step in range(max(1, most)):
            passed = time.monotonic() - begun
            if step and passed >= seconds:
                return
            bar.advance(int(passed) - shown)
            shown = int(passed)
            yield step
