"""Small run folders that contracts train and read: a phantom with labels whose names a page must escape."""

from __future__ import annotations

from pathlib import Path

from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.request import TrainingRequest
from autoseg.pipeline.stages import fingerprint_dataset, make_plan, preprocess
from autoseg.pipeline.summary import summarise
from autoseg.pipeline.training import train_fold
from autoseg.plan.record import Plan
from autoseg.records import read_mapping, write_json
from autoseg.workspace import Run

HOSTILE = "<i>organ</i> & co"
"""Name of a label that is no HTML."""

_NARROW = 8  # times fewer features than planned


def small_dataset(folder: Path, *, dimension: int = 3) -> Path:
    """Five small cases with two labels, one of which has the name `HOSTILE`."""
    shape = (8, 40, 44) if dimension == 2 else (12, 24, 24)
    options = PhantomOptions(cases=5, dimension=2 if dimension == 2 else 3, shape=shape, classes=2)
    write_phantom(folder, options)
    description = read_mapping(folder / "dataset.json")
    write_json(folder / "dataset.json", {**description, "labels": {"background": 0, HOSTILE: 1, "lesion": 2}})
    return folder


def planned_run(
    folder: Path, *, planner: str | None = None, configuration: str | None = None, task: str | None = None
) -> tuple[PlannedRun, str]:
    """A run that is planned with narrow networks and preprocessed, and the name of its configuration.

    Args:
        folder: for the data set and the run.
        planner: plug-in; None takes the default one.
        configuration: which one to keep; None takes the first that no other stage comes before.
        task: of the plan; None as planned.
    """
    run = Run(folder / "run")
    fingerprint_dataset(small_dataset(folder / "data"), run.root, workers=1)
    plan = make_plan(run.root, planner=planner, device="cpu")
    alone = [name for name, one in plan.configurations.items() if one.previous_stage is None]
    name = configuration or alone[0]
    chosen = plan.configurations[name]
    features = tuple(max(2, width // _NARROW) for width in chosen.features_per_stage)
    narrow = chosen.with_(features_per_stage=features, batch_size=2, next_stage=None)
    plan.with_(configurations={name: narrow}, task=task or plan.task).save(run.plan)
    preprocess(run.root, configurations=name, workers=1)
    return PlannedRun.load(run), name


def finished_run(folder: Path) -> Run:
    """A run of which a fold is trained for two steps, validated and summarised."""
    planned, name = planned_run(folder)
    request = TrainingRequest.of(steps=2, device="cpu", workers=0)
    train_fold(planned.run.root, name, "0", request)
    summarise(planned, device="cpu", workers=1)
    return planned.run


def renamed(run: Run, name: str) -> None:
    """Gives the run's plan another name of the data set."""
    Plan.load(run.plan).with_(dataset=name).save(run.plan)
