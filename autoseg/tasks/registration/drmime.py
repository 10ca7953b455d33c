"""DRMIME: one linear map for all levels of a pyramid at once, by a neural estimate of their mutual information."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.errors import ConfigurationError, RegistrationError
from autoseg.tasks.registration.levels import Level, level_count, levels_of
from autoseg.tasks.registration.linear import centred
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, StageReport
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.similarities.mine import mine
from autoseg.tasks.registration.similarities.mutual_information import normalized_mutual_information
from autoseg.tasks.registration.space import Grid, inside, sample
from autoseg.tasks.registration.transforms import (
    Affine,
    Perspective,
    SpatialTransform,
    basis,
    compose,
    radius,
    transform_of,
)
from autoseg.tasks.registration.transforms.lie import KINDS, Kind

METHOD, SIMILARITY = "drmime", "mine"

FINEST = 256
"""Voxels along an axis of the finest level, in the mean over the axes, at most. A linear map has so few numbers that
these fix it to well under a voxel; and what one stain or sequence shows at finer scale is mostly not in the other: its
noise would drown the coarse levels, which share the objective."""

LEVELS = 6
"""At most; images that are too small for them have fewer."""

ITERATIONS = 300
SAMPLES = 1024
"""Points drawn at each level and iteration."""

HIDDEN = (64, 64)
"""Units of the statistics network's hidden layers."""

_LEAST = 8  # voxels along an axis of the coarsest level
_WARM_UP = 100  # iterations of the network alone: what it says before that would turn the map at random
_NETWORK_RATE = 5e-3
_STEP = 0.02  # the shared part's learning rate, as a share of the image's radius
_SHAPE_STEP = 0.3  # of that: rotations, scales and shears; as fast as translations they wander off while these search
_OWN_STEP = 0.25  # of the shared part's: the finest level's own part corrects, it does not search
_JUDGED_EVERY = 20  # iterations
_JUDGED_BY = 8192  # points per level of the fixed sample
_LEAST_OVERLAP = 0.25  # of the overlap at the start: on less, any two images can be made to agree


def drmime(pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device) -> RegistrationResult:
    """Fits a linear map by mutual information, for images of different modalities or stains.

    The mutual information of every level of a Gaussian pyramid is bounded from below by one shared statistics network
    (`similarities.mine`); the mean of the bounds is raised by Adam in network and map at the same time. The map is the
    exponential of Lie algebra coefficients: one part shared by all levels, and one that only the finest level has on
    top. The map of the finest level is the result. Points are drawn uniformly over the fixed image (or its mask) at
    each iteration, between voxel centres too; those that leave the moving image or its mask do not count.

    Every few iterations the map is judged by the bound over one sample of points that stays the same and that the
    network is not trained on. The best one is returned, so never one that is worse than the start by this measure. A
    fit that is not finite, or that loses most of its overlap, stops there.

    Args:
        pair: the images, on `device`.
        options: the last linear stage is the kind of map (`affine` without any); `levels`, `iterations` and
            `learning_rate` (mm, of the shared part) are followed. There is no deformable stage.
        seed: of points and network.
        device: where it computes.

    Raises:
        ConfigurationError: another similarity is asked for.
        RegistrationError: hardly a point of the fixed image lies in the moving one at the start.

    Source: Nan et al. 2020, MIDL, arXiv:2001.09865; the bound: Donsker and Varadhan, as in Belghazi et al. 2018, ICML,
    arXiv:1801.04062.
    """
    if options.similarity not in (None, SIMILARITY):
        raise ConfigurationError(
            f"the method {METHOD} has a similarity of its own",
            got=options.similarity,
            expected=SIMILARITY,
            remedy="leave the similarity out, or choose the method multi-stage",
        )
    began = time.perf_counter()
    kind = _kind(options)
    objective = _objective(pair, options, seed)
    fit = _fit(objective, kind, options, torch.Generator().manual_seed(seed))
    report = StageReport(
        name=kind,
        similarity=SIMILARITY,
        before=-fit.before,
        after=-fit.after,
        iterations=len(fit.history),
        seconds=time.perf_counter() - began,
        stopped=fit.stopped,
        history=fit.history,
    )
    return RegistrationResult(
        transform=compose(_map(fit.best.double().cpu(), kind, pair.fixed_grid), objective.start),
        method=METHOD,
        stages=(report,),
        warnings=_warnings(options, fit.stopped),
    )


