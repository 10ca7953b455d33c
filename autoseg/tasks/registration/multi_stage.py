"""The default method: stage after stage, each from where the one before ended, none worse than its start."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from autoseg import plugins
from autoseg.tasks.registration import deformable
from autoseg.tasks.registration.deformable import default_levels, fit_composed
from autoseg.tasks.registration.forces import LOCAL_NCC, RADII
from autoseg.tasks.registration.levels import levels_of
from autoseg.tasks.registration.linear import LEAST, LEVELS, MANY, TURNS, centred, fit_linear
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, StageName, StageReport
from autoseg.tasks.registration.optimize import learnt
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.parametric import fit_spline, fit_velocity
from autoseg.tasks.registration.similarities.protocol import Similarity
from autoseg.tasks.registration.transforms import Affine, Displacement, SpatialTransform, as_displacement, compose

METHOD = "multi-stage"
DROPPED = "no improvement: dropped"
MINE = "mine"
TURNING: tuple[StageName, ...] = ("rigid", "similarity", "affine")
UNTRAINED_JUDGE = "normalized-mutual-information"

LINEAR_SIMILARITY, DEFORMABLE_SIMILARITY = "mutual-information", LOCAL_NCC
"""Where none is asked for. Mutual information asks no more than that what is alike in one image is alike in the other,
and has one wide basin: it serves scans of one modality, of two, and sections with different stains. Local correlation
has the sharper optimum once the images lie on each other; its square, in small windows, asks neither for equal
intensities nor for contrast of one sign."""


@dataclass(frozen=True)
class _Proposal:
    """What a stage would have, in place of what was before, and how it came to it."""

    linear: Affine
    deformation: Displacement | None = None
    history: tuple[float, ...] = ()
    stopped: str = "converged"

    @property
    def transform(self) -> SpatialTransform:
        return self.linear if self.deformation is None else compose(self.deformation, self.linear)


def multi_stage(
    pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device
) -> RegistrationResult:
    """Center, then linear stages, then a deformable one, each coarse to fine from where the one before ended.

    A stage that does not lower its own similarity, over the voxels that both its start and its end see, is dropped.
    Planes are turned by several angles before the first map that may rotate is fitted (`linear.TURNS`).

    Args:
        pair: on `device`.
        seed: of a similarity that draws at random (`mine`).

    Returns:
        An `Affine`, or a displacement of the whole fixed grid followed by one.

    Raises:
        ConfigurationError: an unknown similarity or regulariser.
        RegistrationError: the images do not overlap where the first stage starts.
    """
    now = _Proposal(Affine.identity(pair.dimension, pair.fixed_grid.centre))
    reports: list[StageReport] = []
    warnings: list[str] = []
    for number, stage in enumerate(options.stages):
        started = time.perf_counter()
        name = _similarity_of(stage, options)
        similarity = _similarity(name, pair, seed)
        turns = 1 if set(TURNING) & set(options.stages[:number]) else TURNS
        proposal = _propose(stage, pair, now.linear, name, similarity, options, turns)
        before, after = _compare(pair, stage, now.transform, proposal.transform, similarity)
        stopped = proposal.stopped
        if stopped == "diverged":
            warnings.append(f"The stage {stage} diverged and was stopped; its best map before that was kept.")
        if stage == "center" or after < before:
            now = proposal
        else:
            stopped = DROPPED
            warnings.append(f"The stage {stage} did not lower its similarity ({name}) and was dropped.")
        seconds = time.perf_counter() - started
        reports.append(
            StageReport(stage, name, before, after, len(proposal.history), seconds, stopped, proposal.history)
        )
    return RegistrationResult(now.transform, METHOD, tuple(reports), tuple(warnings))


def _similarity_of(stage: StageName, options: RegistrationOptions) -> str:
    if stage != "deformable":
        return options.similarity or LINEAR_SIMILARITY
    return options.deformable_similarity or options.similarity or DEFORMABLE_SIMILARITY


def _propose(
    stage: StageName,
    pair: ImagePair,
    start: Affine,
    name: str,
    similarity: Similarity,
    options: RegistrationOptions,
    turns: int,
) -> _Proposal:
    """What a stage would have in place of the map before it.

    Args:
        stage: which one.
        pair: the images.
        start: where the stage begins.
        name, similarity: the plug-in's name and what its factory made.
        options: what was asked.
        turns: angles from which a plane is tried.
    """
    # a network that has learnt nothing yet cannot judge where to start
    judge = _similarity(UNTRAINED_JUDGE, pair, 0) if learnt(similarity) else similarity
    if stage == "center":
        return _Proposal(centred(pair, judge))
    if stage != "deformable":
        linear = fit_linear(
            pair,
            stage,
            start,
            similarity,
            judge=judge,
            settings=options.fit_settings,
            simultaneous=options.simultaneous,
            turns=turns,
        )
        return _Proposal(linear.transform, None, linear.history, linear.stopped)
    if options.parameterisation == "diffeomorphic":
        fit = fit_composed(pair, start, name, similarity, levels=options.levels, iterations=options.iterations)
    else:
        fit = (fit_velocity if options.parameterisation == "velocity" else fit_spline)(
            pair,
            start,
            similarity,
            settings=options.fit_settings,
            regularizers=options.regularizers,
        )
    deformation = as_displacement(fit.transform, pair.whole_grid)
    deformation = Displacement(deformation.grid, deformation.field.cpu())
    return _Proposal(start, deformation, fit.history, fit.stopped)


def _compare(
    pair: ImagePair, stage: StageName, before: SpatialTransform, after: SpatialTransform, similarity: Similarity
) -> tuple[float, float]:
    """The similarity under two maps, over the voxels that both see.

    Args:
        pair: the images.
        stage: whose finest level they are compared at.
        before, after: the maps.
        similarity: a loss.

    Returns:
        The losses under either map; not a number where there is no such voxel.
    """
    if stage == "deformable":
        level = levels_of(pair, default_levels(pair.fixed_grid), least=LEAST, many=deformable.MANY)[-1]
    else:
        level = levels_of(pair, LEVELS, least=LEAST, many=MANY)[-1]
    with torch.no_grad():
        points = level.fixed_grid.points(level.fixed)
        indices = [level.moving_grid.to_index(transform(points)) for transform in (before, after)]
        seen = level.seen(indices[0]) & level.seen(indices[1])
        if not bool(seen.any()):
            return math.nan, math.nan
        losses = [float(similarity(level.fixed, level.warped(index), seen)) for index in indices]
        return losses[0], losses[1]


def _similarity(name: str, pair: ImagePair, seed: int) -> Similarity:
    factory = plugins.resolve("similarity", name)
    if name != MINE:
        similarity: Similarity = factory(radius=RADII[pair.dimension]) if name == LOCAL_NCC else factory()
        return similarity
    network: Similarity = factory(channels=len(pair.fixed), seed=seed).to(pair.device)
    return network
