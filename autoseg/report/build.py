"""Writes a run's report: one HTML file without any reference to the outside."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from autoseg.log import duration
from autoseg.provenance import Provenance, Stage
from autoseg.records import write_text
from autoseg.report import network
from autoseg.report.data_section import data_section
from autoseg.report.gather import RunRecords, gather
from autoseg.report.overlays import PREDICTION, REFERENCE, overlays
from autoseg.report.page import page_asset, page_environment
from autoseg.report.pitfalls_section import pitfalls_section
from autoseg.report.plan_section import plan_section
from autoseg.report.results import results
from autoseg.report.section import sections
from autoseg.report.theme import inline_svg
from autoseg.report.uncertainty_section import uncertainty_section
from autoseg.report.verdict import verdict
from autoseg.training.curves import learning_curves
from autoseg.version import VERSION
from autoseg.workspace import Run


@dataclass(frozen=True)
class FoldCurves:
    """Learning curves of one fold, with where its training stands."""

    configuration: str
    fold: str
    step: int
    steps: int | None
    time: str
    picture: Markup


@dataclass(frozen=True)
class Machine:
    """Section 9 of the page.

    Attributes:
        earlier: the commands on this run folder before the latest one, oldest first.
        stages: (name, time in words, share of the longest).
    """

    command: str
    earlier: tuple[str, ...]
    started: str
    versions: tuple[tuple[str, str], ...]
    machine: tuple[tuple[str, str], ...]
    stages: tuple[tuple[str, str, float], ...]
    total: str


def write_report(run: Run) -> Path:
    """Writes RUN/report.html from the files of the run folder, whole or not at all.

    The page needs no network and no other file. A stage that has not run yet is a note in its section that names
    the command to run; a report can be made at any time.

    Returns:
        The path of the page.
    """
    write_text(run.report, render(gather(run)))
    return run.report


def render(records: RunRecords) -> str:
    """The page of a run as HTML."""
    more = sections(records)
    return (
        page_environment()
        .get_template("report.html.jinja")
        .render(
            name=records.name,
            root=str(records.run.root),
            version=VERSION,
            style=page_asset("report.css"),
            script=page_asset("report.js"),
            sections=more,
            left_out={part for section in more for part in section.instead_of},
            verdict=verdict(records),
            use=_use(records),
            results=results(records),
            segments=records.segments,
            beware=pitfalls_section(records),
            uncertainty=uncertainty_section(records),
            overlays=overlays(records),
            reference_colour=REFERENCE,
            prediction_colour=PREDICTION,
            data=None if records.fingerprint is None else data_section(records.fingerprint),
            plan=None if records.plan is None else plan_section(records.plan),
            box=(network.BOX_WIDTH, network.BOX_HEIGHT),
            curves=_curves(records),
            decision=records.postprocessing,
            machine=_machine(records.provenance),
            next=_next_commands(records),
        )
    )


def _curves(records: RunRecords) -> tuple[FoldCurves, ...]:
    curves = []
    for configuration, folds in records.folds.items():
        for fold, content in folds.items():
            if content.metrics:
                last = content.metrics[-1]
                what = f"Learning curves of {configuration}, fold {fold}"
                picture = inline_svg(learning_curves(content.metrics), f"curves-{configuration}-{fold}", what)
                time = duration(last.get("seconds") or 0)
                curves.append(FoldCurves(configuration, fold, last["step"], last.get("steps"), time, picture))
    return tuple(sorted(curves, key=lambda one: one.configuration not in records.chosen))


def _machine(provenance: Provenance | None) -> Machine | None:
    if provenance is None:
        return None
    stages = [(_stage_name(stage), stage.seconds) for stage in provenance.stages]
    longest = max([seconds for _, seconds in stages], default=0.0) or 1.0
    commands = [shlex.join(command) for command in provenance.commands]
    return Machine(
        command=shlex.join(provenance.command),
        earlier=tuple(commands[:-1]),
        started=provenance.started or "unknown",
        versions=tuple(provenance.versions.items()),
        machine=tuple((name, str(value)) for name, value in provenance.machine.items()),
        stages=tuple((name, duration(seconds), seconds / longest) for name, seconds in stages),
        total=duration(sum(seconds for _, seconds in stages)),
    )


def _use(records: RunRecords) -> str | None:
    """The command that applies the chosen model; None before there is one."""
    if records.chosen_model is None:
        return None
    return records.summary.best.predict or f"autoseg predict {shlex.quote(str(records.run.root))} IMAGES --out DIR"


def _stage_name(stage: Stage) -> str:
    return f"{stage.name}{'' if stage.finished else ' (interrupted)'}"


def _next_commands(records: RunRecords) -> dict[str, str]:
    """For each section the command that makes what it shows."""
    root = shlex.quote(str(records.run.root))
    data = "DATASET"
    if records.dataset is not None and records.dataset.training:  # an imported model comes without its data
        data = shlex.quote(str(records.dataset.folder))
    untrained = "3d_fullres"
    if records.plan is not None and records.plan.configurations:
        names = list(records.plan.configurations)
        untrained = next((name for name in names if name not in records.evaluated), names[0])
    return {
        "fingerprint": f"autoseg fingerprint {data} --out {root}",
        "plan": f"autoseg plan {root}",
        "train": f"autoseg train {root} --configuration {shlex.quote(untrained)} --fold 0",
        "all": f"autoseg plan-and-train DATASET --out OTHER --pretrained {root}"
        if records.pretrains
        else f"autoseg plan-and-train {data} --out {root} --resume",
    }
