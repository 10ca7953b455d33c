"""What of a run goes into a model that is shared: what prediction and fine-tuning need, and nothing about patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.errors import WorkspaceError
from autoseg.inference.estimate import reliability_of
from autoseg.inference.model import trained_folds, usual_folds
from autoseg.inference.selection import chosen_postprocessing
from autoseg.plan.record import Plan
from autoseg.records import read_mapping
from autoseg.workspace import Run

_CHECKPOINT = ("format", "network", "runtime", "config", "step")
_BEST = ("foreground_mean_dice", "postprocessing", "foreground_mean_dice_postprocessed")


def shared_folds(
    run: Run, plan: Plan, configurations: Sequence[str], wanted: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """The folds to share of each configuration, before it those of the one whose predictions it takes (cascade).

    Args:
        configurations: to predict with.
        wanted: names of folds; None takes all numbered ones that are trained, else the model of all data. A previous
            stage comes with the same folds, or with all where these are not trained, as prediction takes them.

    Raises:
        WorkspaceError: a fold that is not trained, or none is.
    """
    folds: dict[str, tuple[str, ...]] = {}
    for name in configurations:
        own = _trained(run, name, wanted)
        previous = plan.configurations[name].previous_stage
        if previous is not None:
            same = set(own) <= set(trained_folds(run, previous))
            before = _trained(run, previous, own if same else None)
            folds[previous] = tuple(dict.fromkeys((*folds.get(previous, ()), *before)))
        folds[name] = tuple(dict.fromkeys((*folds.get(name, ()), *own)))
    return folds


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


def _trained(run: Run, name: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The folds asked for, else the usual ones; an error where one is not trained."""
    trained = trained_folds(run, name)
    folds = usual_folds(run, name) if wanted is None else tuple(wanted)
    missing = [fold for fold in folds if fold not in trained]
    if missing or not folds:
        raise WorkspaceError(
            f"{name} has no trained fold {', '.join(missing)}".rstrip(),
            where=run.root,
            got=f"trained folds: {', '.join(trained) or 'none'}",
            remedy=f"run `autoseg train {run.root} --configuration {name} --fold {(*missing, '0')[0]}`",
        )
    return folds


def _without_cases(values: Any) -> Any:
    """The values without anything listed by case; how many cases there were stays."""
    if not isinstance(values, Mapping):
        return values
    kept = {key: value for key, value in values.items() if key != "cases" or isinstance(value, int)}
    return {key: _without_cases(value) for key, value in kept.items()}
