"""This project's planner on a fingerprint from a reference file: the seconds of the first call, and the plan."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from autoseg.plan.context import PlanContext
from autoseg.plugins import resolve
from benchmarks.compare_plans import as_reference, fingerprint_of, labels_of


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reference", type=Path)
    parser.add_argument("planner")
    options = parser.parse_args()
    reference = json.loads(options.reference.read_text(encoding="utf-8"))
    fingerprint, labels = fingerprint_of(reference), labels_of(reference)
    make = resolve("planner", options.planner)
    start = time.perf_counter()
    plan = make(fingerprint, labels, PlanContext())
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "plan": as_reference(plan)}))


if __name__ == "__main__":
    main()
