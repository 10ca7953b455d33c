"""Deformable stages that are fitted by Adam with a regulariser: a velocity field, or a B-spline free form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from autoseg import plugins
from autoseg.tasks.registration.deformable import LEAST, MANY, DeformableFit, default_levels
from autoseg.tasks.registration.levels import Level, levels_of
from autoseg.tasks.registration.optimize import OptimizationResult, Stopped, learnt, minimise
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.pyramid import resampled
from autoseg.tasks.registration.regularizers import Regularizer
from autoseg.tasks.registration.similarities.protocol import Similarity
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, BSpline, Displacement, exponential

VELOCITY_WEIGHTS: Mapping[str, float] = {"diffusion": 0.1}
SPLINE_WEIGHTS: Mapping[str, float] = {"bending-energy": 0.5}
"""Regularisers and their weights beside a similarity whose values lie within about one of each other."""

ITERATIONS = 80
"""At most, at each level."""

STEP = 0.1
"""Learning rate, in voxels of the level."""

CONTROL = 5
"""Voxels of the fixed image between control points of a B-spline."""

_SQUARINGS = 5
_SETTLED = 1e-3


def fit_velocity(
    pair: ImagePair,
    start: Affine,
    similarity: Similarity,
    *,
    levels: int | None = None,
    iterations: int | None = None,
    learning_rate: float | None = None,
    regularizers: Mapping[str, float] | None = None,
) -> DeformableFit:
    """Fits p -> start(exp(v)(p)), v a stationary velocity field: similarity plus weighted regularisers of v.

    Args:
        start: the linear map that the stages before found.
        levels, iterations: as of `deformable.fit_composed`.
        learning_rate: in mm; `STEP` voxels of the level if None.
        regularizers: plug-in -> weight; `VELOCITY_WEIGHTS` if None.

    Source: Ashburner 2007, NeuroImage 38(1), with Adam in place of Gauss-Newton.
    """
    terms = _terms(VELOCITY_WEIGHTS if regularizers is None else regularizers)
    stack = levels_of(pair, levels or default_levels(pair.fixed_grid), least=LEAST, many=MANY)
    velocity = torch.zeros((pair.dimension, *stack[0].fixed_grid.shape), device=pair.device)
    history: list[float] = []
    stopped: Stopped = "iterations"
    for level in stack:
        grid = level.fixed_grid
        velocity = resampled(velocity, grid.shape).detach().requires_grad_(True)

        def loss(velocity: Tensor = velocity, level: Level = level) -> Tensor:
            field = exponential(velocity, level.fixed_grid, _SQUARINGS)
            return _similarity(level, start, field, similarity) + _penalty(velocity, level.fixed_grid, terms)

        fit = _fit(loss, velocity, level, similarity, iterations, learning_rate)
        history += fit.history
        stopped = "diverged" if "diverged" in (stopped, fit.stopped) else fit.stopped
    field = exponential(velocity.detach(), grid, _SQUARINGS)
    return DeformableFit(Displacement(grid, field), len(history), tuple(history), stopped)


def fit_spline(
    pair: ImagePair,
    start: Affine,
    similarity: Similarity,
    *,
    levels: int | None = None,
    iterations: int | None = None,
    learning_rate: float | None = None,
    regularizers: Mapping[str, float] | None = None,
) -> DeformableFit:
    """Fits p -> start(p + u(p)), u a cubic B-spline on one lattice, to images from coarse to fine.

    Nothing but the regulariser keeps the map from folding. Arguments as of `fit_velocity`, with `SPLINE_WEIGHTS`.

    Source: Rueckert et al. 1999, IEEE TMI 18(8).
    """
    terms = _terms(SPLINE_WEIGHTS if regularizers is None else regularizers)
    stack = levels_of(pair, levels or default_levels(pair.fixed_grid), least=LEAST, many=MANY)
    whole = pair.fixed_grid
    spacing = tuple(CONTROL * step for step in whole.spacing)
    coefficients = BSpline.zeros(whole, spacing, device=pair.device).coefficients.requires_grad_(True)
    history: list[float] = []
    stopped: Stopped = "iterations"
    for level in stack:

        def loss(level: Level = level) -> Tensor:
            field = resampled(BSpline(whole, coefficients, spacing).displacement.field, level.fixed_grid.shape)
            return _similarity(level, start, field, similarity) + _penalty(field, level.fixed_grid, terms)

        fit = _fit(loss, coefficients, level, similarity, iterations, learning_rate)
        history += fit.history
        stopped = "diverged" if "diverged" in (stopped, fit.stopped) else fit.stopped
    field = BSpline(whole, coefficients.detach(), spacing).displacement.field
    return DeformableFit(Displacement(whole, field), len(history), tuple(history), stopped)


def _fit(
    loss: Callable[[], Tensor],
    parameter: Tensor,
    level: Level,
    similarity: Similarity,
    iterations: int | None,
    learning_rate: float | None,
) -> OptimizationResult:
    return minimise(
        loss,
        [parameter],
        iterations=iterations or ITERATIONS,
        learning_rate=learning_rate or STEP * level.step,
        beside=learnt(similarity),
        tolerance=_SETTLED,
    )


def _similarity(level: Level, start: Affine, field: Tensor, similarity: Similarity) -> Tensor:
    matrix, origin = level.index_map(start)
    steps = level.fixed_grid.steps_to_index(field.movedim(0, -1))
    places = (level.fixed_grid.index(field) + steps) @ matrix + origin
    return similarity(level.fixed, level.warped(places), level.seen(places))


def _terms(weights: Mapping[str, float]) -> list[tuple[Regularizer, float]]:
    return [(plugins.resolve("regularizer", name), weight) for name, weight in weights.items()]


def _penalty(field: Tensor, grid: Grid, terms: list[tuple[Regularizer, float]]) -> Tensor:
    total = field.new_zeros(())
    for regularizer, weight in terms:
        total = total + weight * regularizer(field, grid.spacing)
    return total
