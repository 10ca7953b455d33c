"""Deformable stages that are fitted by Adam with a regulariser: a velocity field, or a B-spline free form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autoseg import plugins
from autoseg.tasks.registration.deformable import LEAST, MANY, default_levels
from autoseg.tasks.registration.levels import Level, levels_of
from autoseg.tasks.registration.optimize import (
    FitHistory,
    FitSettings,
    OptimizationResult,
    TransformFit,
    learnt,
    minimise,
)
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
    settings: FitSettings | None = None,
    regularizers: Mapping[str, float] | None = None,
) -> TransformFit[Displacement]:
    """Fits p -> start(exp(v)(p)), v a stationary velocity field: similarity plus weighted regularisers of v.

    Args:
        pair: the images.
        start: the linear map that the stages before found.
        similarity: what is lowered.
        settings: where they leave it open, levels as of `deformable.fit_composed`, at most `ITERATIONS` at each, and a
            learning rate of `STEP` voxels of the level.
        regularizers: plug-in -> weight; `VELOCITY_WEIGHTS` if None.

    Returns:
        The deformation exp(v), on the grid of the finest level.

    Source: Ashburner 2007, NeuroImage 38(1), with Adam in place of Gauss-Newton.
    """
    settings = settings or FitSettings()
    objective = _RegularisedObjective.of(start, similarity, VELOCITY_WEIGHTS if regularizers is None else regularizers)
    levels = _levels(pair, settings)
    velocity = torch.zeros((pair.dimension, *levels[0].fixed_grid.shape), device=pair.device)
    history = FitHistory()
    for level in levels:
        velocity = resampled(velocity, level.fixed_grid.shape).detach().requires_grad_(True)

        def loss(velocity: Tensor = velocity, level: Level = level) -> Tensor:
            return objective(level, exponential(velocity, level.fixed_grid, _SQUARINGS), regularised=velocity)

        history = history.then(_minimise(loss, velocity, level, objective, settings))
    grid = levels[-1].fixed_grid
    return history.with_transform(Displacement(grid, exponential(velocity.detach(), grid, _SQUARINGS)))


def fit_spline(
    pair: ImagePair,
    start: Affine,
    similarity: Similarity,
    *,
    settings: FitSettings | None = None,
    regularizers: Mapping[str, float] | None = None,
) -> TransformFit[Displacement]:
    """Fits p -> start(p + u(p)), u a cubic B-spline on one lattice, to images from coarse to fine.

    Nothing but the regulariser keeps the map from folding.

    Args:
        pair, start, similarity, settings: as of `fit_velocity`.
        regularizers: plug-in -> weight; `SPLINE_WEIGHTS` if None.

    Returns:
        The deformation p + u(p), on the pair's fixed grid.

    Source: Rueckert et al. 1999, IEEE TMI 18(8).
    """
    settings = settings or FitSettings()
    objective = _RegularisedObjective.of(start, similarity, SPLINE_WEIGHTS if regularizers is None else regularizers)
    grid = pair.fixed_grid
    spacing = tuple(CONTROL * step for step in grid.spacing)
    coefficients = BSpline.zeros(grid, spacing, device=pair.device).coefficients.requires_grad_(True)
    history = FitHistory()
    for level in _levels(pair, settings):

        def loss(level: Level = level) -> Tensor:
            field = resampled(BSpline(grid, coefficients, spacing).displacement.field, level.fixed_grid.shape)
            return objective(level, field, regularised=field)

        history = history.then(_minimise(loss, coefficients, level, objective, settings))
    return history.with_transform(BSpline(grid, coefficients.detach(), spacing).displacement)


@dataclass(frozen=True)
class _RegularisedObjective:
    """The similarity of the fixed and the warped image, plus weighted regularisers.

    Attributes:
        start: the linear map that follows the deformation.
        terms: regularisers and their weights.
    """

    start: Affine
    similarity: Similarity
    terms: tuple[tuple[Regularizer, float], ...]

    @classmethod
    def of(cls, start: Affine, similarity: Similarity, weights: Mapping[str, float]) -> _RegularisedObjective:
        """With plug-ins by name."""
        terms = tuple((plugins.resolve("regularizer", name), weight) for name, weight in weights.items())
        return cls(start, similarity, terms)

    def __call__(self, level: Level, field: Tensor, *, regularised: Tensor) -> Tensor:
        """The loss of a displacement (D, *S) in mm at a level; `regularised` is the field that is to be smooth."""
        return self._dissimilarity(level, field) + self._penalty(regularised, level.fixed_grid)

    def _dissimilarity(self, level: Level, field: Tensor) -> Tensor:
        matrix, origin = level.index_map(self.start)
        steps = level.fixed_grid.steps_to_index(field.movedim(0, -1))
        index = (level.fixed_grid.index(field) + steps) @ matrix + origin
        return self.similarity(level.fixed, level.warped(index), level.seen(index))

    def _penalty(self, field: Tensor, grid: Grid) -> Tensor:
        total = field.new_zeros(())
        for regularizer, weight in self.terms:
            total = total + weight * regularizer(field, grid.spacing)
        return total


def _levels(pair: ImagePair, settings: FitSettings) -> list[Level]:
    return levels_of(pair, settings.levels or default_levels(pair.fixed_grid), least=LEAST, many=MANY)


def _minimise(
    loss: Callable[[], Tensor], parameter: Tensor, level: Level, objective: _RegularisedObjective, settings: FitSettings
) -> OptimizationResult:
    """Lowers the loss of a level.

    Args:
        loss: at the parameter's present values.
        parameter: a leaf that requires gradients.
        level: whose voxels the default step size counts in.
        objective: its similarity may have weights, which are trained beside.
        settings: iterations and step size, where they are not left open.
    """
    return minimise(
        loss,
        [parameter],
        iterations=settings.iterations or ITERATIONS,
        learning_rate=settings.learning_rate or STEP * level.step,
        beside=learnt(objective.similarity),
        tolerance=_SETTLED,
    )
