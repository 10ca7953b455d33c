"""A trained network as a function from two images to a transform between their worlds."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autoseg import plugins
from autoseg.data.image import Image
from autoseg.errors import ConfigurationError, RegistrationError
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.tasks.registration.deformable import Updates, fit_composed
from autoseg.tasks.registration.learned.fields import Flow, warp
from autoseg.tasks.registration.learned.network import RegistrationNetwork
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.learned.recognition import probabilities
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.methods import RegistrationResult, StageReport
from autoseg.tasks.registration.optimize import TransformFit
from autoseg.tasks.registration.pair import ImagePair, scaled
from autoseg.tasks.registration.space import Grid, inside, sample
from autoseg.tasks.registration.trainer.network_grid import (
    NetworkImage,
    centred,
    continued,
    covered,
    first_voxel,
    prepare_image,
)
from autoseg.tasks.registration.trainer.pairs import Pairs
from autoseg.tasks.registration.trainer.task import correlation
from autoseg.tasks.registration.transforms import Affine, Displacement, as_displacement, compose
from autoseg.training.runtime import Runtime

METHOD = "learned"
CORRELATION = "correlation"
SSD = "ssd"
NAMED = "named labels"
UPDATES = 3
"""Of a pair after a network that learnt from images alone. Most of what can be gained is gained by so many."""

LABEL_UPDATES = 5
"""After a network that names labels: they compare what it has named in both images."""

BY_LABELS = Updates(step=0.8, fluid=1.0, elastic=0.3)
"""Probabilities have less noise than images, and one border each: updates by them may be longer and less smooth. Chosen
by Dice over pairs of training cases of one data set (hippocampus, MR)."""

_NAMED = 0.02
"""Probability from which a voxel counts as part of a label, when it comes to where labels are compared."""

_MARGIN = 4
"""Voxels around labels that updates move: smoothing carries an update no further."""

_MUCH_LARGER = 1.25
"""An image that is longer than the network's grid by this factor is mostly moved by the deformation at its border."""


