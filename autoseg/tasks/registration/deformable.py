"""The deformable stage of the default method: small smooth updates, each composed with all before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autoseg.tasks.registration.forces import LOCAL_NCC, Force, emphasised, force_of, slope
from autoseg.tasks.registration.levels import Level, levels_of
from autoseg.tasks.registration.optimize import FitHistory, OptimizationResult, TransformFit, Watch
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.pyramid import resampled
from autoseg.tasks.registration.similarities.protocol import Similarity
from autoseg.tasks.registration.smoothing import gaussian
from autoseg.tasks.registration.space import Grid, sample_index
from autoseg.tasks.registration.transforms import Affine, Displacement, as_displacement

LEAST = 6
"""Voxels that an axis keeps at the coarsest level."""

LEVELS = 3
"""For a longest axis of 64 voxels; each doubling has one more."""

ITERATIONS = (40, 25)
"""At most, at coarse levels and at the finest."""

MANY = 2**24
"""Voxels of the finest level: a whole-body CT's own grid would ask for ten gigabytes, and deformations are smooth."""

STEP = 0.5
"""Voxels of the level that an update moves where it moves most: with the smoothing, below what could fold."""

FLUID = 1.5
"""Standard deviation in voxels of the level by which an update is smoothed."""

ELASTIC = {2: 2.0, 3: 0.5}
"""That by which the whole deformation is smoothed after each update, by the number of axes. A plane's window is five
pixels wide where a volume's is two, and what it says about a point is as much coarser.

The numbers for volumes were chosen by the Dice of warped labels over pairs of training cases of one data set
(hippocampus, MR), around them it changes by less than 0.005; those for planes by landmarks on three pairs of sections
with different stains."""

_SETTLED = 1e-3


@dataclass(frozen=True)
class Updates:
    """How far updates go and how smooth they are.

    Attributes:
        step: voxels of the level that an update moves where it moves most.
        fluid: standard deviation in voxels by which an update is smoothed.
        elastic: that by which the whole deformation is smoothed after each update.
    """

    step: float
    fluid: float
    elastic: float

    @classmethod
    def of(cls, dimension: int) -> Updates:
        """Those of images, by the number of axes."""
        return cls(STEP, FLUID, ELASTIC[dimension])


def fit_composed(
    pair: ImagePair,
    start: Affine,
    name: str,
    similarity: Similarity,
    *,
    levels: int | None = None,
    iterations: int | None = None,
    initial: Displacement | None = None,
    updates: Updates | None = None,
) -> TransformFit[Displacement]:
    """Fits p -> start(p + u(p)) by u <- smooth(d + u(. + d)), d being the smoothed downhill direction, scaled.

    An update that is smooth and shorter than half a voxel does not fold, nor does a composition of such updates: the
    result is diffeomorphic up to discretisation. Coarse to fine; at each level the best deformation by the similarity
    at this level is kept. Border values continue the moving image; voxels that leave it, or the masks, do not push.

    Args:
        pair: the images.
        start: the linear map that the stages before found.
        name, similarity: the plug-in's name and what its factory made.
        levels: of the pyramid; `LEVELS` and one for each doubling if None.
        iterations: at most at each level; `ITERATIONS` if None.
        initial: u to begin with, on any grid; zero if None.
        updates: how far and how smooth they are; those of images if None.

    Returns:
        The deformation u, from the fixed image's world to where the start takes points from; on the pair's fixed grid,
        or a coarser one where that has more than `MANY` voxels.

    Source: the greedy algorithm of Joshi et al. 2004, NeuroImage 23, with the smoothing of update (fluid) and of the
    whole (elastic) of Yushkevich et al. 2016, Alzheimers Dement. 12(7), "greedy"; compositive updates and their
    derivative by the warped image: Vercauteren et al. 2009, NeuroImage 45(1).
    """
    pair = emphasised(pair) if name == LOCAL_NCC else pair
    stack = levels_of(pair, levels or default_levels(pair.fixed_grid), least=LEAST, many=MANY)
    history = FitHistory()
    grid, updates = stack[0].fixed_grid, updates or Updates.of(pair.dimension)
    if initial is None:
        field = torch.zeros((pair.dimension, *grid.shape), device=pair.device)
    else:
        field = _in_voxels(as_displacement(initial, grid).field.to(pair.device), grid)
    for level in stack:
        field = _enlarged(field, grid, level.fixed_grid)
        grid = level.fixed_grid
        most = iterations or ITERATIONS[level is stack[-1]]
        fit = _fit_level(level, start, field, force_of(name, similarity, level), most, updates)
        field = fit.best[0]
        history = history.then(fit)
    return history.with_transform(Displacement(grid, _in_mm(field, grid)))


def default_levels(grid: Grid) -> int:
    """Levels of the pyramid for a grid: the coarsest has about 16 voxels along the longest axis."""
    return LEVELS + max(0, (max(grid.shape) - 1).bit_length() - 6)


@torch.no_grad()
def _fit_level(
    level: Level, start: Affine, field: Tensor, force: Force, iterations: int, updates: Updates
) -> OptimizationResult:
    """Fits the deformation at one level.

    Args:
        level: the images.
        start: the linear map that follows the deformation.
        field: (D, *S) to begin with, in voxels of the level.
        force: of the similarity at this level.
        iterations: at most.
        updates: how far and how smooth they are.

    Returns:
        The fit, whose state is the best field (D, *S), in voxels of the level.
    """
    home = level.fixed_grid.index(field)
    elastic = [updates.elastic] * len(field)
    matrix, origin = level.index_map(start)
    watch = Watch([field], tolerance=_SETTLED)
    for _ in range(iterations):
        index = (home + field.movedim(0, -1)) @ matrix + origin
        warped = level.warped(index)
        loss, change = force(warped, level.seen(index))
        stopped = watch.see(loss, [field])
        if stopped:
            return watch.end(stopped)
        update = _update(change, warped, updates)
        field = gaussian(sample_index(field, home + update.movedim(0, -1)) + update, elastic)
    return watch.end()


def _update(change: Tensor, warped: Tensor, updates: Updates) -> Tensor:
    """The downhill direction, smoothed, of the step's length where it is longest: (D, *S)."""
    axes = tuple(range(1, warped.ndim))
    slopes = torch.stack([slope(warped, axis) for axis in axes])
    update = gaussian(-(slopes * change).sum(dim=1), [updates.fluid] * len(axes))
    longest = update.square().sum(dim=0).amax().sqrt()
    return update * (updates.step / longest.clamp_min(torch.finfo(update.dtype).tiny))


def _enlarged(field: Tensor, grid: Grid, onto: Grid) -> Tensor:
    """A field in voxels of one level in voxels of another."""
    if grid.shape == onto.shape:
        return field
    factors = [new / old for new, old in zip(onto.shape, grid.shape, strict=True)]
    return resampled(field, onto.shape) * field.new_tensor(factors).reshape(-1, *[1] * len(factors))


def _in_voxels(field: Tensor, grid: Grid) -> Tensor:
    return grid.steps_to_index(field.movedim(0, -1)).movedim(-1, 0).contiguous()


def _in_mm(field: Tensor, grid: Grid) -> Tensor:
    matrix = field.new_tensor(grid.matrix)
    return (field.movedim(0, -1) @ matrix.T).movedim(-1, 0).contiguous()
