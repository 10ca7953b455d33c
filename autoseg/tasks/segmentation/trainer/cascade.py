"""The two stages of a cascade: where the first writes its labels, and where the second finds those of every case."""

from __future__ import annotations

from pathlib import Path

from autoseg.data.splits import load_splits
from autoseg.errors import WorkspaceError
from autoseg.inference.predictor import NextStage
from autoseg.log import logger
from autoseg.plan.sharing import store_of
from autoseg.preprocessing.previous_stage import PreviousStage, previous_stage_file
from autoseg.preprocessing.store import Store
from autoseg.run_state import fold_state
from autoseg.training.context import FoldContext


def previous_labels(context: FoldContext) -> PreviousStage | None:
    """The previous stage's labels of all cases of a fold; None for a configuration without a previous stage.

    Each case has the labels of the networks that did not see it: they were written when its fold was validated.

    Raises:
        WorkspaceError: folds of the previous stage are not validated (it names them), no fold validates a case, or
            the labels were made for another plan.
    """
    previous = context.configuration.previous_stage
    if previous is None:
        return None
    files = _out_of_fold(context, previous)
    labels = PreviousStage(files, context.plan.labels)
    store = Store(context.store_folder)
    for case in files:
        if labels.shape(case) != store.shape(case)[1:]:
            raise WorkspaceError(
                f"the labels of {previous} do not fit the images of {context.configuration_name}",
                where=files[case],
                got=labels.shape(case),
                expected=store.shape(case)[1:],
                remedy=f"the plan was changed: train {previous} again",
            )
    return labels


def next_stage(context: FoldContext) -> NextStage | None:
    """Where the validation of a first stage writes its labels; None for other configurations.

    None also where the second stage's images are not preprocessed, which a line of the log says: the labels are made
    when the fold is validated again.
    """
    name = context.configuration.next_stage
    if name is None or name not in context.plan.configurations:
        return None
    folder = context.run.preprocessed(store_of(context.plan, name))
    if not folder.is_dir():
        logger.info(
            "note: no labels for %s are written, as its images are not preprocessed; should it be trained: "
            "`autoseg preprocess %s --configurations %s` before this training or its --resume",
            name, context.run.root, name,
        )  # fmt: skip
        return None
    return NextStage(Store(folder), context.folder.next_stage, context.plan.configurations[name].patch_size)


def _out_of_fold(context: FoldContext, previous: str) -> dict[str, Path]:
    """The file of each case of the fold that the context is about."""
    run = context.run
    splits = load_splits(run.require(run.splits, "autoseg fingerprint DATASET --out RUN"), context.dataset.identifiers)
    folds = {str(number): run.fold(previous, number) for number in range(len(splits))}
    validated = {name for name, fold in folds.items() if fold_state(fold).validated}
    files: dict[str, Path] = {}
    missing: set[str] = set()
    alone: list[str] = []
    for case in (*context.split.train, *context.split.validation):
        validating = [name for name, split in zip(folds, splits, strict=True) if case in split.validation]
        predictions = [previous_stage_file(folds[name].next_stage, case) for name in validating if name in validated]
        present = [path for path in predictions if path.exists()]
        if present:
            files[case] = present[0]
        elif validating:
            missing.add(validating[0])
        else:
            alone.append(case)
    if alone:
        raise WorkspaceError(
            f"{context.configuration_name} needs labels of {previous} for every case, predicted by a network that did "
            "not see it",
            where=run.splits,
            got=f"cases that no fold validates: {_some(alone)}",
            remedy="give splits in which every case is validated once",
        )
    if missing:
        names = sorted(missing, key=int)
        trained = {name for name in names if fold_state(folds[name]).has_model}
        commands = [
            f"`autoseg train {run.root} --configuration {previous} --fold {name}{' --resume' * (name in trained)}`"
            for name in names
        ]
        raise WorkspaceError(
            f"{context.configuration_name} needs the labels that {previous} predicts for every case",
            where=run.root,
            got=f"none of fold {', '.join(names)}",
            expected=f"every fold of {previous} trained and validated",
            remedy="run first: " + ", ".join(commands),
        )
    return files


def _some(cases: list[str]) -> str:
    return ", ".join(cases[:3]) + (f" and {len(cases) - 3} more" if len(cases) > 3 else "")
