"""`autoseg raters`: how far several raters' labels agree, and a consensus of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autoseg.cli import options

if TYPE_CHECKING:
    from autoseg.studies.raters.agreement import Agreement, Statistic


def raters(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", exists=True, file_okay=False, help="One per rater: label files by case."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for agreement.json and consensus/.")
    ],
    consensus: Annotated[
        Literal["majority", "soft", "staple"] | None,
        typer.Option(help="Writes one label file per case: the majority, shares of raters, or STAPLE's estimate."),
    ] = None,
    spec: options.LabelNames = None,
    workers: options.Workers = None,
) -> None:
    """Compare several raters' labels.

    Files with the same names are compared: every two raters, each rater with the majority of the others, and all
    together beyond chance (Fleiss' kappa). Cases that cannot be compared are named and make the exit code 2.
    """
    from autoseg.studies.raters.pipeline import compare_raters

    agreement = compare_raters.compare_raters(folders, out, spec=spec, consensus=consensus, workers=workers)
    show_agreement(agreement)
    typer.echo(f"all numbers: {out / 'agreement.json'}")
    if consensus is not None:
        typer.echo(f"consensus: {out / 'consensus'}")
    for message in agreement.errors.values():
        typer.echo(f"error: {message}", err=True)
    if agreement.errors:
        raise typer.Exit(2)


def show_agreement(agreement: Agreement) -> None:
    """Prints who agrees with whom, and what Dice a model needs to be at the raters' level."""
    from autoseg.cli.tables import show

    headings = ["label", "Dice", "median", "HD95 [mm]", "cases"]
    pairs = [
        [" - ".join(pair.raters), label, *_row(row)] for pair in agreement.pairs for label, row in pair.labels.items()
    ]
    show("two raters", ["raters", *headings], pairs)
    others = [[name, label, *_row(row)] for name, labels in agreement.others.items() for label, row in labels.items()]
    if others:
        show("each rater and the majority of the others", ["rater", *headings], others)
    rows = [
        [label, _number(human.dice), _interval(human.interval), _number(agreement.kappa[label].mean), str(human.cases)]
        for label, human in agreement.human.items()
    ]
    show("all raters", ["label", "Dice of two raters", "95 % interval", "Fleiss' kappa", "cases"], rows)
    for label, human in agreement.human.items():
        if human.dice is not None:
            around = "" if human.interval is None else f" ({_interval(human.interval)})"
            typer.echo(f"{label}: a model with Dice {_number(human.dice)}{around} to one rater is at the raters' level")


def _row(row: dict[str, Statistic]) -> list[str]:
    dice, distance = row["dice"], row["hd95"]
    far = "-" if distance.mean is None else f"{distance.mean:.2f}"
    return [_number(dice.mean), _number(dice.median), far, str(dice.cases)]


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
