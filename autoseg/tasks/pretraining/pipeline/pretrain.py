"""A pretraining in one call: from folders of images to an encoder that other trainings start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from autoseg import plugins
from autoseg.data.leakage import PATIENTS
from autoseg.errors import ConfigurationError, PlanError, WorkspaceError
from autoseg.fingerprint.record import Fingerprint
from autoseg.fingerprint.scan import scan
from autoseg.log import counted, logger
from autoseg.pipeline.choices import Deadline, choose_configurations, count_workers, default_seconds
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.request import TrainingRequest
from autoseg.pipeline.stages import load_plan, make_plan, preprocess, without_errors
from autoseg.pipeline.trainers import trainer_of
from autoseg.pipeline.training import FoldJob, train_job
from autoseg.plan.record import SEGMENTATION, ConfigurationPlan, Plan
from autoseg.provenance import Journal
from autoseg.records import unknown_name
from autoseg.report.build import write_report
from autoseg.run_state import RunState, fold_state, read_metrics
from autoseg.tasks.pretraining.methods.build import build_pretraining_network
from autoseg.tasks.pretraining.pipeline.collect import Collected, HoldOut, collect
from autoseg.tasks.pretraining.report.section import pace
from autoseg.tasks.pretraining.trainer.adaptation import Adaptation, adaptation_of, try_adaptation
from autoseg.tasks.pretraining.trainer.gallery import gallery_file
from autoseg.tasks.pretraining.trainer.options import TASK, chosen_method
from autoseg.tasks.pretraining.trainer.pictures import draw_gallery
from autoseg.tasks.pretraining.trainer.sources import Sources, sources_file
from autoseg.training.checkpoint import load_checkpoint, save_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext
from autoseg.training.runtime import Runtime
from autoseg.workspace import ALL_DATA, Run


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining.

    Attributes:
        run: its folder.
        configuration: whose encoder was trained.
        adaptation: what other networks must know of it.
    """

    run: Run
    configuration: str
    adaptation: Adaptation


@dataclass(frozen=True)
class PretrainingRequest:
    """What a user asks of a pretraining.

    Attributes:
        folders: data sets, labelled or not, or files that list images, with the weights of their images; training and
            test images are both used.
        method: plug-in of kind "pretraining".
        hold_out: fold whose validation images, and their copies, are kept out.
        target: planned run on other data that the encoder is for. Its plan is taken if the images have as many
            channels and dimensions.
        configuration: of the plan; None takes 3d_fullres, for 2D images 2d.
        training: the rest; its `config.options` are those of `trainer.options.PretrainingOptions`.
    """

    folders: tuple[tuple[Path, float], ...]
    method: str
    hold_out: HoldOut | None = None
    target: Path | None = None
    configuration: str | None = None
    training: TrainingRequest = field(default_factory=TrainingRequest)


def pretrain(out: Path, request: PretrainingRequest) -> Pretrained:
    """Trains an encoder on images without labels.

    Plans by a planner for segmentation, so that the encoder fits the network that is trained on afterwards; whether it
    does is tried before the training begins.

    Args:
        out: run folder to make, or to go on with (`resume`).
        request: what the user asks.

    Raises:
        WorkspaceError: the run folder is in use and `resume` is off.
        DatasetError: a folder has errors, or splits that do not fit.
        ConfigurationError: an unknown name or wrong choice, or an encoder that does not fit the network it is for.
        TrainingError: the embeddings have collapsed.
    """
    plugins.resolve("pretraining", request.method)
    training = request.training
    training = training.with_(config=_with_method(training.config, request.method), trainer=TASK)
    run = Run(out)
    done = RunState.read(run)
    if done.has_data and not training.resume:
        raise WorkspaceError(
            "the run folder is in use", where=out, remedy="add --resume to go on with it, or give another --out"
        )
    journal = Journal(run.provenance, training.command)
    deadline = Deadline.after(training.budget, spent=journal.spent if training.resume else 0.0)
    _prepare(run, request, training, deadline, journal)
    planned = PlannedRun.load(run)
    name = next(iter(planned.plan.configurations))
    adaptation = verify(run, name, training.config, request.target)
    with journal.stage("preprocess"):
        preprocess(out, configurations=name, workers=training.workers)
    with journal.stage(f"pretrain {name}"):
        train_job(planned, FoldJob(name, ALL_DATA, trainer_of(planned.plan, TASK), deadline.left()), training)
    if fold_state(run.fold(name, ALL_DATA)).trained:  # else it was stopped early on purpose
        adaptation = _embed(run, name, adaptation)
        with journal.stage("pictures and report"):
            draw_gallery(_final_context(planned, name)).save(gallery_file(run.fold(name, ALL_DATA)))
            write_report(run)
        logger.info("%s", pace(read_metrics(run.fold(name, ALL_DATA).metrics)))
    return Pretrained(run, name, adaptation)


