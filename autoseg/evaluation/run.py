"""The results of a run: its validated folds put together, ensembles, the best of all, its post-processing."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from autoseg.data.annotation_table import annotated_of_cases
from autoseg.data.dataset import Dataset
from autoseg.errors import WorkspaceError
from autoseg.evaluation.candidate import Candidate, best_of, comparable, validated_configuration
from autoseg.evaluation.ensemble import validated_ensemble
from autoseg.evaluation.postprocessing import decide_postprocessing
from autoseg.evaluation.summary import Summary
from autoseg.evaluation.uncertainty import summarise_uncertainty, uncertainty_cases
from autoseg.inference.choice import Choice
from autoseg.log import counted, logger
from autoseg.plan.record import Plan
from autoseg.postprocessing.choose import Decision
from autoseg.processes import usable_cores
from autoseg.records import write_json
from autoseg.run_state import fold_state
from autoseg.workspace import Run


def summarise_run(
    run: Run,
    dataset: Dataset,
    plan: Plan,
    *,
    predict_again: Callable[[str, str], object] | None = None,
    workers: int | None = None,
    postprocesses: bool = True,
    usage: str = "autoseg predict {run} IMAGES --out DIR",
) -> Summary:
    """Chooses the run's model from the folds that are validated; writes postprocessing.json and summary.json.

    All configurations that were validated on the same cases, and all ensembles of two of them (probabilities
    averaged), are compared by mean foreground Dice; ties go to the simpler (`candidate.best_of`). Post-processing is
    chosen after, for the best alone (Isensee et al. 2021, Nature Methods 18, "empirical parameters").

    Args:
        run: with at least one validated fold.
        dataset, plan: of the run.
        predict_again: predicts, saves and scores the validation of a trained fold (configuration, fold) anew. Called
            for folds without saved probabilities; None leaves the ensembles that need them out.
        workers: processes; None takes one per usable core.
        postprocesses: whether a post-processing of labels is chosen; if not, postprocessing.json is not written.
        usage: the command that applies the model, with {run} for the run folder.

    Raises:
        WorkspaceError: no fold is validated yet.
    """
    workers = usable_cores() if workers is None else workers
    candidates = [validated_configuration(run, plan, name) for name in plan.configurations]
    singles = [candidate for candidate in candidates if candidate is not None]
    if not singles:
        raise WorkspaceError("no fold is validated yet", where=run.root, remedy="run `autoseg train` first")
    compared, left_out = comparable(singles)
    for candidate in left_out:
        logger.info(
            "%s is not compared: it is validated on %s, folds %s; the comparison is on %s, folds %s",
            candidate.name, counted(len(candidate.cases), "case"), ",".join(candidate.folders),
            counted(len(compared[0].cases), "case"), ",".join(compared[0].folders),
        )  # fmt: skip
    if len(compared) > 1:
        compared = [_with_probabilities(run, plan, one, predict_again) for one in compared]
    members = [one for one in compared if not _without_probabilities(one)]
    ensembles = [validated_ensemble(run, dataset, plan, pair, workers=workers) for pair in combinations(members, 2)]
    best = best_of([*compared, *ensembles], plan)
    decision = _decide(best, dataset, plan, workers) if postprocesses else None
    cases = uncertainty_cases(run, best.configurations)
    command = usage.format(run=shlex.quote(str(run.root)))
    summary = Summary(
        configurations={one.name: one.model_scores() for one in _replaced(singles, compared)},
        ensembles={one.name: one.model_scores() for one in ensembles},
        best=_choice(best, decision, command),
        uncertainty=summarise_uncertainty(cases, configurations=best.configurations) if cases else None,
    )
    if decision is not None:
        content = {"configurations": list(best.configurations), **decision.model_dump(mode="json")}
        write_json(run.postprocessing, content)
    summary.save(run.summary)
    _announce([*compared, *ensembles], best, decision, command)
    return summary


def _with_probabilities(
    run: Run, plan: Plan, candidate: Candidate, predict_again: Callable[[str, str], object] | None
) -> Candidate:
    """The candidate, with saved probabilities of all its cases where that is possible."""
    (name,) = candidate.configurations
    missing = _without_probabilities(candidate)
    trained = [fold for fold in missing if fold_state(candidate.folders[fold]).has_model]
    if not missing:
        return candidate
    if predict_again is None or len(trained) < len(missing):
        remedy = f"`autoseg choose {run.root}` makes them" if predict_again is None else "their weights are gone"
        logger.warning("no ensemble with %s: folds %s lack probabilities; %s", name, ",".join(missing), remedy)
        return candidate
    for fold in missing:
        logger.info("%s fold %s has no saved probabilities: its validation is predicted again", name, fold)
        predict_again(name, fold)
    again = validated_configuration(run, plan, name)
    assert again is not None
    return again


def _without_probabilities(candidate: Candidate) -> list[str]:
    """Folds of which a case's probabilities are missing."""
    lacking = {candidate.fold_of[case] for case in candidate.cases if not candidate.probabilities(case).exists()}
    return [fold for fold in candidate.folders if fold in lacking]


def _replaced(candidates: Sequence[Candidate], newer: Sequence[Candidate]) -> list[Candidate]:
    by_name = {candidate.name: candidate for candidate in newer}
    return [by_name.get(candidate.name, candidate) for candidate in candidates]


def _choice(best: Candidate, decision: Decision | None, command: str) -> Choice:
    return Choice(
        configurations=best.configurations,
        folds=tuple(best.folders),
        foreground_mean_dice=best.dice,
        postprocessing=None if decision is None else decision.steps,
        foreground_mean_dice_postprocessed=None if decision is None else decision.after.foreground,
        predict=command,
    )


def _announce(candidates: Sequence[Candidate], best: Candidate, decision: Decision | None, command: str) -> None:
    """Notes the comparison in the run's log; commands print it as a table."""
    wide = max(len(candidate.name) for candidate in candidates)
    for candidate in candidates:
        dice = "none" if candidate.dice is None else f"{candidate.dice:.4f}"
        logger.debug(
            "%-*s  mean foreground Dice %s over %s", wide, candidate.name, dice, counted(len(candidate.cases), "case")
        )
    if decision is not None:
        logger.debug("best: %s, post-processing: %s", best.name, ", ".join(decision.steps) or "none")
    logger.debug("to use it: %s", command)


def _decide(best: Candidate, dataset: Dataset, plan: Plan, workers: int) -> Decision:
    """Post-processing of one candidate."""
    references = {case.id: case.label for case in dataset.training}
    pairs = {case: (best.prediction(case), _reference_of(references, case)) for case in best.cases}
    return decide_postprocessing(
        pairs, plan.labels, workers=workers, annotated=annotated_of_cases(dataset.training), reading=dataset.reading
    )


def _reference_of(references: Mapping[str, Path | None], case: str) -> Path:
    reference = references.get(case)
    if reference is None:
        raise WorkspaceError(
            "a validated case is not in the data set",
            where=case,
            remedy="train again on the data set as it is now, or bring the case back",
        )
    return reference
