"""Which model of a run to predict with: the chosen one, or the one that is named."""

from __future__ import annotations

from collections.abc import Sequence

from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.inference.choice import read_choice
from autoseg.inference.model import trained_folds, usual_folds
from autoseg.plan.record import SEGMENTATION, Plan
from autoseg.postprocessing.choose import Decision
from autoseg.records import read_mapping, unknown_name
from autoseg.workspace import Run


def chosen_configurations(run: Run, plan: Plan, choice: str | None = None) -> tuple[str, ...]:
    """Names of the configurations to predict with; several are an ensemble.

    Args:
        choice: a name, or names joined by "+"; None takes what the cross-validation chose, else the only one that is
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
    if choice is not None:
        names = tuple(name.strip() for name in choice.split("+"))
        for name in names:
            if name not in plan.configurations:
                raise unknown_name("configuration", name, plan.configurations, where=run.plan)
        if len(set(names)) < len(names):
            raise ConfigurationError("an ensemble is of different configurations", got=choice, remedy="name each once")
        return names
    if chosen := read_choice(run).configurations:
        return chosen
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


def shared_folds(
    run: Run, plan: Plan, configurations: Sequence[str], asked: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """The folds to share of each configuration, before it those of the one whose predictions it takes (cascade).

    Args:
        configurations: to predict with.
        asked: names of folds; None takes all numbered ones that are trained, else the model of all data. A previous
            stage comes with the same folds, or with all where these are not trained, as prediction takes them.

    Raises:
        WorkspaceError: a fold that is not trained, or none is.
    """
    folds: dict[str, tuple[str, ...]] = {}
    for name in configurations:
        own = _trained(run, name, asked)
        previous = plan.configurations[name].previous_stage
        if previous is not None:
            same = set(own) <= set(trained_folds(run, previous))
            before = _trained(run, previous, own if same else None)
            folds[previous] = tuple(dict.fromkeys((*folds.get(previous, ()), *before)))
        folds[name] = tuple(dict.fromkeys((*folds.get(name, ()), *own)))
    return folds


def _trained(run: Run, name: str, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The folds asked for, else the usual ones; an error where one is not trained."""
    trained = trained_folds(run, name)
    folds = usual_folds(run, name) if asked is None else tuple(asked)
    missing = [fold for fold in folds if fold not in trained]
    if missing or not folds:
        raise WorkspaceError(
            f"{name} has no trained fold {', '.join(missing)}".rstrip(),
            where=run.root,
            got=f"trained folds: {', '.join(trained) or 'none'}",
            remedy=f"run `autoseg train {run.root} --configuration {name} --fold {(*missing, '0')[0]}`",
        )
    return folds
