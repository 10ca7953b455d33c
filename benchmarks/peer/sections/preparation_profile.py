"""Where this project's preparation of a data set spends its time: one process, seconds of its parts as JSON."""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

READING = ("files.py", ("_read",))
PARTS: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "fingerprint": {
        "reading files": READING,
        "statistics": ("measure.py", ("measure",)),
        "checks": ("check.py", ("_check_values", "_check_intensities", "_digest", "_compare_places")),
    },
    "plan": {"planner": ("nnunet.py", ("plan_with",)), "writing": ("records.py", ("save",))},
    "preprocess": {
        "reading files": READING,
        "crop, normalisation, resampling": ("prepare.py", ("preprocess_case",)),
        "voxels of the classes": ("class_locations.py", ("class_locations",)),
        "compression": ("store.py", ("compress",)),
        "creating and writing files": ("records.py", ("write_bytes",)),
    },
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("configuration")
    options = parser.parse_args()
    start = time.perf_counter()
    import autoseg.cli.main  # noqa: F401  what a command imports
    from autoseg.pipeline import stages

    imports = time.perf_counter() - start
    work: dict[str, Callable[[], Any]] = {
        "fingerprint": lambda: stages.fingerprint_dataset(options.data, options.out, workers=1),
        "plan": lambda: stages.make_plan(options.out, planner="default"),
        "preprocess": lambda: stages.preprocess(options.out, configurations=options.configuration, workers=1),
    }
    print(json.dumps({stage: {"imports": imports, **_parts(call, PARTS[stage])} for stage, call in work.items()}))


def _parts(call: Callable[[], Any], wanted: Mapping[str, tuple[str, tuple[str, ...]]]) -> dict[str, float]:
    """Seconds of each part, and of the rest."""
    profile = cProfile.Profile()
    start = time.perf_counter()
    profile.runcall(call)
    total = time.perf_counter() - start
    functions: dict[tuple[str, str], float] = {}
    for (file, _, name), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        key = Path(file).name, name
        functions[key] = functions.get(key, 0.0) + cumulative
    found = {part: sum(functions.get((file, name), 0.0) for name in names) for part, (file, names) in wanted.items()}
    return {**found, "the rest": max(0.0, total - sum(found.values()))}


if __name__ == "__main__":
    main()
