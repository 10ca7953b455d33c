"""Label values that references or predictions have alone, or hardly at all, and which of them mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from autoseg.data.label_values import RARE
from autoseg.log import counted
from autoseg.records import Record

Overlap = Mapping[tuple[int, int], int]
"""Of one case: (value of the prediction, value of the reference) -> voxels that have both; 0 is background."""

_OF_ITS_FILE = 0.1
"""Share of a file's labelled voxels below which a value of that file alone is a stray one."""

_FEW_FILES, _RARE_ALONE = 0.1, 0.01
"""Shares of the files, and of the labelled voxels, up to which a value of one side alone is a stray one: blurred edges
of some masks make a dozen such values."""

_AGREED = 0.25
"""Dice over all voxels from which predictions and references have a value in common, so that it is a class."""

_SAME = 0.1
"""Share of a value's voxels that must lie on another value for the two to be a likely pair."""

_SHOWN = 3


class OddValue(Record):
    """A label value that only one side has, or that looks like a mistake rather than like a class.

    Attributes:
        value: in the files, after values were mapped.
        scored: whether it is a label of the scores; if not, its voxels count as background.
        voxels_ref, voxels_pred: that have it, over all cases.
        cases_ref, cases_pred: how many references and predictions hold it.
        examples: up to three of these cases.
        counterpart: the value that only the other side has and that lies in the same place; None without one.
        overlap: share of this value's voxels that lie there.
    """

    value: int
    scored: bool
    voxels_ref: int
    voxels_pred: int
    cases_ref: int
    cases_pred: int
    examples: tuple[str, ...]
    counterpart: int | None = None
    overlap: float | None = None


@dataclass
class _Use:
    """Voxels of one value on one side, by case."""

    voxels: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.voxels.values())


def odd_values(overlaps: Mapping[str, Overlap], scored: Sequence[int] | None) -> tuple[OddValue, ...]:
    """All that is odd about the values of prediction and reference files.

    Args:
        overlaps: case -> its overlap.
        scored: values that are labels; None where nobody said, and those are left out that are hardly there: less than
            a thousandth of the labelled voxels on both sides; on one side alone, less than a hundredth of its labelled
            voxels and in a tenth of its files at most, or in one file alone of several and less than a tenth of what is
            labelled there. A value that predictions and references agree on is never left out.

    Returns:
        Sorted by value; empty where all values occur on both sides.
    """
    references, predictions = _uses(overlaps, 1), _uses(overlaps, 0)
    values = sorted({*references, *predictions})
    strays = set() if scored else {v for v in values if _is_stray(v, references, predictions, overlaps)}
    kept = set(scored) if scored else {value for value in values if value not in strays}
    alone = {value for value in values if not (value in references and value in predictions)}
    found = []
    for value in values:
        if value in kept and value not in alone:
            continue
        one, other = references.get(value, _Use()), predictions.get(value, _Use())
        partner = _counterpart(value, value in references, alone - strays, overlaps) if value in alone else None
        found.append(
            OddValue(
                value=value,
                scored=value in kept,
                voxels_ref=one.total,
                voxels_pred=other.total,
                cases_ref=len(one.voxels),
                cases_pred=len(other.voxels),
                examples=tuple(sorted({*one.voxels, *other.voxels})[:_SHOWN]),
                counterpart=None if partner is None else partner[0],
                overlap=None if partner is None else partner[1] / (one.total or other.total),
            )
        )
    return tuple(found)


def describe_odd_values(odd: Sequence[OddValue]) -> Iterator[str]:
    """A warning for each kind of oddity, with what to do."""
    pairs = {(one.value, one.counterpart) for one in odd if one.counterpart is not None and one.voxels_ref}
    by_value = {one.value: one for one in odd}
    for reference, prediction in sorted(pairs):
        one, other = by_value[reference], by_value[prediction]
        yield (
            f"label value {_where(one)} and {_where(other)}: {one.overlap:.0%} of the one lies on the other; "
            f"if they mean the same, --map {reference}:{prediction}"
        )
    paired = {value for pair in pairs for value in pair}
    alone = [one for one in odd if one.scored and one.value not in paired]
    for one in alone[:_SHOWN]:
        yield (
            f"label value {_where(one)}: it is scored, with a Dice of 0; --labels names the values that count, "
            "--map those that mean the same"
        )
    if len(alone) > _SHOWN:
        more = ", ".join(str(one.value) for one in alone[_SHOWN:][:10])
        yield f"so are {counted(len(alone) - _SHOWN, 'more label value')} in one side only: {more}"
    left_out = [one for one in odd if not one.scored and one.value not in paired]
    if left_out:
        shown = "; ".join(_where(one) for one in left_out[:_SHOWN]) + ("; ..." if len(left_out) > _SHOWN else "")
        number = counted(len(left_out), "label value")
        yield f"{number} left out of the scores, taken for background: {shown}; to score them: --labels or --spec"


def _where(one: OddValue) -> str:
    cases = ", ".join(one.examples) + (", ..." if max(one.cases_ref, one.cases_pred) > len(one.examples) else "")
    sides = [
        f"{counted(voxels, 'voxel')} in {counted(number, noun)}"
        for voxels, number, noun in (
            (one.voxels_ref, one.cases_ref, "reference"),
            (one.voxels_pred, one.cases_pred, "prediction"),
        )
        if voxels
    ]
    only = " only" if len(sides) == 1 else ""
    return f"{one.value} ({' and '.join(sides)}{only}: {cases})"


def _uses(overlaps: Mapping[str, Overlap], side: int) -> dict[int, _Use]:
    """Value -> where one side (0 prediction, 1 reference) has it."""
    uses: dict[int, _Use] = {}
    for case, overlap in overlaps.items():
        for pair, voxels in overlap.items():
            if pair[side]:
                of_case = uses.setdefault(pair[side], _Use()).voxels
                of_case[case] = of_case.get(case, 0) + voxels
    return uses


def _is_stray(
    value: int, references: Mapping[int, _Use], predictions: Mapping[int, _Use], overlaps: Mapping[str, Overlap]
) -> bool:
    sides = [side for side in (references, predictions) if value in side]
    total = sum(side[value].total for side in sides)
    agreed = sum(overlap.get((value, value), 0) for overlap in overlaps.values())
    if 2 * agreed >= _AGREED * total:
        return False
    if all(side[value].total < RARE * sum(use.total for use in side.values()) for side in sides):
        return True
    if len(sides) > 1:
        return False
    holders, labelled = len(sides[0][value].voxels), sum(use.total for use in sides[0].values())
    if holders <= _FEW_FILES * len(overlaps) and sides[0][value].total < _RARE_ALONE * labelled:
        return True
    if holders > 1 or len(overlaps) < 2:
        return False
    ((case, voxels),) = sides[0][value].voxels.items()
    return voxels < _OF_ITS_FILE * sum(use.voxels.get(case, 0) for use in sides[0].values())


def _counterpart(
    value: int, in_references: bool, alone: set[int], overlaps: Mapping[str, Overlap]
) -> tuple[int, int] | None:
    """The value of the other side alone that most of a value's voxels lie on, and how many; None if hardly any do."""
    voxels: dict[int, int] = {}
    total = 0
    for overlap in overlaps.values():
        for (prediction, reference), number in overlap.items():
            own, other = (reference, prediction) if in_references else (prediction, reference)
            if own == value:
                total += number
                if other in alone:
                    voxels[other] = voxels.get(other, 0) + number
    best = max(voxels, key=lambda other: voxels[other], default=None)
    return None if best is None or voxels[best] < _SAME * total else (best, voxels[best])
