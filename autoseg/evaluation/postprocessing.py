"""The choice of post-processing from files: every case is read once and kept as a small graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Reading
from autoseg.data.files import read_labels
from autoseg.data.labels import LabelScheme
from autoseg.evaluation.references import read_reference
from autoseg.postprocessing.choose import Decision, choose_from_graphs
from autoseg.postprocessing.graph import ComponentGraph, component_graph
from autoseg.processes import unordered, usable_cores

_PATIENCE = 0.5
"""Seconds of reading cases in this process before others are started, which costs about as much."""


def decide_postprocessing(
    pairs: Mapping[str, tuple[Path, Path]],
    labels: LabelScheme,
    *,
    workers: int | None = None,
    annotated: Mapping[str, Collection[str]] | None = None,
    reading: Reading | None = None,
) -> Decision:
    """Decides from files of predictions and references; see `postprocessing.choose.choose_from_graphs`.

    Args:
        pairs: case -> prediction's and reference's file, with the scheme's file values. None give no steps.
        labels: what is scored.
        workers: processes; None takes one per usable core.
        annotated: case -> labels that were looked for, where not all were; the others do not count there.
        reading: how references are read where they leave a choice.

    Raises:
        ImageError: a file cannot be read, or the two of a case have different shapes.
        ConfigurationError: a file holds a value that the scheme does not know.
    """
    jobs = [_PostprocessingJob(case, *pair, labels, reading) for case, pair in pairs.items()]
    count = usable_cores() if workers is None else workers
    graphs = dict(unordered(_graph, jobs, "post-processing", workers=count, patience=_PATIENCE))
    cases = sorted(graphs)
    looked_for = [annotated.get(case) for case in cases] if annotated else None
    return choose_from_graphs([graphs[case] for case in cases], labels.training_foreground, looked_for)


@dataclass(frozen=True)
class _PostprocessingJob:
    """One case, with everything a process needs."""

    case: str
    prediction: Path
    reference: Path
    labels: LabelScheme
    reading: Reading | None


def _graph(job: _PostprocessingJob) -> tuple[str, ComponentGraph]:
    prediction = read_labels(job.prediction, scheme=job.labels)
    reference = read_reference(job.reference, prediction, job.labels, job.reading)
    one, other = (job.labels.encode(labels.array[0]) for labels in (prediction, reference))
    return job.case, component_graph(one, other, job.labels.training_ignore)