def _prepare(
    run: Run, request: PretrainingRequest, training: TrainingRequest, deadline: Deadline, journal: Journal
) -> None:
    """Images, fingerprint and plan; what there is already stays when resuming.

    Args:
        run: folder.
        request: images, and what the encoder is for.
        training: device, length and planner.
        deadline: for everything.
        journal: of the run.
    """
    done = RunState.read(run)
    if not (training.resume and done.fingerprinted and sources_file(run).exists()):
        with journal.stage("collect and fingerprint"):
            collected = collect(request.folders, request.hold_out, workers=count_workers(training.workers))
            measure_images(run, collected, training.workers)
    else:
        _check_same(run, request.folders, request.hold_out)
    if not (training.resume and done.planned):
        with journal.stage("plan"):
            left = deadline.left() if training.budget is not None else default_seconds(training.device)
            plan_pretraining(
                run, request.target, request.configuration, planner=training.planner,
                budget=None if training.length else left, device=training.device,
            )  # fmt: skip


def measure_images(run: Run, collected: Collected, workers: int | None = None) -> Fingerprint:
    """Checks and measures the images; writes dataset.json, fingerprint.json and sources.json.

    Raises:
        DatasetError: images with errors; all of them are in the message.
    """
    fingerprint = without_errors(
        scan(collected.dataset, workers=count_workers(workers)), "the images have", where=collected.dataset.folder,
        remedy="mend or remove them and run the command again", settled=PATIENTS,
    )  # fmt: skip
    collected.dataset.save(run.dataset)
    fingerprint.save(run.fingerprint)
    collected.sources.save(sources_file(run))
    return fingerprint


def plan_pretraining(
    run: Run, target: Path | None, configuration: str | None, *, planner: str | None, budget: float | None, device: str
) -> Plan:
    """Writes the plan of a pretraining: one configuration of the target's plan, or of one made for these images.

    Args:
        run: with the fingerprint of the images; its plan is written.
        target: run folder whose plan the pretraining is for; None makes one for these images.
        configuration: name; None takes the one that the software prefers.
        planner: name; None takes the usual one. Only without a target.
        budget: seconds of the training; None plans without a limit.
        device: to train on.

    Raises:
        ConfigurationError: an unknown configuration, or one of a cascade's second stage.
        PlanError: a target for images of other dimensions.
    """
    plan = None if target is None else _plan_for(run, target)
    if plan is not None and planner is not None:
        raise ConfigurationError(
            "the plan is that of --for", got=f"--planner {planner}", remedy="leave one of them out"
        )
    if plan is None:
        plan = make_plan(run.root, planner=planner, budget=budget, device=device)
    if configuration is None:
        configuration = choose_configurations(plan, "auto", budget=True)[0]
    if configuration not in plan.configurations:
        raise unknown_name("configuration", configuration, plan.configurations)
    chosen = plan.configurations[configuration]
    if chosen.previous_stage is not None:
        raise ConfigurationError(
            f"{configuration} takes the labels of another network, which images without labels lack",
            remedy="choose a configuration that takes images alone, such as 3d_fullres",
        )
    own = plan.with_(task=TASK, configurations={configuration: chosen.with_(next_stage=None)})
    own.save(run.plan)
    return own


