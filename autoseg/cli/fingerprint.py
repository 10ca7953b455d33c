"""`autoseg fingerprint`: measure a data set."""

from __future__ import annotations

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def fingerprint(
    dataset: options.DatasetFolder,
    out: options.NewRun,
    splitting: options.Splitting,
    choices: options.Choices,
    images: options.ImageReading,
    labels: options.LabelReading,
    trainer: options.Trainer = None,
    workers: options.Workers = None,
) -> None:
    """Check and measure a data set.

    Writes dataset.json, fingerprint.json and splits.json into the run folder. With a trainer that needs no labels,
    such as registration, images without any are cases too.
    """
    from autoseg import pipeline

    settings = options.settings_of(choices, splitting)
    log.configure(run_log=Run(out).log)
    labelled = trainer is None or pipeline.named_traits(trainer).needs_labels
    reading = options.reading_of(images, labels)
    pipeline.fingerprint_dataset(
        dataset, out, workers=workers, rule=settings.splits, labelled=labelled, reading=reading
    )
    typer.echo(f"fingerprint: {Run(out).fingerprint}")
