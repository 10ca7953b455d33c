"""`autoseg compare`: the trained model beside simple methods and other tools, on the same cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli import options
from autoseg.cli.values import parse_duration
from autoseg.log import counted

if TYPE_CHECKING:
    from autoseg.studies.comparison.pipeline.methods import MethodChoice
    from autoseg.studies.comparison.report.tables import ComparisonTables
    from autoseg.studies.comparison.statistics.method_comparison import MethodComparison

MOST_LABELS = 4
"""Up to this many labels have a column of Dice; with more the report shows them."""


@dataclass(frozen=True)
class Methods:
    """Which methods are compared, on which folds, and what they need."""

    methods: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Methods joined by commas: autoseg, those of `autoseg list baselines`, or all of these that need no "
            "option.",
        ),
    ] = "all,autoseg"
    folds: options.ValidatedFolds = "0"
    training_cases: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|METHOD=N",
            help="Baselines, or one of them, learn from N cases of a fold; may be given several times.",
        ),
    ] = None
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            parser=parse_duration,
            help="Time for each training on each fold (autoseg, plain-unet, patch-classifier, nnunetv2), like 20m.",
        ),
    ] = None
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", exists=True, file_okay=False, help="Trained run to take as autoseg, with its folds."
        ),
    ] = None
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER", help="Another tool's segmentations as a method; may be given several times."
        ),
    ] = None
    peer_python: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", exists=True, dir_okay=False, help="Python that has nnU-Net v2, for nnunetv2."),
    ] = None
    device: options.Device = "auto"


def compare(
    context: typer.Context,
    dataset: options.DatasetFolder,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for predictions, numbers and report.")
    ],
    methods: Methods,
    splits: options.Splits = None,
    seed: options.Seed = None,
    workers: options.Workers = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the methods that are done in DIR already.")] = False,
) -> None:
    """Compare methods on the same cases.

    Each method learns from a fold's training cases and predicts its validation cases, one by one. Prints scores,
    differences with corrected tests, time and memory; all else is in the report. A case that a method fails on counts
    with the worst value.
    """
    chosen = _method_choice(methods)
    options.follow_along_or_lead(out / "run.log")
    from autoseg.studies.comparison.pipeline import compare
    from autoseg.studies.comparison.pipeline.methods import ComparisonRequest

    request = ComparisonRequest(
        methods=chosen,
        folds=methods.folds,
        splits=splits,
        seed=seed or 0,
        workers=workers,
        resume=resume,
        plugin_files=tuple(options.plugin_files(context)),
        command=tuple(options.command_line(context)),
    )
    comparison = compare.compare(dataset, out, request)
    show_comparison(comparison)
    typer.echo(f"all numbers: {out / 'comparison.json'}")
    typer.echo(f"report: {out / 'report.html'}")
    failed = [(method.name, fold, why) for method in comparison.methods for fold, why in method.failed_fits.items()]
    for name, fold, why in failed:
        typer.echo(f"error: {name} could not be fit on fold {fold}: {why}", err=True)
    if failed:
        raise typer.Exit(2)


def _method_choice(methods: Methods) -> MethodChoice:
    """What is asked of the methods; wrong words are refused."""
    from autoseg.studies.comparison.pipeline.methods import MethodChoice

    return MethodChoice(
        names=methods.methods,
        run=methods.run,
        predictions={name: Path(folder) for name, folder in map(_named_folder, methods.predictions or ())},
        peer_python=methods.peer_python,
        budget=methods.budget,
        device=methods.device,
        training_cases=dict(map(_limit, methods.training_cases or ())),
    )


def show_comparison(comparison: MethodComparison) -> None:
    """Prints scores and costs of the methods, the best first, their differences, and what did not count as it is."""
    from autoseg.cli import tables
    from autoseg.studies.comparison.report.tables import comparison_tables

    contents = comparison_tables(comparison)
    cases = counted(len(comparison.comparison.cases), "case")
    title = f"{comparison.dataset}: means over {cases} of fold {', '.join(comparison.folds)}"
    tables.show(title, *_score_rows(contents))
    costs = ("", "training cases", "learning", "per case", "longest", "memory [GB]")
    rows = [[one.name, one.trained, one.fit, one.case, one.longest, one.memory] for one in contents.methods]
    tables.show("time and peak memory", costs, rows)
    differences = [
        [one.other, _ratio(one.mean, "+"), _ends(one.interval), _p(one.p), f"{one.wins} : {one.losses}"]
        for one in contents.differences["dice"]
        if one.label == comparison.main
    ]
    if differences:
        headings = ("", "Dice", "95 % interval", "p after Holm", "better : worse")
        tables.show(f"{contents.base} minus each other method", headings, differences)
    stable = comparison.ranking("dice", comparison.main)
    if stable.tau is not None:
        typer.echo(f"stability of the order: Kendall's tau {stable.tau:.2f} between it and those of resampled cases")
    for text in comparison.exclusions:
        typer.echo(f"note: {text}")


def _score_rows(tables: ComparisonTables) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table of scores; labels have columns if they are several and few."""
    from autoseg.evaluation.crossvalidation import FOREGROUND

    own = [label for label in tables.labels if label != FOREGROUND]
    shown = own if 1 < len(own) <= MOST_LABELS else []
    rows = []
    for one in tables.methods:
        dice, distance = one.scores["dice"], one.scores["hd95"].mean
        median = None if dice.quartiles is None else dice.quartiles[1]
        by_label = [_ratio(tables.labels[label][one.name]["dice"].mean) for label in shown]
        scores = [_ratio(dice.mean), _ends(dice.interval), _ratio(median), _ratio(dice.std), *by_label]
        rows.append([one.name, *scores, "-" if distance is None else f"{distance:.2f}", str(one.failures or "")])
    return ["", "Dice", "95 % interval", "median", "std", *shown, "HD95 [mm]", "failed cases"], rows


def _named_folder(text: str) -> tuple[str, str]:
    name, sign, folder = text.partition("=")
    if not (name and sign and Path(folder).is_dir()):
        raise typer.BadParameter(f"{text!r} is not NAME=FOLDER with a folder that exists")
    return name, folder


def _limit(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not number.isdigit() or int(number) < 1:
        raise typer.BadParameter(f"{text!r} is no number of cases; expected for example 40, or random-forest=40")
    return name, int(number)


def _ratio(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{round(value, 3) + 0.0:{sign}.3f}"  # no "-0.000"


def _ends(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else " to ".join(map(_ratio, interval))


def _p(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