def verify(run: Run, name: str, config: TrainingConfig, target: Path | None) -> Adaptation:
    """Tries, before the training, whether its encoder will load where it is meant to; logs what becomes of it.

    Args:
        run: a planned pretraining.
        name: of its configuration.
        config: with the options.
        target: planned run that the encoder is for; None tries a segmentation with the pretraining's own plan.

    Raises:
        ConfigurationError: nothing of it loads; or unknown options.
    """
    plan = load_plan(run)
    configuration = plan.configurations[name]
    configuration = configuration.with_(options={**configuration.options, **config.options})
    setting, method = chosen_method(configuration, plan.channels)
    weights = build_pretraining_network(setting, method, seed=config.seed).state_dict()
    other = plan if target is None else Plan.load(Run(target).plan)
    where = run.root if target is None else target
    if name not in other.configurations:
        raise unknown_name("configuration", name, other.configurations, where=where)
    moved = try_adaptation(other, name, weights, where=where)
    adaptation = adaptation_of(plan, name, str(config.options["method"]), weights)
    encoder = [tensor for tensor in moved.tensors if tensor.name.startswith("encoder.") and tensor.fate != "unused"]
    taken = [tensor for tensor in encoder if tensor.fate in ("loaded", "adapted")]
    logger.info(
        "the encoder fits the network of %s: %d of its %d tensors", where if target else "this plan", len(taken),
        len(encoder),
    )  # fmt: skip
    if len(taken) < len(encoder):
        for line in moved.lines():
            logger.info("%s", line)
    return adaptation


def _with_method(config: TrainingConfig, method: str) -> TrainingConfig:
    given = config.options.get("method")
    if given not in (None, method):
        raise ConfigurationError("two methods are named", got=f"--method {method}, training.options.method {given}")
    return config.with_(options={**config.options, "method": method})


def _check_same(run: Run, folders: Sequence[tuple[Path, float]], hold_out: HoldOut | None) -> None:
    """Refuses to go on with other images than the run was begun with."""
    earlier = Sources.load(sources_file(run))
    begun = {source.folder.resolve(): source.weight for source in earlier.sources}
    weights = {folder.resolve(): weight for folder, weight in folders}
    asked = None if hold_out is None else str(hold_out)
    if (begun, earlier.hold_out) != (weights, asked):
        raise WorkspaceError(
            "the run was begun with other images",
            where=run.root,
            got=_listed(weights, asked),
            expected=_listed(begun, earlier.hold_out),
            remedy="give the same folders, weights and --hold-out, or another --out",
        )


def _listed(folders: Mapping[Path, float], hold_out: str | None) -> str:
    named = ", ".join(f"{folder}={weight:g}" for folder, weight in folders.items())
    return named + (f" without {hold_out}" if hold_out else "")


def _plan_for(run: Run, target: Path) -> Plan | None:
    """The target's plan for these images; None where they have another number of channels."""
    other = Run(target)
    plan = Plan.load(other.require(other.plan, f"autoseg plan {target}"))
    fingerprint = Fingerprint.load(run.fingerprint)
    if plan.task not in (SEGMENTATION, TASK):
        raise PlanError("the target does not label images", where=target, got=f"a plan for {plan.task}")
    if plan.dimension != fingerprint.dimension:
        raise PlanError(
            f"the target is planned for {plan.dimension}D images", where=target, got=f"{fingerprint.dimension}D images"
        )
    if len(plan.channels) != len(fingerprint.channels):
        logger.info(
            "note: %s has %s and these images have %d: they are planned by themselves, and the first "
            "convolution will be adapted", target, counted(len(plan.channels), "image channel"),
            len(fingerprint.channels),
        )  # fmt: skip
        return None
    return plan.with_(dataset=fingerprint.name, configurations=dict(_alone(plan.configurations)))


def _alone(configurations: Mapping[str, ConfigurationPlan]) -> Mapping[str, ConfigurationPlan]:
    return {name: configuration.with_(next_stage=None) for name, configuration in configurations.items()}


def _embed(run: Run, name: str, adaptation: Adaptation) -> Adaptation:
    """Puts the adaptation plan and the images it has seen into the final checkpoint: the file alone tells all."""
    seen = Sources.load(sources_file(run)).digests.values()
    complete = adaptation.model_copy(update={"images": tuple(sorted(set(seen)))})
    file = run.fold(name, ALL_DATA).final
    content: dict[str, Any] = load_checkpoint(file)
    content.pop("format")
    save_checkpoint(file, {**content, "adaptation": complete.model_dump(mode="json")})
    return complete


def _final_context(planned: PlannedRun, name: str) -> FoldContext:
    """The finished training, to look at on the CPU."""
    final = planned.run.fold(name, ALL_DATA).final
    return FoldContext(
        run=planned.run,
        dataset=planned.dataset,
        plan=planned.plan,
        configuration_name=name,
        fold=ALL_DATA,
        split=planned.split(ALL_DATA),
        config=TrainingConfig.from_mapping(load_checkpoint(final)["config"]),
        runtime=Runtime(threads=max(1, torch.get_num_threads())),
        trainer=TASK,
    )
