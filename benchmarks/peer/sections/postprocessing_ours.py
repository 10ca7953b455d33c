"""This project's search for post-processing on folders of files: the seconds of the call and the decision, as JSON."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from autoseg.evaluation.matching import match
from autoseg.evaluation.postprocessing import decide_postprocessing
from autoseg.evaluation.scheme import read_scheme
from autoseg.postprocessing.choose import Decision

PARTS = {
    "reading": ("files.py", "read_labels"),
    "components": ("graph.py", "component_graph"),
    "tries": ("choose.py", "choose_from_graphs"),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    for name in ("predictions", "references", "dataset"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--profile", action="store_true", help="seconds of the parts instead, in one process")
    options = parser.parse_args()

    def work() -> Decision:
        pairs = match(options.predictions, options.references).pairs
        return decide_postprocessing(
            pairs, read_scheme(options.dataset), workers=1 if options.profile else options.workers
        )

    if options.profile:
        from benchmarks.peer.label_sets import profiled

        print(json.dumps(profiled(work, PARTS)[1]))
        return
    start = time.perf_counter()
    decision = work()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "decision": decision.model_dump(mode="json")}))


if __name__ == "__main__":
    main()
