"""Stages with a matrix: centring, then translation, rigid, similarity and affine maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.levels import Level, level_count, levels_of
from autoseg.tasks.registration.optimize import FitHistory, FitSettings, TransformFit, learnt, minimise
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.similarities.protocol import Similarity
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, Perspective, basis, radius, transform_of

LinearKind = Literal["translation", "rigid", "similarity", "affine"]

LEVELS = 4
"""At most; an axis keeps `LEAST` voxels."""

LEAST = 12

MANY = 2**16
"""Voxels of the finest level: twelve numbers are fixed well enough by so many."""

ITERATIONS = 80
"""At most, at each level."""

STEP = 0.25
"""Learning rate, in voxels of the level."""

TURNS = 12
"""Angles from which a plane is tried first: sections lie on their glass in any way, while volumes carry the patient's
axes in their headers."""

_TURN_LEAST = 32  # voxels along an axis where turns are tried: with fewer, many turns look alike
_TURN_ITERATIONS = 30
_LEAST_OVERLAP = 0.3  # of the overlap at the start: on less, any two images can be made to agree
_SETTLED = 2e-3


def centred(pair: ImagePair, similarity: Similarity) -> Affine:
    """The shift that lays the images' centres on each other: those of the fields of view, or of the intensities.

    Both are judged by the similarity at a coarse level, and so is no shift at all.
    """
    level = levels_of(pair, level_count(pair.fixed_grid, LEAST), least=LEAST)[0]
    fixed, moving = pair.fixed_grid, pair.moving_grid
    shifts = [
        torch.zeros(pair.dimension, dtype=torch.float64),
        _vector(moving.centre) - _vector(fixed.centre),
        _mass(pair.moving, moving, pair.moving_mask) - _mass(pair.fixed, fixed, pair.fixed_mask),
    ]
    still = Affine.identity(pair.dimension, fixed.centre)
    candidates = [replace(still, translation=shift) for shift in shifts]
    return min(candidates, key=lambda candidate: judged(level, candidate, similarity))


def fit_linear(
    pair: ImagePair,
    kind: LinearKind,
    start: Affine,
    similarity: Similarity,
    *,
    judge: Similarity | None = None,
    settings: FitSettings | None = None,
    simultaneous: bool = False,
    turns: int = 1,
) -> TransformFit[Affine]:
    """Fits p -> start(exp(c)(p)), with the coefficients c of a Lie algebra (`transforms.lie`), by Adam.

    Coarse to fine, each level from where the one before ended; or all levels in one objective, the mean of their
    similarities. Voxels that leave the moving image or the masks do not count; a fit that loses most of the overlap
    has diverged.

    Args:
        pair: the images.
        kind: of the map that is fitted.
        start: the map that the stages before found.
        similarity: what is lowered.
        judge: the similarity that chooses among turns; the same if None.
        settings: where they leave it open, `LEVELS`, at most `ITERATIONS` at each, and a learning rate of `STEP` voxels
            of the level.
        simultaneous: whether all levels are fitted in one objective.
        turns: angles from which a plane is tried at a coarse level; the best is where the fit starts.

    Returns:
        The whole map, start included, in float64 on the CPU.

    Raises:
        RegistrationError: the images do not overlap at the start.
    """
    device, dtype = pair.device, torch.float32 if pair.device.type == "mps" else torch.float64
    start = Affine(*(part.to(device, dtype) for part in _parts(start)))
    if turns > 1 and pair.dimension == 2 and kind != "translation":
        start = _turned(pair, start, judge or similarity, turns)
    settings = settings or FitSettings()
    stack = levels_of(pair, settings.levels or LEVELS, least=LEAST, many=MANY)
    coefficients = torch.zeros(len(basis(kind, pair.dimension)), dtype=dtype, device=device, requires_grad=True)

    def whole() -> Affine:
        return _linear(transform_of(coefficients, kind, pair.fixed_grid)).then(start)

    history = FitHistory()
    for group in [stack] if simultaneous else [[level] for level in stack]:
        fit = minimise(
            partial(_loss, group, whole, similarity, [_overlap(level, start) for level in group]),
            [coefficients],
            iterations=settings.iterations or ITERATIONS,
            learning_rate=settings.learning_rate or STEP * group[len(group) // 2].step,
            beside=learnt(similarity),
            tolerance=_SETTLED,
        )
        history = history.then(fit)
    with torch.no_grad():
        return history.with_transform(_on_cpu(whole()))


def judged(level: Level, transform: Affine, similarity: Similarity) -> float:
    """The similarity under a linear map as a number; infinite where nothing overlaps."""
    with torch.no_grad():
        index = level.moving_index(transform)
        seen = level.seen(index)
        if not float(seen.float().mean()) > 0:
            return math.inf
        return float(similarity(level.fixed, level.warped(index), seen))


def _loss(
    group: Sequence[Level], transform_now: Callable[[], Affine], similarity: Similarity, overlaps: Sequence[Tensor]
) -> Tensor:
    """Mean similarity over levels; infinite where most of the overlap at the start is lost.

    Args:
        group: the levels.
        transform_now: the map at the parameters' present values.
        similarity: what is lowered.
        overlaps: of each level, at the start.
    """
    transform = transform_now()
    losses = []
    for level, overlap in zip(group, overlaps, strict=True):
        index = level.moving_index(transform)
        seen = level.seen(index)
        loss = similarity(level.fixed, level.warped(index), seen)
        losses.append(torch.where(seen.float().mean() >= _LEAST_OVERLAP * overlap, loss, math.inf))
    return torch.stack(losses).mean()


def _overlap(level: Level, transform: Affine) -> Tensor:
    with torch.no_grad():
        return level.seen(level.moving_index(transform)).float().mean()


def _turned(pair: ImagePair, start: Affine, similarity: Similarity, turns: int) -> Affine:
    """The start after the best of several turns about the centre, each fitted a little as a rigid map.

    A turn must do better than none, and keep most of the overlap.

    Args:
        pair: planes.
        start: the map that the stages before found.
        similarity: what is lowered.
        turns: angles, evenly spaced.
    """
    level = levels_of(pair, level_count(pair.fixed_grid, _TURN_LEAST), least=_TURN_LEAST)[0]
    radians = torch.arange(turns, dtype=start.matrix.dtype, device=pair.device) * (2 * math.pi / turns)
    overlap = _overlap(level, start)
    attempts: list[tuple[float, Affine]] = []
    for angle in radians * radius(pair.fixed_grid):
        coefficients = torch.zeros(3, dtype=angle.dtype, device=angle.device)
        coefficients[2] = angle
        coefficients.requires_grad_(True)

        def whole(coefficients: Tensor = coefficients) -> Affine:
            return _linear(transform_of(coefficients, "rigid", pair.fixed_grid)).then(start)

        with suppress(RegistrationError):  # nothing overlaps after this turn
            fit = minimise(
                partial(_loss, [level], whole, similarity, [overlap]),
                [coefficients],
                iterations=_TURN_ITERATIONS,
                learning_rate=STEP * level.step,
            )
            attempts.append((fit.loss, Affine(*(part.detach() for part in _parts(whole())))))
    return min(attempts, key=lambda attempt: attempt[0], default=(0.0, start))[1]


def _mass(image: Tensor, grid: Grid, mask: Tensor | None) -> Tensor:
    """Centre of mass of the intensities in a mask, all channels together, mm; the grid's centre if there are none."""
    weights = image.sum(dim=0) if mask is None else image.sum(dim=0) * mask
    moments = [(weights.movedim(axis, -1).flatten(0, -2).sum(0)) for axis in range(weights.ndim)]
    total = moments[0].sum()
    if not bool(total > 0):
        return _vector(grid.centre)
    index = torch.stack([(line * torch.arange(len(line), device=line.device)).sum() / total for line in moments])
    return grid.to_world(index.double().cpu())


def _vector(values: Sequence[float]) -> Tensor:
    return torch.tensor(tuple(values), dtype=torch.float64)


def _linear(transform: Affine | Perspective) -> Affine:
    assert isinstance(transform, Affine)
    return transform


def _parts(transform: Affine) -> tuple[Tensor, Tensor, Tensor]:
    return transform.matrix, transform.translation, transform.centre


def _on_cpu(transform: Affine) -> Affine:
    return Affine(*(part.detach().cpu().double() for part in _parts(transform)))
