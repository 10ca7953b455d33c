"""A trained or pretrained run as the start of another: its plan, fitted to other data, and the weights of each fold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from autoseg.data.dataset import Dataset
from autoseg.data.digest import shared_images
from autoseg.errors import ConfigurationError, PlanError, WorkspaceError
from autoseg.fingerprint.record import Fingerprint
from autoseg.inference.model import trained_folds
from autoseg.log import counted, logger
from autoseg.pipeline.choices import count_workers
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.stages import load_dataset, load_plan
from autoseg.pipeline.trainers import installed_traits
from autoseg.plan.record import Plan
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.context import Handover
from autoseg.workspace import ALL_DATA, Run


def trained_plan(folder: Path) -> Plan:
    """The plan of a run with the configurations alone that have final weights, and in a cascade their first stages.

    That of a pretraining becomes one for the task for which it was made.

    Raises:
        WorkspaceError: no plan, or no configuration is trained.
    """
    run = Run(folder)
    plan = Plan.load(run.require(run.plan, f"autoseg import-nnunet MODEL_DIR --out {folder}"))
    names = {name for name in plan.configurations if trained_folds(run, name)}
    candidates = ((name, plan.configurations[name]) for name in plan.configurations if name in names)
    kept = {
        name: configuration
        for name, configuration in candidates
        if configuration.previous_stage is None or configuration.previous_stage in names
    }
    if not kept:
        raise WorkspaceError(
            "the run has no trained network to start from",
            where=folder,
            remedy="train it, or give a run that `autoseg import-nnunet` made",
        )
    linked = {
        name: configuration if configuration.next_stage in kept else configuration.with_(next_stage=None)
        for name, configuration in kept.items()
    }
    return plan.with_(configurations=linked, task=installed_traits(plan.task).handover.task or plan.task)


def is_pretraining(folder: Path) -> bool:
    """Whether a folder is a run whose networks are made to start others, as those of a pretraining are."""
    return folder.is_dir() and _origin(folder).task is not None


def adopted_run(pretrained: Path | None, *, planner: str | None, memory: float | Literal["auto"] | None) -> Path | None:
    """The run whose plan is taken over; None where the data are planned by themselves.

    A run of pretraining may be continued with another plan, for which a planner or an amount of memory is named.

    Raises:
        WorkspaceError, ConfigurationError: as `check_adoption`.
    """
    if pretrained is None or not pretrained.is_dir():
        return None
    if is_pretraining(pretrained) and (planner is not None or memory is not None):
        trained_plan(pretrained)
        return None
    check_adoption(pretrained, planner=planner, memory=memory)
    return pretrained


def check_adoption(folder: Path, *, planner: str | None, memory: float | Literal["auto"] | None) -> None:
    """Refuses a run that a plan cannot be taken from, and choices that the plan has made already.

    Raises:
        WorkspaceError: as `trained_plan`.
        ConfigurationError: a planner or an amount of memory to plan for.
    """
    trained_plan(folder)
    given = [name for name, value in (("--planner", planner), ("--memory", memory)) if value is not None]
    if given:
        raise ConfigurationError(
            "a pretrained run brings its plan, so that its weights fit",
            got=" and ".join(given),
            remedy=f"leave it out, or {_own_plan(folder)}",
        )


def adopts(out: Path, pretrained: Path) -> bool:
    """Whether a plan is to be taken over: always, but where a pretraining's images had other channels.

    Args:
        out: run folder with a data set.
        pretrained: trained run.
    """
    theirs, ours = trained_plan(pretrained).channels, load_dataset(Run(out)).channels
    if len(theirs) == len(ours) or not is_pretraining(pretrained):
        return True
    logger.info(
        "note: %s saw images with %s and these have %d: they are planned by themselves", pretrained,
        counted(len(theirs), "channel"), len(ours),
    )  # fmt: skip
    return False


def keep_pretrained(out: Path, pretrained: Path) -> None:
    """Leaves in the plan of a run only the configurations that a pretraining has an encoder for.

    Raises:
        PlanError: there is none.
    """
    plan, pretrained_configurations = load_plan(Run(out)), trained_plan(pretrained).configurations
    kept = {
        name: configuration.with_(next_stage=None)
        for name, configuration in plan.configurations.items()
        if name in pretrained_configurations
    }
    if not kept:
        raise PlanError(
            "the plan has no configuration that is pretrained",
            where=pretrained,
            got=", ".join(plan.configurations),
            expected=", ".join(pretrained_configurations),
            remedy="pretrain for this plan: autoseg pretrain ... --for RUN",
        )
    plan.with_(configurations=kept).save(Run(out).plan)


def refuse_leakage(
    pretrained: Path | None, planned: PlannedRun, validation: Collection[str], workers: int | None = None
) -> None:
    """Refuses to validate on images that a pretraining has seen, whatever their names.

    Args:
        pretrained: run of a pretraining or its final checkpoint; others are not looked into.
        planned: run with the data set.
        validation: cases to be validated on.
        workers: processes that read images.

    Raises:
        ConfigurationError: there are any.
    """
    if pretrained is None or not validation:
        return
    seen = _origin(pretrained).seen(pretrained)
    if not seen.digests:
        return
    shared = shared_images(seen.digests, planned.dataset, validation, workers=count_workers(workers))
    if shared:
        raise ConfigurationError(
            "the pretraining has seen images that are to be validated on",
            where=pretrained,
            got=f"{len(shared)} of {len(validation)}: {', '.join(shared[:5])}",
            expected="a pretraining without them" + (f"; it held out {seen.held_out}" if seen.held_out else ""),
            remedy=f"pretrain with --hold-out {planned.run.splits}:FOLD and train that fold, or train on all data with "
            "--folds all-data, which validates on none",
        )


def starting_tensors(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint that another training starts from, as the trainer that made it says."""
    return installed_traits(checkpoint.get("trainer")).handover.tensors(checkpoint)


