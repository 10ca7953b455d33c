"""Models of nnU-Net v2 in, and models for nnU-Net v2 out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.evaluation.candidate import Candidate, best_of, comparable, validated_configuration
from autoseg.evaluation.summary import Summary
from autoseg.exchange.nnunet.exporting import NnunetModel, write_models
from autoseg.exchange.nnunet.folder import Checkpoint
from autoseg.exchange.nnunet.importing import ImportedModel, new_folder, read_models
from autoseg.exchange.nnunet.plans_writing import renumbered
from autoseg.exchange.nnunet.scores import read_postprocessing, read_scores
from autoseg.exchange.nnunet.vocabulary import LARGEST_COMPONENT
from autoseg.inference.choice import Choice
from autoseg.inference.formats import model_folder
from autoseg.inference.selection import chosen_configurations, chosen_postprocessing
from autoseg.log import logger
from autoseg.plan.record import Plan
from autoseg.postprocessing.choose import Decision
from autoseg.provenance import Journal
from autoseg.records import read_mapping, write_json
from autoseg.workspace import Run


@dataclass(frozen=True)
class ImportedConfiguration:
    """One configuration of an imported model, for the user to see.

    Attributes:
        folds: names of its networks' folds.
        dice: mean foreground Dice of nnU-Net's validation; None where its scores are not there.
    """

    name: str
    folds: tuple[str, ...]
    trainer: str
    dice: float | None


@dataclass(frozen=True)
class ExportedForNnunet:
    """What was written for nnU-Net.

    Attributes:
        notes: what nnU-Net cannot hold, in words.
    """

    models: tuple[NnunetModel, ...]
    notes: tuple[str, ...]


def import_nnunet(
    model: Path, out: Path, *, checkpoint: Checkpoint = "final", command: Sequence[str] = ()
) -> tuple[ImportedConfiguration, ...]:
    """Makes a run folder of a trained model of nnU-Net v2; it predicts and exports, and its weights can be fine-tuned.

    Args:
        model: folder with plans.json, dataset.json and fold_*/checkpoint_*.pth, or one that holds several of these.
        out: run folder to make.
        checkpoint: which of nnU-Net's checkpoints.
        command: the command line, for the run's provenance.

    Raises:
        ErrorGroup: everything in the model that does not exist here.
        WorkspaceError: no model, a checkpoint that holds code, or `out` is in use.
    """
    with new_folder(out) as folder:
        run = Run(folder)
        plan, models = read_models(model, run, checkpoint=checkpoint)
        for one in models:
            _copy_scores(one, plan, run)
        candidates = {one.configuration: validated_configuration(run, plan, one.configuration) for one in models}
        _summarise([one for one in candidates.values() if one is not None], models, plan, run, out)
        journal = Journal(run.provenance, tuple(command))
        for warning in plan.warnings:
            journal.note(warning)
    scores = {name: None if one is None else one.dice for name, one in candidates.items()}
    return tuple(
        ImportedConfiguration(one.configuration, one.folds, one.trainer, scores[one.configuration]) for one in models
    )


def export_nnunet(
    run: Path, out: Path, *, configuration: str | None = None, folds: Sequence[str] | None = None
) -> ExportedForNnunet:
    """Writes a folder that nnU-Net v2 predicts with (`write_models`).

    Args:
        run: a run folder or a model file.
        out: folder to make.
        configuration: a name, or names joined by "+"; None takes the best.
        folds: names of folds; None takes all numbered ones that are trained, else the model of all data ("all").

    Raises:
        ErrorGroup: the model has parts that nnU-Net does not know.
        WorkspaceError: a fold that is not trained, or `out` is in use.
    """
    source = Run(model_folder(run))
    with new_folder(out) as folder:
        written = write_models(source, folder, configuration=configuration, folds=folds)
    models = [
        NnunetModel(model.configuration, out / model.folder.relative_to(folder), model.folds) for model in written
    ]
    return ExportedForNnunet(tuple(models), tuple(_left_behind(source, configuration)))


def _copy_scores(model: ImportedModel, plan: Plan, run: Run) -> None:
    """nnU-Net's validation scores of each fold, where they are."""
    for key in model.folds:
        file = model.source.fold(key) / "validation" / "summary.json"
        if file.is_file():
            scores = read_scores(read_mapping(file, nan=True), plan.labels, plan.file_ending)
            scores.save(run.fold(model.configuration, key).validation_summary)


def _summarise(
    candidates: Sequence[Candidate], models: Sequence[ImportedModel], plan: Plan, run: Run, out: Path
) -> None:
    """summary.json and postprocessing.json of the configurations that nnU-Net validated; nothing without any."""
    if not candidates:
        for one in models:
            _postprocessing(one, plan)  # for its notices
        return
    best = best_of(comparable(candidates)[0], plan)
    (name,) = best.configurations
    decision = _postprocessing(next(one for one in models if one.configuration == name), plan)
    choice = Choice(
        configurations=(name,),
        folds=tuple(best.folders),
        foreground_mean_dice=best.dice,
        postprocessing=() if decision is None else decision.steps,
        foreground_mean_dice_postprocessed=best.dice if decision is None else decision.after.foreground,
        predict=f"autoseg predict {shlex.quote(str(out))} IMAGES --out DIR",
    )
    Summary(configurations={one.name: one.model_scores() for one in candidates}, best=choice).save(run.summary)
    if decision is not None:
        decision = decision.with_(cases=len(best.cases))
        write_json(run.postprocessing, {"configurations": [name], **decision.model_dump(mode="json")})


def _postprocessing(model: ImportedModel, plan: Plan) -> Decision | None:
    """What nnU-Net chose on the cross-validation of a model; its pickle is never opened."""
    files = sorted(model.source.root.glob("crossval_results_folds_*/postprocessing.json"), key=lambda f: len(str(f)))
    decision = None
    if files:
        decision = read_postprocessing(read_mapping(files[-1], nan=True), plan.labels, LARGEST_COMPONENT)
        if decision is None:
            logger.warning("%s: left out, as it is not known here: %s", model.configuration, files[-1])
    elif any(model.source.root.rglob("postprocessing.pkl")):
        logger.warning(
            "%s: postprocessing.pkl is not opened, because a pickle may run code, and there is no postprocessing.json "
            "beside it: the model predicts without post-processing", model.configuration,
        )  # fmt: skip
    return decision


def _left_behind(run: Run, configuration: str | None) -> list[str]:
    """What the run has and nnU-Net's folder has not."""
    plan = Plan.load(run.plan)
    names = chosen_configurations(run, plan, configuration)
    notes = []
    if len(names) > 1:
        notes.append(
            "nnU-Net holds no ensemble: predict with each folder and --save_probabilities, then nnUNetv2_ensemble"
        )
    if any(plan.configurations[name].previous_stage for name in names):
        notes.append("nnU-Net runs a cascade's stages one by one: hand the first's output to -prev_stage_predictions")
    decision = chosen_postprocessing(run, names)
    if decision is not None and decision.steps:
        notes.append(f"post-processing is not in the folder: {', '.join(decision.steps)}")
    if changed := renumbered(plan.labels):
        pairs = ", ".join(f"{ours} becomes {theirs}" for ours, theirs in changed.items())
        notes.append(f"label values without gaps, as nnU-Net needs them: {pairs}")
    notes.append("sampling, augmentation and the calibration of expected Dice stay behind")
    return notes