@dataclass(frozen=True)
class PairOnGrid:
    """A pair on a network's grid.

    Attributes:
        images: the fixed and the moving one, each on the voxels that it has at the network's spacing.
        batch: of one pair.
        grid: the network's grid in the fixed image's world.
        linear: from there to the moving image's world; what the network adds is applied before.
        warnings: in sentences.
    """

    images: tuple[NetworkImage, NetworkImage]
    batch: PairBatch
    grid: Grid
    linear: Affine
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RegistrationModel:
    """One network with all that it takes to use it.

    Attributes:
        plan, configuration: of the run, with the choices of the training.
        learned: what the network is.
        network: on the runtime's device, in evaluation mode.
        runtime: where and how it computes.
        regularization: weight given to a network that takes one; None for others.
    """

    plan: Plan
    configuration: ConfigurationPlan
    learned: LearnedPlan
    network: RegistrationNetwork
    runtime: Runtime
    regularization: float | None = None

    def with_regularization(self, weight: float) -> RegistrationModel:
        """The same network with another weight of the regulariser.

        Raises:
            ConfigurationError: the network was not trained for that choice, or for other weights.
        """
        allowed = self.learned.hyper_range
        if allowed is None:
            raise ConfigurationError(
                "the model has one regularisation, the one it was trained with",
                got=f"a weight of {weight:g}",
                remedy="leave the weight out, or train with a range of weights: "
                "--set 'training.options.hyper_range=[0.1, 10]'",
            )
        if not allowed[0] <= weight <= allowed[1]:
            raise ConfigurationError(
                "the network was trained for other weights of the regularisation",
                got=f"{weight:g}",
                expected=f"{allowed[0]:g} to {allowed[1]:g}",
            )
        return replace(self, regularization=weight)

    def register(
        self, fixed: Image, moving: Image, *, linear: Affine | None = None, instance_iterations: int | None = None
    ) -> RegistrationResult:
        """Registers two images.

        Args:
            fixed, moving: of the model's dimension and channels, on any grids.
            linear: where the network starts, fixed world to moving world; None lays the images' middles on each other.
            instance_iterations: updates of this very pair after the network; 0 for none. None: `UPDATES`; after a
                network that names labels `LABEL_UPDATES`, by these; none after one that learnt from labels without
                naming any, which knows more than the images say.

        Returns:
            A displacement of the fixed image's whole grid, followed by an affine map.

        Raises:
            RegistrationError: another dimensionality than the model's, or no common one.
            ImageError: other channels than the model's.
        """
        started = time.perf_counter()
        pair = self.on_grid(fixed, moving, linear)
        batch = self._on_device(pair.batch)
        flow = self.flow(batch)
        before = float(correlation(batch, None))
        after, networked = float(correlation(batch, flow.forward)), time.perf_counter()
        stages = [StageReport("network", CORRELATION, -before, -after, 1, networked - started, "done")]
        deformation = _in_world(flow.forward[0], pair.grid)
        updates = self._updates if instance_iterations is None else instance_iterations
        if updates:
            compared, fit = self._refined(pair, flow, deformation, updates)
            deformation, seconds = fit.transform, time.perf_counter() - networked
            ends = fit.history[0], min(fit.history)
            stages.append(StageReport("instance", compared, *ends, fit.iterations, seconds, fit.stopped, fit.history))
        displacement = as_displacement(deformation, Grid.of(fixed))
        return RegistrationResult(compose(displacement, pair.linear), METHOD, tuple(stages), pair.warnings)

    @property
    def _updates(self) -> int:
        if self.learned.recognizes:
            return LABEL_UPDATES
        return 0 if self.learned.supervision == "labels" else UPDATES

    def _refined(
        self, pair: PairOnGrid, flow: Flow, initial: Displacement, iterations: int
    ) -> tuple[str, TransformFit[Displacement]]:
        """The last level of the classical deformable stage, from where the network ended.

        Args:
            pair: the images on the network's grid.
            flow: what the network says of them.
            initial: the same as displacements in the world.
            iterations: updates.

        Returns:
            What is compared, in words or as the name of a similarity, and the fit.

        Source: the idea of optimising single pairs after the network is of Balakrishnan et al. 2019, IEEE TMI 38(8);
        by labels that a network has named: Siebert et al. 2021, MICCAI Learn2Reg.
        """
        if flow.recognized is not None:
            return NAMED, _refined_by_labels(flow, pair.grid, initial, iterations)
        name, (fixed, moving) = self.learned.similarity, pair.images
        both = ImagePair(
            scaled("fixed image", fixed.values.numpy()),
            scaled("moving image", moving.values.numpy()),
            fixed.grid,
            moving.grid,
        ).to(self.runtime.device)
        similarity = plugins.resolve("similarity", name)(**self.learned.similarity_options)
        return name, fit_composed(both, pair.linear, name, similarity, levels=1, iterations=iterations, initial=initial)

    @torch.no_grad()
    def flow(self, batch: PairBatch) -> Flow:
        """What the network says of pairs on its device, asked both ways round where it can be."""
        with self.runtime.autocast():
            flow: Flow = self.network(batch.fixed, batch.moving, batch.weight, both_ways=True)
        return flow

    def _on_device(self, batch: PairBatch) -> PairBatch:
        """The pairs where the network is, with the weight of its regulariser if it takes one."""
        if self.regularization is not None:
            batch = replace(batch, weight=batch.fixed.new_full((len(batch.fixed),), self.regularization))
        layout = self.runtime.memory_format(self.learned.dimension)
        return Pairs(batch, (), 0).to(self.runtime.device, layout).data

    def on_grid(self, fixed: Image, moving: Image, linear: Affine | None = None) -> PairOnGrid:
        """Both images normalised on the network's grid; see `register`."""
        for name, image in (("fixed", fixed), ("moving", moving)):
            if image.geometry.dimension != self.learned.dimension:
                raise RegistrationError(
                    f"the {name} image has another dimensionality than the model",
                    got=f"{image.geometry.dimension}D",
                    expected=f"{self.learned.dimension}D",
                    remedy="use a model that was trained on such images, or leave --model out",
                )
        target, source = (prepare_image(image, self.plan, self.configuration) for image in (fixed, moving))
        grid = centred(target.grid, self.learned.shape)
        values, mask = self._cut(target)
        if linear is None:
            linear = _middles(grid, centred(source.grid, self.learned.shape))
            moved, moving_mask = self._cut(source)
        else:
            points = linear(grid.points(torch.zeros((), dtype=torch.float64)))
            moved, moving_mask = sample(source.values, source.grid, points), inside(source.grid, points)
        batch = PairBatch(values[None], moved.float()[None], mask[None], moving_mask[None])
        warnings = tuple(
            warning
            for name, prepared in (("fixed", target), ("moving", source))
            if (warning := self._too_large(name, prepared)) is not None
        )
        return PairOnGrid((target, source), batch, grid, linear, warnings)

    def _cut(self, prepared: NetworkImage) -> tuple[Tensor, Tensor]:
        """An image (C, *S) on the network's grid, and where it has values (*S)."""
        size, shape = self.learned.shape, prepared.grid.shape
        start = first_voxel(shape, size)
        values = torch.from_numpy(continued(prepared.values.numpy(), start, size))
        return values, torch.from_numpy(covered(shape, start, size))

    def _too_large(self, name: str, prepared: NetworkImage) -> str | None:
        lengths = zip(prepared.grid.shape, self.learned.shape, strict=True)
        if all(length <= _MUCH_LARGER * seen for length, seen in lengths):
            return None
        reach = " x ".join(f"{n * s:.0f}" for n, s in zip(self.learned.shape, self.learned.spacing, strict=True))
        own = " x ".join(f"{n * s:.0f}" for n, s in zip(prepared.grid.shape, prepared.grid.spacing, strict=True))
        return (
            f"The {name} image shows {own} mm, and the network sees the {reach} mm in its middle; beyond, the "
            "deformation at the border goes on. Crop the image to what the model was trained on."
        )


