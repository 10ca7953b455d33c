"""What a frozen encoder knows of the labels: a linear read-out, trained and validated as any segmentation is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.networks.linear_readout import ENCODER
from autoseg.pipeline.choices import check_length, choose_folds, training_config
from autoseg.pipeline.pretrained import adopt_plan, is_pretraining
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.stages import fingerprint_dataset, preprocess
from autoseg.pipeline.summary import summarise
from autoseg.pipeline.training import train_fold
from autoseg.plan.record import Plan
from autoseg.provenance import Journal
from autoseg.report.build import write_report
from autoseg.workspace import Run

STEPS = 500
"""Optimiser steps where the user gives no length: a linear function of features is soon learned."""


def probe(
    dataset: Path,
    pretrained: Path,
    out: Path,
    *,
    fold: str = "0",
    budget: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    seed: int | None = None,
    workers: int | None = None,
    settings: Settings | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Trains a linear read-out on a pretrained encoder, whose weights stay as they are, and validates it.

    Args:
        dataset: labelled images, with as many channels as the pretraining's.
        pretrained: run of `pretrain`.
        out: run folder to make.
        fold: whose training cases the read-out learns from and whose validation cases it is scored on.
        budget: wall-clock seconds for training and validation.
        steps: optimiser steps, instead of a time; without either `STEPS`.
        device, seed, workers, settings, command: as for `pretrain`.

    Returns:
        The content of summary.json.

    Raises:
        WorkspaceError: `out` is in use, or the pretraining is not finished.
        ConfigurationError: no run of a pretraining, or one that has seen the validation cases.
        PlanError: images with other channels or dimensions than the pretraining's.
    """
    if not is_pretraining(pretrained):
        raise ConfigurationError(
            "is no run of a pretraining", where=pretrained, remedy=f"make one: autoseg pretrain ... --out {pretrained}"
        )
    run = Run(out)
    if run.dataset.exists():
        raise WorkspaceError("the run folder is in use", where=out, remedy="give another --out")
    config = training_config(settings, steps=steps, seed=seed)
    check_length(budget, config)
    if budget is None and config.steps is None and config.seconds is None:
        steps = STEPS
    journal = Journal(run.provenance, tuple(command))
    with journal.stage("check and fingerprint"):
        fingerprint_dataset(dataset, out, workers=workers, rule=None if settings is None else settings.splits)
    (chosen,) = choose_folds(run, fold)
    with journal.stage("plan"):
        plan = readout_plan(adopt_plan(out, pretrained))
        plan.save(run.plan)
    (name,) = plan.configurations
    with journal.stage("preprocess"):
        preprocess(out, configurations=name, workers=workers)
    with journal.stage(f"train the read-out of {name}"):
        train_fold(
            out, name, chosen, budget=budget, steps=steps, device=device, pretrained=pretrained, seed=seed,
            workers=workers, settings=settings,
        )  # fmt: skip
    with journal.stage("summary and report"):
        summary = summarise(run, workers=workers)
        write_report(run)
    return summary


def readout_plan(plan: Plan) -> Plan:
    """A plan whose networks are linear read-outs on the encoders of the planned ones."""
    return plan.with_(
        configurations={
            name: one.with_(
                network="linear-readout", deep_supervision=False, options={**one.options, ENCODER: one.network}
            )
            for name, one in plan.configurations.items()
        }
    )
