"""Stores for the tests of this room."""

from __future__ import annotations

import numpy as np
import pytest
from memory_store import MemoryStore

from autoseg.data.labels import OUTSIDE


@pytest.fixture
def memory_store() -> type[MemoryStore]:
    return MemoryStore


@pytest.fixture
def small_store() -> MemoryStore:
    """Three cases of two channels with the classes "ball" (1) and "core" (2); "c" has no foreground."""
    rng = np.random.default_rng(0)
    cases = {}
    for name, shape in {"a": (24, 30, 26), "b": (20, 26, 34), "c": (22, 22, 22)}.items():
        axes = np.meshgrid(*(np.arange(n) - n / 2 for n in shape), indexing="ij")
        radius = np.sqrt(sum(a**2 for a in axes))
        labels = ((radius < 8).astype(np.int16) + (radius < 3)) * (name != "c")
        labels[0] = OUTSIDE
        image = rng.standard_normal((2, *shape)) + labels
        cases[name] = (image.astype(np.float32), labels.astype(np.int16))
    return MemoryStore(cases, {"ball": 1, "core": 2})
