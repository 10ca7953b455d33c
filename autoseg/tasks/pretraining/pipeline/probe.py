"""What a frozen encoder knows of the labels: a linear read-out, trained and validated as any segmentation is."""

from __future__ import annotations

from pathlib import Path

from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.evaluation.summary import Summary
from autoseg.networks.linear_readout import ENCODER
from autoseg.pipeline.choices import choose_folds
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.pretrained import adopt_plan, is_pretraining
from autoseg.pipeline.request import TrainingRequest
from autoseg.pipeline.stages import fingerprint_dataset, preprocess, split_names
from autoseg.pipeline.summary import summarise
from autoseg.pipeline.trainers import trainer_of
from autoseg.pipeline.training import FoldJob, train_job
from autoseg.plan.record import Plan
from autoseg.provenance import Journal
from autoseg.report.build import write_report
from autoseg.run_state import RunState
from autoseg.workspace import Run

STEPS = 500
"""Optimiser steps where the user gives no length: a linear function of features is soon learned."""


def probe(dataset: Path, pretrained: Path, out: Path, *, fold: str = "0", training: TrainingRequest) -> Summary:
    """Trains a linear read-out on a pretrained encoder, whose weights stay as they are, and validates it.

    Args:
        dataset: labelled images, with as many channels as the pretraining's.
        pretrained: run of `pretrain`.
        out: run folder to make.
        fold: whose training cases the read-out learns from and whose validation cases it is scored on.
        training: device, length (without any, `STEPS`) and the like.

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
    if RunState.read(run).has_data:
        raise WorkspaceError("the run folder is in use", where=out, remedy="give another --out")
    if training.budget is None and training.length is None:
        training = training.with_(config=training.config.with_(steps=STEPS))
    training = training.with_(pretrained=pretrained)
    journal = Journal(run.provenance, training.command)
    with journal.stage("check and fingerprint"):
        fingerprint_dataset(dataset, out, workers=training.workers, rule=training.splits)
    (chosen,) = choose_folds(split_names(run), fold)
    with journal.stage("plan"):
        plan = readout_plan(adopt_plan(out, pretrained))
        plan.save(run.plan)
    (name,) = plan.configurations
    with journal.stage("preprocess"):
        preprocess(out, configurations=name, workers=training.workers)
    planned = PlannedRun.load(run)
    with journal.stage(f"train the read-out of {name}"):
        train_job(planned, FoldJob(name, chosen, trainer_of(plan), training.budget), training)
    with journal.stage("summary and report"):
        summary = summarise(planned, workers=training.workers)
        write_report(run)
    return summary


def readout_plan(plan: Plan) -> Plan:
    """A plan whose networks are linear read-outs on the encoders of the planned ones."""
    return plan.with_(
        configurations={
            name: configuration.with_(
                network="linear-readout",
                deep_supervision=False,
                options={**configuration.options, ENCODER: configuration.network},
            )
            for name, configuration in plan.configurations.items()
        }
    )
