"""Where this project's evaluation spends its time: one process, seconds of its parts as JSON."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

PARTS = {
    "reading": ("files.py", "read_labels"),
    "counting": ("counts.py", "confusion"),
    "distances": ("surface.py", "surface_distances"),
    "means": ("scores.py", "summarise"),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    for name in ("predictions", "references", "dataset"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    import autoseg.cli.main  # noqa: F401  what the command imports
    from autoseg.evaluation.evaluate import evaluate

    imports = time.perf_counter() - start
    from benchmarks.peer.label_sets import profiled

    def work() -> object:
        return evaluate(options.predictions, options.references, spec=options.dataset, workers=1)

    _, parts = profiled(work, PARTS)
    print(json.dumps({"imports": imports, **parts}))


if __name__ == "__main__":
    main()
