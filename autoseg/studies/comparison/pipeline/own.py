"""The model of this software as one of the compared methods, without what was chosen on the validation cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case
from autoseg.data.splits import SplitRule
from autoseg.errors import WorkspaceError
from autoseg.inference.model import Model
from autoseg.inference.predictor import Predictor
from autoseg.pipeline.choices import choose_configurations
from autoseg.pipeline.dataset_to_report import plan_and_train
from autoseg.pipeline.settings import Settings
from autoseg.plan.record import Plan
from autoseg.run_state import RunState, fold_state
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation
from autoseg.workspace import Run


def fit(context: BaselineContext) -> TrainedModel:
    """The self-configured network of one fold, trained here or in an earlier run, without post-processing.

    One configuration takes part, the one that a time-boxed training would take (3d_fullres where the plan has it):
    which is best, ensembles and post-processing are chosen on the validation cases, and would flatter the model there.

    Args:
        context: its options are "fold", the name of the fold; "run", a trained run; or without it "splits", a file of
            the folds, and "seconds" for planning, training and validation, without which a training takes as long as
            it usually does; and "device".

    Raises:
        WorkspaceError: the run has no configuration that is trained on the fold.
    """
    fold, given = str(context.options["fold"]), context.options.get("run")
    device = context.options.get("device", "auto")
    # The folds share a run, beside their folders, so that images are measured and preprocessed once.
    run = Run(context.folder.parent / "run" if given is None else Path(given))
    if given is None:
        budget = context.options.get("seconds")
        plan_and_train(
            context.dataset.folder,
            run.root,
            configurations="auto" if budget is not None else _usual(context.dataset),
            folds=fold,
            budget=budget,
            device=device,
            seed=context.seed,
            workers=context.workers,
            resume=RunState.read(run).has_data,
            settings=Settings(splits=SplitRule(file=Path(context.options["splits"]))),
        )
    name = trained_configuration(run, fold)
    model = Model.load(run, name, (fold,), device=device)
    whose = "trained here" if given is None else f"run {run.root}"
    return TrainedModel(Predictor([model]), note=f"{name}, planned by {model.plan.planner}, {whose}")


@dataclass(frozen=True)
class TrainedModel:
    """The network of a fold; `note` says which.

    `predict` has the cost of a new image: reading, preprocessing, mirrored copies, resampling back.
    """

    predictor: Predictor
    note: str

    def predict(self, case: Case) -> Segmentation:
        """Labels in training values on the voxels of the case's image.

        Raises:
            ImageError: the image cannot be read or does not fit the model.
        """
        plan = self.predictor.plan
        return Segmentation(plan.labels.encode(self.predictor.predict(read_case(case, len(plan.channels)))))


def trained_configuration(run: Run, fold: str) -> str:
    """The usual configuration of the run's plan if the fold is trained, else the first whose fold is.

    Raises:
        WorkspaceError: there is none, or no plan.
    """
    plan = Plan.load(run.require(run.plan, "autoseg plan-and-train"))
    names = dict.fromkeys([*choose_configurations(plan, "auto", budget=True), *plan.configurations])
    for name in names:
        if fold_state(run.fold(name, fold)).has_model:
            return name
    raise WorkspaceError(
        f"no configuration is trained on fold {fold}",
        where=run.root,
        remedy=f"train one (autoseg train {run.root} --configuration {next(iter(names))} --fold {fold}), or choose "
        "other --folds",
    )


def _usual(dataset: Dataset) -> str:
    """What a time-boxed training would take of all configurations, before there is a plan to ask."""
    geometry = read_case(dataset.training[0], len(dataset.channels)).geometry
    return "3d_fullres" if geometry.dimension == 3 else "2d"
