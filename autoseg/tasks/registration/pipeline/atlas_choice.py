"""Which cases of a data set vote for the labels of a target: those that look most like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from autoseg.data import atlas_alignment
from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case
from autoseg.errors import AutosegError
from autoseg.processes import unordered

_CANDIDATES = 2  # times the atlases that vote, registered affinely on a coarse grid; the others are passed over before


@dataclass(frozen=True)
class ChosenAtlas:
    """A case that votes for a target.

    Attributes:
        case: of the data set.
        similarity: correlation with the target on a coarse grid; None where all cases vote.
    """

    case: Case
    similarity: float | None


def choose_atlases(data: Dataset, targets: Sequence[Case], count: int, *, workers: int) -> dict[str, list[ChosenAtlas]]:
    """The atlases that vote for each target.

    Args:
        data: its labelled cases are the atlases. One whose images are the target's own does not vote.
        targets: cases with the data set's channels.
        count: how many vote, at most.
        workers: processes.

    Returns:
        Target -> its atlases, best first; in the data set's order where there are no more than `count`.
    """
    usable = {target.id: [case for case in data.training if not _same(case, target)] for target in targets}
    if all(len(cases) <= count for cases in usable.values()):
        return {target: [ChosenAtlas(case, None) for case in cases] for target, cases in usable.items()}
    channels = len(data.channels)
    read = partial(_coarse, channels=channels)
    pyramids = dict(unordered(read, data.training, "reading atlases", workers=workers))
    rank = partial(_rank, atlases=pyramids, channels=channels, count=count)
    candidates = [(target, tuple(case.id for case in usable[target.id])) for target in targets]
    by_id = {case.id: case for case in data.training}
    return {
        target: [ChosenAtlas(by_id[atlas], similarity) for atlas, similarity in ranking]
        for target, ranking in unordered(rank, candidates, "choosing atlases", workers=workers)
    }


def _same(atlas: Case, target: Case) -> bool:
    return {path.resolve() for path in atlas.images} == {path.resolve() for path in target.images}


def _coarse(case: Case, channels: int) -> tuple[str, atlas_alignment.Pyramid | None]:
    """A case on a coarse grid; None if it cannot be read, which its registration will say."""
    try:
        image = read_case(case, channels)
    except AutosegError:
        return case.id, None
    pyramid = atlas_alignment.pyramid(image)
    return case.id, atlas_alignment.Pyramid(pyramid.coarse, pyramid.coarse, pyramid.geometry, pyramid.shape)


def _rank(
    candidates: tuple[Case, tuple[str, ...]],
    atlases: dict[str, atlas_alignment.Pyramid | None],
    channels: int,
    count: int,
) -> tuple[str, list[tuple[str, float]]]:
    """The atlases most like a target: centred, the best of them registered affinely, the best of these.

    Args:
        candidates: the target and the atlases to choose from.
        atlases: all cases of the data set on their coarse grids.
        channels: of the target.
        count: how many are chosen, at most.
    """
    case, names = candidates
    _, target = _coarse(case, channels)
    if target is None:
        return case.id, []
    sources = {name: pyramid for name in names if (pyramid := atlases[name]) is not None}
    dimension = target.geometry.dimension
    centred = []
    for name, source in sources.items():
        if source.geometry.dimension == dimension:
            alignment = atlas_alignment.centre(target, source)
            centred.append((atlas_alignment.similarity(target, source, alignment), name, alignment))
    aligned = []
    for _, name, alignment in sorted(centred, key=lambda candidate: -candidate[0])[: _CANDIDATES * count]:
        better = atlas_alignment.affine(target, sources[name], alignment)
        aligned.append((name, atlas_alignment.similarity(target, sources[name], better)))
    return case.id, sorted(aligned, key=lambda candidate: -candidate[1])[:count]
