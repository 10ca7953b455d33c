"""Ctrl-C between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from autoseg.log import logger


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the context, Ctrl-C only raises a flag; a second one interrupts at once.

    Yields:
        A function that says whether the user has asked to stop. Outside the main thread, where Python
        delivers no signals, it is always False.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        logger.warning("stopping after this step (Ctrl-C again to stop at once, losing the steps since the last save)")

    previous = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous)
