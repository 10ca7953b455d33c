"""Self-configuring medical image segmentation: a folder of scans in, a trained and validated model out.

The public door: `plan_and_train(dataset, out, **options)`, `Predictor.load(run)` and
`evaluate(predictions, references)`, and the records of their results, `Summary` and `Scores`. They are
imported when first used, so that `import autoseg` and the command line's help cost no import of torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from autoseg.version import VERSION as __version__

_PUBLIC = {
    "plan_and_train": "autoseg.pipeline",
    "Predictor": "autoseg.inference.predictor",
    "evaluate": "autoseg.evaluation.evaluate",
    "Scores": "autoseg.evaluation.scores",
    "Summary": "autoseg.evaluation.summary",
}

__all__ = ["Predictor", "Scores", "Summary", "__version__", "evaluate", "plan_and_train"]


def __getattr__(name: str) -> Any:
    """A public name, imported now (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
