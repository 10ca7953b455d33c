"""Which model of a run to predict with: the chosen one, or the one that is named."""

from __future__ import annotations

from collections.abc import Sequence

from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.inference.model import trained_folds
from autoseg.plan.record import SEGMENTATION, Plan
from autoseg.postprocessing.choose import Decision
from autoseg.records import read_mapping, unknown_name
from autoseg.workspace import Run


def chosen_configurations(run: Run, plan: Plan, wanted: str | None = None) -> tuple[str, ...]:
    """Names of the configurations to predict with; several are an ensemble.

    Args:
        wanted: a name, or names joined by "+"; None takes what the cross-validation chose, else the only one that is
            trained.

    Raises:
        ConfigurationError: a name that the plan lacks, or one that is given twice; a model that labels nothing.
        WorkspaceError: nothing is trained, or several are and none is chosen yet.
    """
    if plan.task != SEGMENTATION:
        raise ConfigurationError(
            "the run's model does not label images",
            where=run.root,
            got=f"a model for {plan.task}",
            expected=f"a model for {SEGMENTATION}",
            remedy=f"`autoseg register FIXED MOVING --model {run.root} --out DIR` applies one that registers",
        )
    if wanted is not None:
        names = tuple(name.strip() for name in wanted.split("+"))
        for name in names:
            if name not in plan.configurations:
                raise unknown_name("configuration", name, plan.configurations, where=run.plan)
        if len(set(names)) < len(names):
            raise ConfigurationError("an ensemble is of different configurations", got=wanted, remedy="name each once")
        return names
    if run.summary.exists():
        chosen = read_mapping(run.summary).get("best", {}).get("configurations")
        if chosen:
            return tuple(str(name) for name in chosen)
    trained = [name for name in plan.configurations if trained_folds(run, name)]
    if len(trained) == 1:
        return (trained[0],)
    raise WorkspaceError(
        "the run has not chosen a configuration yet" if trained else "the run has no trained model",
        where=run.root,
        got=f"trained: {', '.join(trained) or 'none'}",
        remedy=f"run `autoseg choose {run.root}`, or name one with --configuration"
        if trained
        else "run `autoseg plan-and-train` first",
    )


def chosen_postprocessing(run: Run, configurations: Sequence[str]) -> Decision | None:
    """The run's post-processing if it was chosen for just these configurations, in any order; else None."""
    if not run.postprocessing.exists():
        return None
    content = read_mapping(run.postprocessing)
    one, several = content.pop("configuration", None), content.pop("configurations", None)
    about = several if several is not None else [one] if one is not None else list(configurations)
    if set(about) != set(configurations):
        return None
    return Decision.from_mapping(content, where=run.postprocessing)
