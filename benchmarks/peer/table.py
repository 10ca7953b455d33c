"""The sections of the comparison, in the order in which they are run and shown."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from time import monotonic
from typing import cast

from benchmarks.peer.context import Context
from benchmarks.peer.records import Measured, Section

SECTIONS = (
    "start_up",
    "preparation",
    "planning",
    "resampling",
    "augmentation",
    "training_step",
    "prediction",
    "large_volume",
    "evaluation",
    "postprocessing",
    "quality",
)


def measure_section(name: str, context: Context, machine: dict[str, str]) -> Measured:
    """Runs a section and keeps what it found in `context.work/results/<name>.json`."""
    module = importlib.import_module(f"benchmarks.peer.sections.{name}")
    start = monotonic()
    section = cast(Section, module.measure(context))
    measured = Measured(
        name=name,
        title=module.TITLE,
        section=section,
        machine=machine,
        date=date.today().isoformat(),
        minutes=round((monotonic() - start) / 60, 1),
    )
    measured.save(_result(context.work, name))
    return measured


def kept_sections(work: Path, names: Sequence[str] = SECTIONS) -> list[Measured]:
    """What earlier runs left, in the order of `names`."""
    return [Measured.load(_result(work, name)) for name in names if _result(work, name).exists()]


def _result(work: Path, name: str) -> Path:
    return work / "results" / f"{name}.json"
