"""`autoseg evaluate`: score segmentations against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli import options
from autoseg.cli.values import parse_label_map, parse_label_values
from autoseg.log import counted

ScoredValues = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="VALUES",
        parser=parse_label_values,
        help="Values that are scored, like 1,2; others are background.",
    ),
]
ReferenceMap = Annotated[
    str | None,
    typer.Option(
        "--map", metavar="OLD:NEW", parser=parse_label_map, help="What values of references mean, like 255:1,128:2."
    ),
]
PredictionMap = Annotated[
    str | None,
    typer.Option(metavar="OLD:NEW", parser=parse_label_map, help="The same for values of predictions."),
]


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", exists=True, file_okay=False)],
    references: Annotated[Path, typer.Argument(metavar="REFERENCES", exists=True, file_okay=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", dir_okay=False, help="Where to write all numbers.")
    ] = None,
    spec: options.LabelNames = None,
    labels: ScoredValues = None,
    map_references: ReferenceMap = None,
    map_predictions: PredictionMap = None,
    workers: options.Workers = None,
) -> None:
    """Score segmentations against references.

    Files with the same names are compared: overlap, surface distances in mm, volumes. A number that does not
    exist (an empty reference and prediction) is null in the file and a dash in the table. Label values that only one
    side has are told. Without --spec or --labels, those that hardly occur are told too, and left out. References
    without a prediction and cases that cannot be compared are named, enter no mean, and make the exit code 2.
    """
    from autoseg.cli import tables
    from autoseg.evaluation.evaluate import evaluate as score
    from autoseg.evaluation.value_map import ValueMap

    if spec is not None and labels is not None:
        raise typer.BadParameter("give --labels or --spec, not both: the one lists the values that the other names")
    maps: dict[str, object] = {"references": map_references or {}, "predictions": map_predictions or {}}
    scores = score(
        predictions,
        references,
        out=out,
        spec=spec if labels is None else labels,
        workers=workers,
        value_map=ValueMap.from_mapping(maps),
    )
    tables.show_scores(scores)
    missing = scores.missing_predictions or ()
    if missing or scores.errors:
        typer.echo(f"scored: {len(scores.cases)} of {len(scores.cases) + len(scores.errors) + len(missing)} references")
    if out is not None:
        typer.echo(f"scores: {out}")
    for message in scores.errors.values():
        typer.echo(f"error: {message}", err=True)
    if missing:
        typer.echo(f"error: {counted(len(missing), 'reference')} without a prediction: {', '.join(missing)}", err=True)
    if scores.errors or missing:
        raise typer.Exit(2)
