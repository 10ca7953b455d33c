"""The contract of trainers."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoseg import plugins
from autoseg.evaluation.validation import score_validation
from autoseg.pipeline.planned import PlannedRun
from autoseg.plan.record import SEGMENTATION
from autoseg.testing.runs import planned_run
from autoseg.testing.subject import Subject
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.context import Applies, FoldContext, PredictionRequest, Traits, Validated, Validates, traits_of
from autoseg.training.loop import Start, Training
from autoseg.training.runtime import Runtime
from autoseg.training.task import VALIDATION, FollowedTask
from autoseg.workspace import ALL_DATA, Run

_STEPS, _STOPPED = 4, 3


def check_trainer(
    subject: Subject,
    *,
    run: Path | None = None,
    planner: str | None = None,
    configuration: str | None = None,
    **options: Any,
) -> None:
    """A trainer keeps these promises, on five small volumes.

    - What it states of itself are `Traits`, whose planner exists and whose training step can be timed.
    - Made from a `FoldContext`, its `task()` is what the loop trains: batches, a finite scalar loss, scores in [0, 1]
      or None of its labels, a state for checkpoints.
    - A training that is stopped and goes on ends with the weights, bit for bit, of one that was not.
    - If it validates (`Validates`), it tells seconds beforehand, and predicts a file for every validation case, which
      can be compared with the case's labels.
    - If it is applied (`Applies`), it writes a file for every new image and has no failures to tell.

    Args:
        subject: the plug-in.
        run: a run folder, planned and preprocessed, of whose copy a fold is trained; by default one is made.
        planner: plug-in that plans the run; by default the trainer's own.
        configuration: which one is trained; by default the first.
        options: `training.options`, of the trainer's own.
    """
    traits = traits_of(subject.plugin)
    subject.promise(isinstance(traits, Traits), "`traits` that are Traits", type(traits).__name__)
    known = traits.planner is None or traits.planner in plugins.names("planner")
    subject.promise(known, "a planner that exists among its traits", traits.planner)
    with tempfile.TemporaryDirectory() as folder:
        if run is None:
            task = None if traits.task == SEGMENTATION else traits.task
            planned, name = planned_run(
                Path(folder), planner=planner or traits.planner, configuration=configuration, task=task
            )
        else:
            shutil.copytree(run, Path(folder) / "run")
            planned = PlannedRun.load(Run(Path(folder) / "run"))
            name = configuration or next(iter(planned.plan.configurations))
        fits = planned.plan.task == traits.task
        subject.promise(fits, f"a plan for {traits.task}, which its traits name", planned.plan.task)
        context = _context(subject, traits, planned, name, options)
        traits.training_step(context.configuration, context.input_channels, planned.plan.labels.outputs)(Runtime())
        _check_task(subject, subject.plugin(context).task())
        trained = _check_resuming(subject, context)
        trainer = subject.plugin(context)
        if isinstance(trainer, Validates):
            _check_validation(subject, trainer, context)
        if isinstance(trainer, Applies):
            _check_application(subject, context, Path(folder) / "applied")
        subject.promise(_final(context).keys() == trained.keys(), "the final weights as they were trained")


def _context(subject: Subject, traits: Traits, planned: PlannedRun, name: str, options: dict[str, Any]) -> FoldContext:
    fold = "0" if isinstance(subject.plugin, type) and issubclass(subject.plugin, Validates) else ALL_DATA
    config = TrainingConfig(steps=_STEPS, round_steps=2, validation_share=0.5, options=options)
    context = FoldContext(
        run=planned.run,
        dataset=planned.dataset,
        plan=planned.plan,
        configuration_name=name,
        fold=fold,
        split=planned.split(fold),
        config=config,
        runtime=Runtime(),
        trainer=subject.name,
        keep_probabilities=False,
    )
    return replace(context, config=traits.method(context.configuration, config, float(_STEPS)))


def _check_task(subject: Subject, task: Any) -> None:
    subject.promise(isinstance(task.network, nn.Module), "a task with a network", type(task.network).__name__)
    words = isinstance(task.labels, tuple) and all(isinstance(label, str) for label in task.labels)
    subject.promise(words, "a task with labels that are a tuple of names", task.labels)
    if isinstance(task, FollowedTask):
        task.follower(task.network)  # as the loop does, before it asks for anything
    found: list[float] = []
    for _ in range(2):
        with torch.no_grad(), task.batches(range(2, 4), VALIDATION) as batches:
            taken = [batch.to("cpu", torch.contiguous_format) for batch in batches]
        subject.promise(bool(taken), "a batch at least")
        for batch in taken:
            named = isinstance(batch.cases, tuple) and all(isinstance(case, str) for case in batch.cases)
            subject.promise(named, "batches that name their cases", batch.cases)
        task.network.eval()
        with torch.no_grad():
            loss, counts = task.validation(task.network, taken[0])
        scalar = isinstance(loss, Tensor) and loss.shape == () and math.isfinite(float(loss))
        subject.promise(scalar, "a finite scalar loss of a validation batch", loss)
        scores = task.scores(counts + counts)
        known = set(scores) <= set(task.labels) and all(score is None or 0 <= score <= 1 for score in scores.values())
        subject.promise(known, f"scores in [0, 1] or None of {', '.join(task.labels)}", scores)
        found.append(float(loss))
        task.network.train()
    subject.promise(found[0] == found[1], "equal batches for equal numbers", f"losses {found[0]} and {found[1]}")


@dataclass(frozen=True)
class _Training:
    """Trains the fold of a context as the stages do."""

    subject: Subject
    context: FoldContext

    def run(self, *, resume: bool = False, stop_after: int | None = None) -> bool:
        """Whether it came to its end."""
        context = self.context
        outcome = Training(
            self.subject.plugin(context).task(),
            context.config.with_(stop_after=stop_after),
            context.runtime,
            context.folder,
            dimension=context.configuration.dimension,
            start=Start(trainer=context.trainer, resume=resume),
        ).run()
        return outcome.finished


def _final(context: FoldContext) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = load_checkpoint(context.folder.final)["network"]
    return weights


def _check_resuming(subject: Subject, context: FoldContext) -> dict[str, Tensor]:
    """Trains once through and once with a stop; the final weights."""
    training = _Training(subject, context)
    subject.promise(training.run(), f"to be trained after {_STEPS} steps")
    whole = _final(context)
    subject.promise(not training.run(stop_after=_STOPPED), f"to be stopped after {_STOPPED} steps")
    subject.promise(training.run(resume=True), "to go on to the end")
    parts = _final(context)
    differing = [name for name, weight in whole.items() if not torch.equal(weight, parts[name])]
    subject.promise(
        not differing, "the same weights, bit for bit, whether it was stopped or not", f"others in {len(differing)}"
    )
    return parts


def _check_validation(subject: Subject, trainer: Validates, context: FoldContext) -> None:
    seconds = trainer.validation_seconds(0.1)
    subject.promise(math.isfinite(seconds) and seconds >= 0, "seconds that a validation takes", seconds)
    predicted = trainer.predict_validation()
    validated = predicted if isinstance(predicted, Validated) else Validated(predicted)
    cases, wanted = sorted(validated.files), sorted(context.split.validation)
    subject.promise(cases == wanted, f"a file for each of the cases {', '.join(wanted)}", ", ".join(cases))
    missing = [str(path) for path in validated.files.values() if not path.is_file()]
    subject.promise(not missing, "files that are there", ", ".join(missing))
    scores = score_validation(
        context.folder, context.dataset, validated.files, "contract", beside=validated.scores, workers=1
    )
    subject.promise(set(wanted) <= set(scores.cases), "files that can be scored", ", ".join(scores.cases))


def _check_application(subject: Subject, context: FoldContext, out: Path) -> None:
    cases = context.dataset.training[:2]
    request = PredictionRequest(configuration=context.configuration_name, folds=context.fold, device="cpu")
    images = [path for case in cases for path in case.images]
    failures = subject.plugin.apply(context.run.root, images, out, request)
    subject.promise(list(failures) == [], "no failures on good images", failures)
    written = [path.name for path in out.rglob("*") if path.is_file()]
    for case in cases:
        there = any(name.startswith(case.id) for name in written)
        subject.promise(there, f"a file whose name begins with {case.id}", ", ".join(sorted(written)))
