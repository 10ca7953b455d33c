"""From a run folder to a folder that nnU-Net's own predictor loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autoseg.errors import AutosegError, ErrorGroup
from autoseg.exchange.nnunet.plans_writing import unknown_to_nnunet, write_dataset, write_plans
from autoseg.exchange.nnunet.vocabulary import DEFAULT_TRAINER
from autoseg.exchange.nnunet.weights import to_nnunet
from autoseg.inference.model import common_mirror_axes
from autoseg.inference.selection import chosen_configurations, shared_folds
from autoseg.plan.record import Plan
from autoseg.records import write_json
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run


@dataclass(frozen=True)
class NnunetModel:
    """One model that was written for nnU-Net.

    Attributes:
        folder: for `nnUNetv2_predict_from_modelfolder -i`.
        folds: names of the folds.
    """

    configuration: str
    folder: Path
    folds: tuple[str, ...]


def write_models(
    run: Run, folder: Path, *, configuration: str | None = None, folds: Sequence[str] | None = None
) -> list[NnunetModel]:
    """Writes a folder in the form of nnU-Net v2's results for each configuration of a model.

    One configuration is written into `folder` itself; of several (an ensemble, or a cascade with its first stage)
    each gets a folder in it that is named as nnU-Net names it.

    Args:
        run: with trained folds.
        folder: an empty folder.
        configuration: a name, or names joined by "+"; None takes the best.
        folds: None takes all numbered ones that are trained, else the model of all data.

    Raises:
        ErrorGroup: everything in the model that nnU-Net does not know.
        WorkspaceError: no such trained fold.
    """
    plan = Plan.load(run.require(run.plan, "autoseg plan-and-train"))
    networks = shared_folds(run, plan, chosen_configurations(run, plan, configuration), folds)
    problems: list[AutosegError] = [problem for name in networks for problem in unknown_to_nnunet(plan, name)]
    if problems:
        raise ErrorGroup(f"{run.root}: nnU-Net cannot hold this model", problems)
    plans, dataset = write_plans(plan), write_dataset(plan)
    written = []
    for name, keys in networks.items():
        own = folder if len(networks) == 1 else folder / f"{DEFAULT_TRAINER}__{plans['plans_name']}__{name}"
        _write_model(run, plan, name, keys, own, plans, dataset)
        written.append(NnunetModel(name, own, tuple(keys)))
    return written


def _write_model(
    run: Run,
    plan: Plan,
    name: str,
    folds: Sequence[str],
    folder: Path,
    plans: dict[str, Any],
    dataset: dict[str, Any],
) -> None:
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", dataset)
    files = {key: run.fold(name, key).final for key in folds}
    configs = [load_checkpoint(file).get("config", {}) for file in files.values()]
    axes = common_mirror_axes(plan, name, configs)
    for key, file in files.items():
        fold = key if key == "all" else int(key)
        content = {
            "network_weights": to_nnunet(load_checkpoint(file)["network"], plan.configurations[name].network),
            "trainer_name": DEFAULT_TRAINER,
            "init_args": {"plans": plans, "configuration": name, "fold": fold, "dataset_json": dataset},
            "inference_allowed_mirroring_axes": axes or None,
        }
        target = folder / f"fold_{key}" / "checkpoint_final.pth"
        target.parent.mkdir(parents=True)
        torch.save(content, target)
