"""What of a run goes into a model that is shared: what prediction and fine-tuning need, and nothing about patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.evaluation.summary import ModelScores, Summary
from autoseg.inference.choice import Choice
from autoseg.inference.selection import chosen_postprocessing
from autoseg.workspace import Run

_CHECKPOINT = ("format", "network", "runtime", "config", "step")


def slim_checkpoint(content: Mapping[str, Any]) -> dict[str, Any]:
    """Weights, and how they were trained; without optimiser, averages, and sampled places, which name cases."""
    return {key: content[key] for key in _CHECKPOINT if key in content}


def slim_summary(run: Run, configurations: Sequence[str], folds: Mapping[str, Sequence[str]]) -> Summary:
    """The scores of what is shared, and what to predict with; nothing in it is listed by case.

    Args:
        run: may lack a summary.
        configurations: to predict with; they are the `best` of the result, whatever was best in the run.
        folds: configuration -> shared folds, previous stages included.
    """
    summary = Summary.load(run.summary) if run.summary.exists() else Summary()
    together = "+".join(configurations)
    scores = {name: model_scores for name, model_scores in summary.configurations.items() if name in folds}
    ensembles = {name: model_scores for name, model_scores in summary.ensembles.items() if name == together}
    best = summary.best
    if set(best.configurations) != set(configurations):
        dice = {**scores, **ensembles}.get(together, ModelScores()).foreground_dice
        best = Choice(foreground_mean_dice=dice, postprocessing=())
    reliability = summary.reliability(configurations)
    return Summary(
        configurations=scores,
        ensembles=ensembles,
        best=best.with_(
            configurations=configurations,
            folds=folds[configurations[0]],
            predict="autoseg predict MODEL.zip IMAGES --out DIR",
        ),
        uncertainty=None if reliability is None else reliability.with_(check=None),  # the check names cases
    )


def slim_postprocessing(run: Run, configurations: Sequence[str]) -> dict[str, Any] | None:
    """The content of postprocessing.json if it was chosen for these configurations, else None."""
    decision = chosen_postprocessing(run, configurations)
    return None if decision is None else {"configurations": list(configurations), **decision.model_dump(mode="json")}
