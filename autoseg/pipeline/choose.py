"""The choice of a run's model, remade without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoseg.pipeline.summary import summarise
from autoseg.report.build import write_report
from autoseg.workspace import Run


def choose(out: Path, *, device: str = "auto", workers: int | None = None) -> dict[str, Any]:
    """Chooses anew and writes summary.json, postprocessing.json and report.html; nothing is trained.

    For runs whose folds were trained one by one, on several machines for instance.

    Args:
        out: run folder with validated folds.
        device: for validations that must be predicted again.
        workers: processes; None takes one a usable core.

    Returns:
        The content of summary.json.

    Raises:
        WorkspaceError: no fold is validated.
    """
    run = Run(out)
    summary = summarise(run, device=device, workers=workers)
    write_report(run)
    return summary
