"""The results of a run: its validated folds put together, the best configuration, its post-processing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.files import read_labels
from autoseg.errors import WorkspaceError
from autoseg.evaluation.summary import summarise
from autoseg.log import logger
from autoseg.plan.record import Plan
from autoseg.postprocessing.choose import Decision, choose
from autoseg.records import read_mapping, write_json
from autoseg.workspace import Run


def summarise_run(run: Run, dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Writes postprocessing.json and summary.json from the folds that are validated.

    The best configuration has the highest mean foreground Dice over all its validated cases; of equal ones the
    first in the plan, which is the simpler. Only configurations validated on the same cases are compared.

    Returns:
        The content of summary.json.

    Raises:
        WorkspaceError: no fold is validated yet.
    """
    pooled = {name: _pooled(run, name) for name in plan.configurations}
    results = {name: result for name, result in pooled.items() if result is not None}
    if not results:
        raise WorkspaceError("no fold is validated yet", where=run.root, remedy="run `autoseg train` first")
    most = max(len(result["cases"]) for result in results.values())
    complete = [name for name, result in results.items() if len(result["cases"]) == most]
    best = max(complete, key=lambda name: results[name]["foreground_mean"].get("dice") or 0.0)
    decision = choose(
        _pairs(run, dataset, plan, best), plan.labels.training_foreground, ignore=plan.labels.training_ignore
    )
    write_json(run.postprocessing, {"configuration": best, **decision.model_dump(mode="json")})
    summary = {
        "configurations": {name: _without_cases(result) for name, result in results.items()},
        "best": _best(best, results[best], decision),
    }
    write_json(run.summary, summary)
    logger.info("best: %s, post-processing: %s", best, ", ".join(decision.steps) or "none")
    return summary


def _pooled(run: Run, configuration: str) -> dict[str, Any] | None:
    """Scores over the cases of all validated folds of a configuration."""
    cases: dict[str, Any] = {}
    folds: dict[str, float | None] = {}
    for name, fold in run.folds(configuration).items():
        if fold.validation_summary.exists():
            content = read_mapping(fold.validation_summary)
            cases |= content["cases"]
            folds[name] = content["foreground_mean"].get("dice")
    return {**summarise(cases), "folds": folds} if cases else None


def _without_cases(result: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in result.items() if key != "cases"}, "cases": len(result["cases"])}


def _best(name: str, result: dict[str, Any], decision: Decision) -> dict[str, Any]:
    return {
        "configurations": [name],
        "folds": list(result["folds"]),
        "foreground_mean_dice": result["foreground_mean"].get("dice"),
        "postprocessing": list(decision.steps),
        "foreground_mean_dice_postprocessed": decision.after.foreground,
    }


def _pairs(run: Run, dataset: Dataset, plan: Plan, configuration: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Prediction and reference of every validated case, in training values, one at a time."""
    references = {case.id: case.label for case in dataset.training}
    for fold in run.folds(configuration).values():
        if not fold.validation_summary.exists():
            continue
        for case in read_mapping(fold.validation_summary)["cases"]:
            reference = references[case]
            assert reference is not None
            yield _encoded(fold.validation / f"{case}{plan.file_ending}", plan), _encoded(reference, plan)


def _encoded(path: Path, plan: Plan) -> np.ndarray:
    return plan.labels.encode(read_labels(path).array[0])
