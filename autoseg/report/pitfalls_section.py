"""What to beware of when reading the scores of a run: pitfalls of metrics that apply to its validation cases."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.evaluation.advice import Advice, advise
from autoseg.report.gather import RunRecords


@dataclass(frozen=True)
class PitfallsSection:
    """The end of the results: `advice` about the scores of `model`, none if nothing applies."""

    model: str
    advice: tuple[Advice, ...]


def pitfalls_section(records: RunRecords) -> PitfallsSection | None:
    """Pitfalls seen in the scores of the chosen model; None before any case is validated.

    Resolution, tolerance and centres are judged where the fingerprint knows the spacing of every case.
    """
    model = records.chosen_model
    if model is None:
        return None
    cases = {case.id: case.scores for case in records.models[model]}
    spacings = _spacings(records)
    complete = spacings if all(case in spacings for case in cases) else None
    return PitfallsSection(" + ".join(model), advise(cases, spacings=complete))


def _spacings(records: RunRecords) -> dict[str, tuple[float, ...]]:
    """Case -> mm between voxels, (y, x) in planes."""
    if records.fingerprint is None:
        return {}
    axes = records.fingerprint.dimension
    return {case.id: tuple(case.spacing)[-axes:] for case in records.fingerprint.cases}
