"""`autoseg choose`: choose the best model of a run again, from the folds that are validated."""

from __future__ import annotations

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def choose(run: options.ExistingRun, device: options.Device = "auto", workers: options.Workers = None) -> None:
    """Choose the best model of a run again.

    Compares every configuration and every ensemble of two, without training. For folds that were trained one by one
    with `autoseg train`, on several machines for instance.
    """
    from autoseg import pipeline
    from autoseg.cli import tables

    log.configure(run_log=Run(run).log)
    pipeline.choose(run, device=device, workers=workers)
    tables.show_results(Run(run))