def _origin(pretrained: Path) -> Handover:
    """What the trainer of a run, or of a checkpoint, hands over."""
    if not pretrained.is_dir():
        return installed_traits(load_checkpoint(pretrained).get("trainer")).handover
    run = Run(pretrained)
    return installed_traits(load_plan(run).task).handover if run.plan.exists() else Handover()


def adopt_plan(out: Path, pretrained: Path) -> Plan:
    """Writes the plan of a trained run as the plan of another, whose weights then fit.

    Patch, spacing, network, normalisation and its intensity statistics are those of the trained run: the images look
    to the network as they did in its training. Names of channels and labels, and the file ending, are the data's.

    Args:
        out: run folder with a fingerprint.
        pretrained: run folder with trained networks, such as an imported one.

    Raises:
        WorkspaceError: as `trained_plan`, or `out` has no data.
        PlanError: the data have another number of channels, or other dimensions.
    """
    run, plan = Run(out), trained_plan(pretrained)
    dataset = load_dataset(run)
    fingerprint = Fingerprint.load(run.require(run.fingerprint, "autoseg fingerprint DATASET --out RUN"))
    _check_data(plan, dataset, fingerprint, pretrained)
    for number, (theirs, ours) in enumerate(zip(plan.channels, dataset.channels, strict=True)):
        if theirs != ours:
            logger.info("note: channel %d is %s in the pretrained run and %s here", number, theirs, ours)
    adopted = plan.with_(
        dataset=dataset.name,
        channels=dataset.channels,
        labels=dataset.labels,
        file_ending=dataset.label_ending,
        warnings=(*plan.warnings, f"the plan is that of the pretrained run {pretrained.name}, made for {plan.dataset}"),
    )
    adopted.save(run.plan)
    logger.info("plan: taken over from %s (%s)", pretrained, ", ".join(adopted.configurations))
    return adopted


def starting_weights(pretrained: Path, configuration: str, fold: str) -> Path:
    """The checkpoint that a fold starts from: a file as it is, of a run that fold's own, or else its first fold's.

    On the data that the run was trained on, only a fold's own weights have not seen its validation cases; a warning
    says where others are taken.

    Raises:
        WorkspaceError: the run has no trained fold of the configuration.
    """
    if not pretrained.is_dir():
        return pretrained
    run = Run(pretrained)
    folds = trained_folds(run, configuration)
    if not folds:
        trained = sorted({path.parent.parent.name for path in pretrained.glob("*/fold_*/checkpoint_final.pt")})
        raise WorkspaceError(
            f"the pretrained run has no trained fold of {configuration}",
            where=pretrained,
            got=f"trained: {', '.join(trained) or 'none'}",
            remedy="name a configuration that is trained there, or give a checkpoint file",
        )
    taken = fold if fold in folds else next(iter(folds))
    if fold not in (taken, ALL_DATA) and not is_pretraining(pretrained):
        logger.warning(
            "%s fold %s starts from fold %s of %s: if that was trained on these data, it has seen this fold's "
            "validation cases and the scores will be too good", configuration, fold, taken, pretrained,
        )  # fmt: skip
    return folds[taken].final


def _own_plan(folder: Path) -> str:
    return f"for a plan of its own give a checkpoint: --pretrained {folder}/CONFIGURATION/fold_0/checkpoint_final.pt"


def _check_data(plan: Plan, dataset: Dataset, fingerprint: Fingerprint, pretrained: Path) -> None:
    if len(plan.channels) != len(dataset.channels):
        raise PlanError(
            "the plan of the pretrained run has another number of channels than the data",
            where=pretrained,
            got=f"{len(dataset.channels)} ({', '.join(dataset.channels)})",
            expected=f"{len(plan.channels)} ({', '.join(plan.channels)})",
            remedy=_own_plan(pretrained),
        )
    if plan.dimension != fingerprint.dimension:
        raise PlanError(
            f"the plan of the pretrained run is for {plan.dimension}D images",
            where=pretrained,
            got=f"{fingerprint.dimension}D images",
            remedy="give a run that was trained on images of as many dimensions",
        )
