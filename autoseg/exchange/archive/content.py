"""What of a run goes into a model that is shared: what prediction and fine-tuning need, and nothing about patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.inference.estimate import reliability_of
from autoseg.inference.selection import chosen_postprocessing
from autoseg.records import read_mapping
from autoseg.workspace import Run

_CHECKPOINT = ("format", "network", "runtime", "config", "step")
_BEST = ("foreground_mean_dice", "postprocessing", "foreground_mean_dice_postprocessed")


def slim_checkpoint(content: Mapping[str, Any]) -> dict[str, Any]:
    """Weights, and how they were trained; without optimiser, averages, and sampled places, which name cases."""
    return {key: content[key] for key in _CHECKPOINT if key in content}


def slim_summary(run: Run, configurations: Sequence[str], folds: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The scores of what is shared, and what to predict with, as the content of a summary.json.

    Args:
        run: may lack a summary.
        configurations: to predict with; they are the `best` of the result, whatever was best in the run.
        folds: configuration -> shared folds, previous stages included.
    """
    summary = read_mapping(run.summary) if run.summary.exists() else {}
    together = "+".join(configurations)
    scores = {name: entry for name, entry in summary.get("configurations", {}).items() if name in folds}
    ensembles = {name: entry for name, entry in summary.get("ensembles", {}).items() if name == together}
    best: dict[str, Any] = {
        "configurations": list(configurations),
        "folds": list(folds[configurations[0]]),
        "predict": "autoseg predict MODEL.zip IMAGES --out DIR",
    }
    chosen = summary.get("best", {})
    if set(chosen.get("configurations", ())) == set(configurations):
        best |= {key: chosen[key] for key in _BEST if key in chosen}
    else:
        entry = ensembles.get(together) or scores.get(together) or {}
        best |= {"foreground_mean_dice": entry.get("foreground_mean", {}).get("dice"), "postprocessing": []}
    slim = {"configurations": scores, "ensembles": ensembles, "best": best}
    reliability = reliability_of(run, configurations)
    if reliability is not None:
        slim["uncertainty"] = reliability.with_(check=None).model_dump(mode="json")  # the check names cases
    result: dict[str, Any] = _without_cases(slim)
    return result


def slim_postprocessing(run: Run, configurations: Sequence[str]) -> dict[str, Any] | None:
    """The content of postprocessing.json if it was chosen for these configurations, else None."""
    decision = chosen_postprocessing(run, configurations)
    return None if decision is None else {"configurations": list(configurations), **decision.model_dump(mode="json")}


def _without_cases(values: Any) -> Any:
    """The values without anything listed by case; how many cases there were stays."""
    if not isinstance(values, Mapping):
        return values
    kept = {key: value for key, value in values.items() if key != "cases" or isinstance(value, int)}
    return {key: _without_cases(value) for key, value in kept.items()}
