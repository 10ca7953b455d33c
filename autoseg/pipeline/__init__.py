"""The way of the data, stage by stage; what the command line and `import autoseg` call.

Each name is imported when it is first used, so that checking a data set does not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "check": "stages",
    "fingerprint_dataset": "stages",
    "make_plan": "stages",
    "named_traits": "trainers",
    "preprocess": "stages",
    "train_fold": "training",
    "plan_and_train": "dataset_to_report",
    "demo": "dataset_to_report",
    "choose": "summary",
    "predict": "prediction",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
