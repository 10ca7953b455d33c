"""From nnU-Net's result folder to a run folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Dataset
from autoseg.errors import AutosegError, ErrorGroup, WorkspaceError
from autoseg.exchange.nnunet.checkpoint import NnunetCheckpoint, load_nnunet_checkpoint
from autoseg.exchange.nnunet.folder import Checkpoint, ModelFolder, find_models, read_model_folder
from autoseg.exchange.nnunet.plans import read_plan
from autoseg.exchange.nnunet.vocabulary import DEFAULT_TRAINER, ITERATIONS_PER_EPOCH
from autoseg.exchange.nnunet.weights import from_nnunet
from autoseg.log import logger
from autoseg.plan.layers import input_channels
from autoseg.plan.mirroring import axis_letters
from autoseg.plan.record import Plan
from autoseg.training.checkpoint import save_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run

RUNTIME = Runtime(layout="channels_last")
"""What imported weights are computed with on a CPU: float32, as nnU-Net does. Other devices have their own."""


@dataclass(frozen=True)
class ImportedModel:
    """One configuration that was carried over.

    Attributes:
        configuration: its name.
        source: nnU-Net's folder.
        folds: names of the folds.
        trainer: nnU-Net's class.
    """

    configuration: str
    source: ModelFolder
    folds: tuple[str, ...]
    trainer: str


def read_models(path: Path, run: Run, *, checkpoint: Checkpoint = "final") -> tuple[Plan, list[ImportedModel]]:
    """Writes plan, weights and an empty list of cases into a run folder.

    Nothing in nnU-Net's checkpoints is run, and one of them is in memory at a time. A cascade's first stage is looked
    for beside its second.

    Args:
        path: a model's folder, or a data set's with several models.
        run: an empty folder.
        checkpoint: which checkpoint of each fold.

    Returns:
        The plan, and what was carried over.

    Raises:
        ErrorGroup: everything that does not exist here.
        WorkspaceError: no model, a model that lacks its first stage, or a checkpoint that cannot be read.
    """
    models = _by_configuration(find_models(path, checkpoint), checkpoint)
    folders = {name: folder for name, (folder, _) in models.items()}
    axes = {name: first.mirror_axes for name, (_, first) in models.items()}
    first = next(iter(folders.values()))
    plan = read_plan(first.plans, first.dataset, tuple(folders), axes, first.root)
    ordered = sorted(folders, key=list(plan.configurations).index)
    problems: list[AutosegError] = []
    imported = []
    for name in ordered:
        for key, file in folders[name].checkpoints.items():
            problems += _convert(file, plan, name, run.fold(name, key).final)
        imported.append(ImportedModel(name, folders[name], tuple(folders[name].checkpoints), models[name][1].trainer))
    if problems:
        raise ErrorGroup(
            f"{path}: the weights do not fit the network that the plans describe", problems,
            remedy="the model was trained with a network of its own; keep using nnU-Net for it",
        )  # fmt: skip
    plan = plan.with_(warnings=tuple(_origin(model, checkpoint) for model in imported))
    plan.save(run.plan)
    _no_cases(plan, first).save(run.dataset)
    for model in imported:
        _notice(model, checkpoint)
    return plan, imported


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place once it is whole, and vanishes if it is not.

    Raises:
        WorkspaceError: `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WorkspaceError("is in use", where=out, remedy="give another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        folder.chmod(0o755)
        yield folder
        folder.replace(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _by_configuration(
    folders: Sequence[ModelFolder], checkpoint: Checkpoint
) -> dict[str, tuple[ModelFolder, NnunetCheckpoint]]:
    """Each configuration's folder with its first checkpoint (without weights), first stages of cascades included."""
    models: dict[str, tuple[ModelFolder, NnunetCheckpoint]] = {}
    waiting = list(folders)
    while waiting:
        folder = waiting.pop(0)
        first = _without_weights(load_nnunet_checkpoint(next(iter(folder.checkpoints.values()))))
        if first.configuration in models:
            raise WorkspaceError(
                f"there are two models of {first.configuration}", where=folder.root,
                got=models[first.configuration][0].root, remedy="give the folder of one of them",
            )  # fmt: skip
        models[first.configuration] = folder, first
        configurations = folder.plans.get("configurations") or {}
        previous = (configurations.get(first.configuration) or {}).get("previous_stage")
        roots = {seen.root for seen in (*(model for model, _ in models.values()), *waiting)}
        if previous is not None and previous not in models:
            beside = folder.sibling(previous)
            if beside is None:
                raise WorkspaceError(
                    f"{first.configuration} takes the prediction of {previous}, which is not there",
                    where=folder.root,
                    expected=f"beside it a folder whose name ends in __{previous}",
                    remedy=f"put nnU-Net's folder of {previous} there",
                )
            if beside not in roots:
                model = read_model_folder(beside, checkpoint)
                if not model.checkpoints:
                    raise WorkspaceError(f"{previous} has no checkpoint_{checkpoint}.pth", where=beside)
                waiting.append(model)
    return models


def _without_weights(checkpoint: NnunetCheckpoint) -> NnunetCheckpoint:
    return NnunetCheckpoint(
        {}, checkpoint.configuration, checkpoint.trainer, checkpoint.mirror_axes, checkpoint.epochs
    )  # fmt: skip


def _convert(file: Path, plan: Plan, name: str, target: Path) -> list[AutosegError]:
    """Writes one checkpoint here; returns what does not fit instead."""
    theirs, configuration = load_nnunet_checkpoint(file), plan.configurations[name]
    if theirs.configuration != name:
        return [WorkspaceError("is of another configuration", where=file, got=theirs.configuration, expected=name)]
    channels = input_channels(configuration, len(plan.channels), plan.labels)
    state, problems = from_nnunet(theirs.weights, configuration, channels, plan.labels.outputs)
    if problems:
        return [WorkspaceError(text, where=file) for text in problems]
    letters = axis_letters(plan, configuration)
    mirrored = "".join(letters[axis] for axis in theirs.mirror_axes if axis < len(letters))
    content = {
        "network": state,
        "step": ITERATIONS_PER_EPOCH * theirs.epochs,
        "seconds": 0.0,
        "runtime": RUNTIME.model_dump(),
        "config": TrainingConfig(mirror_axes=mirrored).model_dump(),
        "trainer": "segmentation",
    }
    save_checkpoint(target, content)
    return []


def _origin(model: ImportedModel, checkpoint: Checkpoint) -> str:
    return (
        f"{model.configuration}: imported from nnU-Net v2 (plans {model.source.plans.get('plans_name', 'unnamed')}, "
        f"trainer {model.trainer}, checkpoint_{checkpoint})"
    )


def _no_cases(plan: Plan, folder: ModelFolder) -> Dataset:
    return Dataset(
        name=plan.dataset,
        folder=folder.root,
        layout="nnunet-model",
        channels=plan.channels,
        labels=plan.labels,
        file_ending=plan.file_ending,
        label_ending=plan.file_ending,
        training=(),
        warnings=("a model of nnU-Net v2, imported without its training data",),
    )


def _notice(model: ImportedModel, checkpoint: Checkpoint) -> None:
    if model.trainer != DEFAULT_TRAINER:
        logger.warning(
            "%s was trained by %s: its weights fit the network of the plans, which is what predicts here; other "
            "changes that this trainer makes to prediction are not known", model.configuration, model.trainer,
        )  # fmt: skip
    if model.source.incomplete:
        logger.warning(
            "%s: folds %s have no checkpoint_%s.pth and are left out", model.configuration,
            ",".join(model.source.incomplete), checkpoint,
        )  # fmt: skip