@dataclass(frozen=True)
class InformationBounds:
    """What is maximised: bounds of the mutual information at all levels.

    Attributes:
        pair: the images as they came; their grids and masks say which points count.
        start: from where the fit begins; it follows each map that is tried.
        levels: coarse to fine, with scaled intensities.
        network: statistics network, (..., 2 * channels) -> (..., 1), one for all levels.
    """

    pair: ImagePair
    start: SpatialTransform
    levels: tuple[Level, ...]
    network: nn.Module

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Points at random, uniformly over the voxels of the fixed image or of its mask.

        Returns:
            (levels, count, D) in mm; drawn on the CPU, the same for every device.
        """
        grid, mask = self.pair.fixed_grid, self.pair.fixed_mask
        size = (len(self.levels), count, grid.dimension)
        if mask is None:
            index = torch.rand(size, generator=generator) * torch.tensor([float(n) for n in grid.shape]) - 0.5
        else:
            voxels = mask.nonzero().cpu()
            chosen = torch.randint(len(voxels), size[:2], generator=generator)
            index = voxels[chosen] + torch.rand(size, generator=generator) - 0.5
        return grid.to_world(index.to(self.pair.device))

    def bounds(self, maps: Sequence[SpatialTransform], points: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the mutual information.

        Args:
            maps: one per level, before `start`.
            points: (levels, N, D) in mm.

        Returns:
            (levels,) in nats, and the share of points that count, a scalar.
        """
        middle = torch.tensor(self.pair.moving_grid.centre, dtype=points.dtype, device=points.device)
        fixed, warped, counted = [], [], []
        for level, map_, drawn in zip(self.levels, maps, points, strict=True):
            targets = self.start(map_(drawn))
            counts = _visible(self.pair, targets.detach())
            targets = torch.where(counts[:, None], targets, middle)  # a map that diverges has them anywhere, or nowhere
            fixed.append(sample(level.fixed, level.fixed_grid, drawn).T)
            warped.append(sample(level.moving, level.moving_grid, targets).T)
            counted.append(counts)
        seen = torch.stack(counted)
        return bound(self.network, torch.stack(fixed), torch.stack(warped), seen), seen.float().mean()


def bound(network: nn.Module, fixed: Tensor, warped: Tensor, counts: Tensor) -> Tensor:
    """Lower bounds of the mutual information of two images, one per row, from points in random order.

    Args:
        network: (..., 2 * C) -> (..., 1).
        fixed, warped: (L, N, C), intensities at the same points.
        counts: (L, N) bool; where it is False the intensities have no influence and no gradient, whatever they are.

    Returns:
        (L,) in nats: the mean of the network over pairs of a point, less the logarithm of the mean of its exponential
        over shuffled pairs, those of a point and the one before. Infinite for a row without a shuffled pair.
    """
    fixed, warped = (torch.where(counts[..., None], values, 0) for values in (fixed, warped))
    joint = network(torch.cat((fixed, warped), dim=-1))[..., 0]
    shuffled = network(torch.cat((fixed, warped.roll(1, 1)), dim=-1))[..., 0]
    both = counts & counts.roll(1, 1)
    mean = torch.where(counts, joint, 0).sum(1) / counts.sum(1)
    return mean - (shuffled.masked_fill(~both, -math.inf).logsumexp(1) - both.sum(1).log())


@dataclass
class _BestMap:
    """The best map so far, by the bound over the fixed sample, and how the search went.

    Attributes:
        best: (n,) coefficients of `_map`.
        before, after: that bound (mean over levels, all with the finest level's map) at the start and for the best.
        overlap: share of points that count at the start.
    """

    best: Tensor
    before: float = -math.inf
    after: float = -math.inf
    overlap: float = 0.0
    stopped: str = "iterations"
    history: tuple[float, ...] = field(default=())