def _refined_by_labels(flow: Flow, grid: Grid, initial: Displacement, iterations: int) -> TransformFit[Displacement]:
    """Updates that lay the labels named in both images on each other, around them; the rest stays as it was.

    Args:
        flow: what the network says, with the labels that it has named.
        grid: the network's.
        initial: where the updates begin.
        iterations: how many there are.
    """
    assert flow.recognized is not None
    fixed, moving = probabilities(flow.recognized.float())
    seen = torch.maximum(fixed, warp(moving[None], flow.forward.to(moving))[0]).amax(dim=0) > _NAMED
    box = _around(seen, _MARGIN)
    inner = Grid(
        tuple(part.stop - part.start for part in box),
        grid.matrix,
        tuple(grid.to_world(torch.tensor([part.start for part in box], dtype=torch.float64)).tolist()),
    )
    field = initial.field.to(fixed)
    inside = (slice(None), *box)
    matrix, zeros = torch.eye(grid.dimension, dtype=torch.float64), torch.zeros(grid.dimension, dtype=torch.float64)
    fit = fit_composed(
        ImagePair(fixed[inside].contiguous(), moving, inner, grid), Affine(matrix, zeros, zeros), SSD,
        plugins.resolve("similarity", SSD)(), levels=1, iterations=iterations,
        initial=Displacement(inner, field[inside].contiguous()), updates=BY_LABELS,
    )  # fmt: skip
    whole = field.clone()
    whole[inside] = fit.transform.field.to(whole)
    return replace(fit, transform=Displacement(grid, whole.cpu()))


def _around(seen: Tensor, margin: int) -> tuple[slice, ...]:
    """The box of true voxels (*S) with a margin, within the array; all of it where none is true."""
    box = []
    for axis, length in enumerate(seen.shape):
        others = [other for other in range(seen.ndim) if other != axis]
        index = seen.any(dim=others).nonzero().flatten().tolist() or [0, length - 1]
        box.append(slice(max(0, index[0] - margin), min(length, index[-1] + 1 + margin)))
    return tuple(box)


def _middles(fixed: Grid, moving: Grid) -> Affine:
    """The map of the voxels of one grid to those of another of the same shape."""
    matrices = [torch.tensor(grid.matrix, dtype=torch.float64) for grid in (fixed, moving)]
    origins = [torch.tensor(grid.origin, dtype=torch.float64) for grid in (fixed, moving)]
    return Affine(matrices[1] @ torch.linalg.inv(matrices[0]), origins[1] - origins[0], origins[0])


def _in_world(flow: Tensor, grid: Grid) -> Displacement:
    """A flow (D, *S) in voxels of a grid as displacements in mm."""
    matrix = torch.tensor(grid.matrix, dtype=torch.float32)
    field = torch.einsum("ij,j...->i...", matrix, flow.float().cpu())
    return Displacement(grid, field)
