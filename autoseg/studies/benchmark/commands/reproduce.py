"""`autoseg reproduce`: a published benchmark run again, published numbers beside the reproduced ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli import options
from autoseg.workspace import Run

if TYPE_CHECKING:
    from autoseg.metrics.table import Metric
    from autoseg.studies.benchmark.reproduce import PublishedComparison, PublishedTarget, Reproduction, ReproductionRow
    from autoseg.studies.benchmark.specification import Specification
    from autoseg.studies.benchmark.verify import Difference


@dataclass(frozen=True)
class Extent:
    """How much of the published result is reproduced."""

    configurations: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Names joined by commas; by default that of the published result."),
    ] = None
    folds: options.ValidatedFolds = "all"


@dataclass(frozen=True)
class Verification:
    """How strictly the data are compared with the published ones."""

    skip_hashes: Annotated[
        bool, typer.Option("--skip-hashes", help="Compare names and headers alone, not the content of labels.")
    ] = False
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="Go on where the data differ; the verdict says so.")
    ] = False


def reproduce(
    context: typer.Context,
    spec: Annotated[
        str,
        typer.Argument(metavar="SPEC", help="Published challenge (see `autoseg list specs`), or a .toml file of one."),
    ],
    data: Annotated[
        Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Its unpacked folder; not changed.")
    ],
    out: options.NewRun,
    extent: Extent,
    effort: options.Effort,
    execution: options.Execution,
    verification: Verification,
) -> None:
    """Run a published benchmark again and compare.

    Verifies the data against the specification (what differs is listed, and nothing is trained), converts them,
    trains with the folds and the configuration of the published result, and prints published beside reproduced, with
    confidence intervals and a verdict in words.
    """
    from autoseg.pipeline.choices import count_workers
    from autoseg.pipeline.settings import Settings
    from autoseg.studies.benchmark import catalogue
    from autoseg.studies.benchmark.convert import split_rule
    from autoseg.studies.benchmark.reproduce import choose_target

    challenge = catalogue.load(spec)
    target = choose_target(challenge, extent.configurations)
    options.follow_along_or_lead(Run(out).log)
    source = _Source(challenge, data, out / "dataset", count_workers(execution.workers), verification)
    differences = _verified_and_converted(source) if options.leads() else ()
    from autoseg import pipeline

    pipeline.plan_and_train(
        source.dataset,
        out,
        configurations=target.configurations,
        folds=extent.folds,
        budget=effort.budget,
        steps=effort.steps,
        device=effort.device,
        seed=execution.seed,
        workers=execution.workers,
        resume=execution.resume,
        settings=Settings(splits=split_rule(source.dataset)),
        command=options.command_line(context),
    )
    if options.leads():
        _conclude(Run(out), source, target, differences)


@dataclass(frozen=True)
class _Source:
    """The data of a challenge: its unpacked folder, where they are converted to, and how they are verified."""

    challenge: Specification
    folder: Path
    dataset: Path
    workers: int
    verification: Verification


def _verified_and_converted(source: _Source) -> tuple[Difference, ...]:
    """What the data differ in from the published ones, with which they are accepted, after they are converted."""
    from autoseg.studies.benchmark.convert import convert
    from autoseg.studies.benchmark.reproduce import check_data

    differences = check_data(
        source.challenge,
        source.folder,
        voxels=not source.verification.skip_hashes,
        accept=source.verification.accept_differences,
        workers=source.workers,
    )
    convert(source.challenge, source.folder, source.dataset, workers=source.workers)
    return differences


def _conclude(run: Run, source: _Source, target: PublishedTarget, differences: tuple[Difference, ...]) -> None:
    """Compares what the run has reached with what was published, and writes and prints it."""
    from autoseg.report.build import write_report
    from autoseg.studies.benchmark.reached import read_reached
    from autoseg.studies.benchmark.reproduce import FILE, compare, tolerances

    challenge = source.challenge
    reached = read_reached(run, target.compared, tolerances_mm=tolerances(challenge), workers=source.workers)
    voxels = not source.verification.skip_hashes
    reproduction = compare(challenge, source.folder, target.published, reached, differences=differences, voxels=voxels)
    reproduction.save(run.root / FILE)
    write_report(run)
    show_reproduction(reproduction)
    typer.echo(f"all numbers: {run.root / FILE}")
    typer.echo(f"report: {run.report}")


def show_reproduction(reproduction: Reproduction) -> None:
    """Prints the tables of a reproduction, where the published numbers are from, and the verdict."""
    from autoseg.cli import tables
    from autoseg.metrics.table import METRICS

    for comparison in reproduction.comparisons:
        metric = METRICS[comparison.metric]
        on = "" if comparison.published_on == "all folds" else f" on {comparison.published_on}"
        title = f"{metric.title} of {reproduction.configuration}, planned by {reproduction.planner}"
        headings = ("", f"published{on}", "reproduced", "95 % interval", "cases")
        tables.show(title, headings, [_cells(metric, row) for row in (*comparison.labels, comparison.mean)])
        _show_folds(metric, comparison)
    for text in reproduction.differences:
        typer.echo(f"differs: {text}")
    published, source = reproduction.published, reproduction.source
    if published is not None and source is not None:
        place = "" if published.place is None else f", {published.place}"
        typer.echo(f"published: {published.method}; {source.title} ({source.address}{place})")
        if published.note is not None:
            typer.echo(f"note: {published.note}")
    typer.echo(f"verdict: {reproduction.verdict.text}")


def _show_folds(metric: Metric, comparison: PublishedComparison) -> None:
    """The means fold by fold, where there are several or published ones beside them."""
    from autoseg.cli import tables

    if len(comparison.folds) > 1 or any(row.published is not None for row in comparison.folds):
        rows = [_cells(metric, row, interval=False) for row in comparison.folds]
        tables.show(f"{metric.title}, mean per fold", ("fold", "published", "reproduced", "cases"), rows)


def _cells(metric: Metric, row: ReproductionRow, *, interval: bool = True) -> list[str]:
    from autoseg.studies.benchmark.verdict import value_text

    ends = None if row.interval is None else [value_text(metric, end) for end in (row.interval.low, row.interval.high)]
    between = [] if not interval else ["-" if ends is None else " to ".join(ends)]
    return [row.name, value_text(metric, row.published), value_text(metric, row.reproduced), *between, str(row.cases)]