def _fit(
    objective: InformationBounds, kind: Kind, options: RegistrationOptions, generator: torch.Generator
) -> _BestMap:
    """Trains the network at the start, then network and map together; keeps the best map.

    Args:
        objective: what is maximised.
        kind: of the map.
        options: iterations and step size, where they are not left open.
        generator: of the points.
    """
    grid, device = objective.pair.fixed_grid, objective.pair.device
    iterations = options.iterations or ITERATIONS
    step = options.learning_rate or _STEP * radius(grid)
    shared, own = (torch.zeros(len(basis(kind, grid.dimension)), device=device, requires_grad=True) for _ in range(2))
    groups: list[dict[str, Any]] = [
        {"params": [*objective.network.parameters()]},
        {"params": [shared]},
        {"params": [own]},
    ]
    optimizer = torch.optim.Adam(groups)
    judged_by = objective.draw(_JUDGED_BY, generator)
    fit = _BestMap(torch.zeros_like(shared))
    losses: list[Tensor] = []
    for iteration in range(-_WARM_UP, iterations + 1):
        last = iteration == iterations
        if iteration >= 0 and (last or iteration % _JUDGED_EVERY == 0):
            _judge(fit, objective, kind, (shared + own).detach(), judged_by)
            if last or fit.stopped == "diverged":
                break
        decay = (1 + math.cos(math.pi * iteration / iterations)) / 2 if iteration >= 0 else 0.0
        rates = _NETWORK_RATE, step * decay, _OWN_STEP * step * decay
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        coarse, finest = (_map(part, kind, grid) for part in (shared, shared + own))
        maps = [coarse] * (len(objective.levels) - 1) + [finest]
        loss = -objective.bounds(maps, objective.draw(SAMPLES, generator))[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    fit.history = tuple(torch.stack(losses).tolist())
    if fit.stopped != "diverged" and not fit.best.any():
        fit.stopped = "no improvement: dropped"
    return fit


@torch.no_grad()
def _judge(fit: _BestMap, objective: InformationBounds, kind: Kind, coefficients: Tensor, points: Tensor) -> None:
    """Compares a map with the best so far; the first one is the start. Reads two numbers back from the device.

    Args:
        fit: the best map so far, replaced by a better one.
        objective: what is maximised.
        kind: of the map.
        coefficients: (n,) of the map.
        points: the fixed sample (levels, N, D) in mm.
    """
    map_ = _map(coefficients, kind, objective.pair.fixed_grid)
    bounds, share = objective.bounds([map_] * len(objective.levels), points)
    value, overlap = float(bounds.mean()), float(share)
    if not fit.overlap:
        if not overlap or not math.isfinite(value):
            raise RegistrationError(
                "hardly a point of the fixed image lies in the moving one at the start",
                expected="images that overlap, within their masks",
                remedy="add the stage center, correct the headers, or give wider masks",
            )
        fit.before, fit.overlap = value, overlap
    if not math.isfinite(value) or overlap < _LEAST_OVERLAP * fit.overlap:
        fit.stopped = "diverged"
    elif value > fit.after:
        fit.best, fit.after = coefficients.clone(), value


def _map(coefficients: Tensor, kind: Kind, grid: Grid) -> Affine | Perspective:
    """The map of coefficients that are paced for one step size: all but the translations count `_SHAPE_STEP` times."""
    pace = torch.full_like(coefficients, _SHAPE_STEP)
    pace[: grid.dimension] = 1.0
    return transform_of(coefficients * pace, kind, grid)


def _objective(pair: ImagePair, options: RegistrationOptions, seed: int) -> InformationBounds:
    """What is maximised, from the identity or from where the stage center lays the images."""
    levels = _levels(pair, options.levels or LEVELS)
    centre = "center" in options.stages
    start = centred(pair, normalized_mutual_information()) if centre else Affine.identity(pair.dimension)
    network = mine(channels=len(pair.fixed), hidden=HIDDEN, seed=seed).network.to(pair.device)
    return InformationBounds(pair, start, levels, network)


def _levels(pair: ImagePair, count: int) -> tuple[Level, ...]:
    """The finest levels that are not too fine, coarse to fine, each channel with mean 0 and deviation 1.

    Coarse levels have little contrast left; scaled, they all suit the network that they share.
    """
    everything = level_count(pair.fixed_grid, _LEAST)
    levels = levels_of(pair, everything, least=_LEAST, many=FINEST**pair.dimension)[-count:]
    return tuple(replace(level, fixed=_standard(level.fixed), moving=_standard(level.moving)) for level in levels)


def _standard(image: Tensor) -> Tensor:
    """Each channel of (C, *S) with mean 0 and deviation 1; a constant one becomes 0."""
    flat = image.flatten(1)
    mean, deviation = flat.mean(1, keepdim=True), flat.std(1, keepdim=True)
    return ((flat - mean) / deviation.clamp_min(1e-6)).reshape(image.shape)


def _visible(pair: ImagePair, targets: Tensor) -> Tensor:
    """Whether points of the moving image's world lie in its field of view and its mask: (...) bool."""
    if pair.moving_mask is None:
        return inside(pair.moving_grid, targets)
    return sample(pair.moving_mask[None], pair.moving_grid, targets, mode="nearest", outside=0.0)[0] > 0


def _kind(options: RegistrationOptions) -> Kind:
    """The last linear stage asked for."""
    return next((kind for stage in reversed(options.stages) for kind in KINDS if kind == stage), "affine")


def _warnings(options: RegistrationOptions, stopped: str) -> tuple[str, ...]:
    warnings = []
    if stopped == "diverged":
        warnings.append(
            "The fit diverged and was stopped; the best map so far is returned. Try a smaller learning rate."
        )
    if stopped.endswith("dropped"):
        warnings.append("The fit found nothing better than its start, which is returned.")
    if "stages" in options.model_fields_set and "deformable" in options.stages:
        warnings.append(f"The method {METHOD} fits linear maps alone: the deformable stage was left out.")
    return tuple(warnings)
