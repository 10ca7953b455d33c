"""What to beware of when reading the scores of this data: pitfalls of metrics, each with the numbers that show it.

Each pitfall is a row of `_ROWS`: a check that says for which labels it applies (`pitfalls`, `shape_pitfalls`), and what
follows from it. Only those that apply are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autoseg.errors import ConfigurationError
from autoseg.evaluation import pitfalls, shape_pitfalls
from autoseg.evaluation.label_scores import LabelScores, collect
from autoseg.evaluation.scores import ScoreRows
from autoseg.metrics.surface import TOLERANCE_MM
from autoseg.records import Record

PITFALLS = "Reinke et al. 2024, Understanding metric-related pitfalls, Nature Methods 21:182-194"
RELOADED = "Maier-Hein, Reinke et al. 2024, Metrics reloaded, Nature Methods 21:195-212"
SURFACE_DICE = "Nikolov et al. 2021, J Med Internet Res 23(7):e26151"


class Advice(Record):
    """One pitfall that applies to the data.

    Attributes:
        name: short and stable, for programs.
        title: for headings.
        sentence: the numbers that show it, label by label, and what follows.
        labels: those concerned.
        source: publication that describes the pitfall.
    """

    name: str
    title: str
    sentence: str
    labels: tuple[str, ...]
    source: str


def advise(
    cases: Mapping[str, ScoreRows],
    *,
    spacings: Mapping[str, Sequence[float]] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
) -> tuple[Advice, ...]:
    """Pitfalls that apply to the scores of one method.

    Args:
        cases: case -> label -> scores, as `Scores.cases` has them: voxel counts n_ref and n_pred,
            dice, hausdorff, hd95 and nsd where they were computed, and those of `metrics.score.SHAPE`. A check without
            its numbers says nothing.
        spacings: case -> mm between voxels, one value per axis of the image: three, or two of plane images. Without
            them resolution, tolerance and centres are not judged.
        tolerance_mm: with which nsd was computed.

    Returns:
        Advice in a fixed order, each pitfall once; none for no cases.

    Raises:
        ConfigurationError: a case has scores but no spacing, though others have one.
    """
    missing = [case for case in cases if spacings is not None and case not in spacings]
    if missing:
        raise ConfigurationError("the spacing of a case is not known", where=missing[0], remedy="give all or none")
    names = dict.fromkeys(label for scores in cases.values() for label in scores)
    labels = [collect(name, cases, spacings) for name in names]
    advice = []
    for row in _ROWS:
        texts = row.check(labels, tolerance_mm)
        if texts:
            shown = "; ".join(f"{name}: {text}" for name, text in texts.items())
            sentence = f"{shown}. {row.meaning}"
            advice.append(
                Advice(name=row.name, title=row.title, sentence=sentence, labels=tuple(texts), source=row.source)
            )
    return tuple(advice)


@dataclass(frozen=True)
class _Pitfall:
    """One row: `check` finds where it applies and the numbers that show it, `meaning` says what follows."""

    name: str
    title: str
    check: Callable[[Sequence[LabelScores], float], dict[str, str]]
    meaning: str
    source: str


_ROWS = (
    _Pitfall(
        "small-structures",
        "Dice is unstable for small structures",
        pitfalls.small,
        "Differences of that size say little: count found and missed objects, and read NSD beside Dice.",
        PITFALLS,
    ),
    _Pitfall(
        "outlying-hausdorff",
        "Single voxels decide the Hausdorff distance",
        pitfalls.outlying,
        "Read HD95 or the average surface distance beside it, and look at those cases for small false islands.",
        PITFALLS,
    ),
    _Pitfall(
        "empty-references",
        "Some references lack a label",
        pitfalls.empty_reference,
        "Dice has no value there, or is 0 for a single false voxel: read false alarms as a count, not within a mean.",
        RELOADED,
    ),
    _Pitfall(
        "empty-predictions",
        "Some structures were not found at all",
        pitfalls.empty_prediction,
        "Distances do not exist there, so that their mean over the other cases flatters.",
        RELOADED,
    ),
    _Pitfall(
        "biased-size",
        "Structures come out too large or too small",
        pitfalls.biased_size,
        "Dice costs missing voxels more than as many false ones: read volumes, precision and sensitivity beside it.",
        PITFALLS,
    ),
    _Pitfall(
        "holes",
        "Holes are not those of the references",
        shape_pitfalls.holes,
        "Dice moves with their few voxels only, distances by their depth: read HD95 and NSD beside it. Where a "
        "structure cannot have holes, fill them in the label files and score these again.",
        PITFALLS,
    ),
    _Pitfall(
        "centre-alignment",
        "Structures are found in their place but overlap little",
        shape_pitfalls.centre_alignment,
        "A low Dice there does not mean missed: if the place is what counts, read the centroid distance; if the "
        "outline is, NSD.",
        PITFALLS,
    ),
    _Pitfall(
        "one-sided-shift",
        "Predictions lie to one side of the references",
        shape_pitfalls.one_sided_shift,
        "Errors of drawing have no side: look for a grid or a header that is off, or a resampling by half a voxel, "
        "which costs small structures most.",
        RELOADED,
    ),
    _Pitfall(
        "coarse-resolution",
        "Structures are few voxels wide",
        pitfalls.thin,
        "Half a voxel at the surface changes overlap and distances much: do not compare with scores at another "
        "resolution.",
        PITFALLS,
    ),
    _Pitfall(
        "tight-tolerance",
        "The tolerance of NSD is finer than the voxels",
        pitfalls.tight_tolerance,
        "A surface that is one slice off counts as wholly wrong: take a tolerance that two readers would agree within.",
        SURFACE_DICE,
    ),
    _Pitfall(
        "generous-tolerance",
        "The tolerance of NSD is large for the structure",
        pitfalls.generous_tolerance,
        "Nearly anything painted in the right place is within it: NSD cannot tell methods apart there.",
        SURFACE_DICE,
    ),
)
