"""Methods of registration: what they are asked, what they return, and the door to all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import torch
from pydantic import Field, field_validator

from autoseg import plugins
from autoseg.records import Record
from autoseg.tasks.registration.optimize import FitSettings
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.transforms import SpatialTransform

StageName = Literal["center", "translation", "rigid", "similarity", "affine", "deformable"]
STAGES: tuple[StageName, ...] = get_args(StageName)
Parameterisation = Literal["diffeomorphic", "velocity", "b-spline"]


class RegistrationOptions(Record):
    """What the user asks of a registration; None is the method's own choice.

    Attributes:
        stages: in the order in which they run; each starts where the one before ended.
        similarity: name of the plug-in for all stages.
        deformable_similarity: of the deformable stage, if it is to be another.
        parameterisation: of the deformable stage: composed smooth updates, a stationary velocity field, or a cubic
            B-spline free-form deformation (the last two are fitted by Adam with `regularizers`).
        regularizers: name of the plug-in -> weight, for `velocity` and `b-spline`.
        levels: resolutions of the pyramid.
        iterations: at most, at each level.
        learning_rate: step size of Adam, in mm (a linear stage's parameters count in mm at the image's edge).
        simultaneous: linear stages fit all levels in one objective instead of coarse to fine.
    """

    stages: tuple[StageName, ...] = ("center", "affine", "deformable")
    similarity: str | None = None
    deformable_similarity: str | None = None
    parameterisation: Parameterisation = "diffeomorphic"
    regularizers: dict[str, float] | None = None
    levels: int | None = Field(default=None, ge=1)
    iterations: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    simultaneous: bool = False

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: tuple[StageName, ...]) -> tuple[StageName, ...]:
        if not stages:
            raise ValueError("at least one stage is needed")
        if "deformable" in stages[:-1]:
            raise ValueError("the stage deformable is the last one")
        return stages

    @property
    def fit_settings(self) -> FitSettings:
        """How each stage is fitted."""
        return FitSettings(self.levels, self.iterations, self.learning_rate)


@dataclass(frozen=True)
class StageReport:
    """What one stage did.

    Attributes:
        name: of the stage.
        similarity: name of the plug-in it optimised.
        before, after: that similarity as a loss (lower is better) at its start and end, over the same voxels.
        iterations: done, all levels together.
        seconds: wall clock.
        stopped: why it ended ("converged", "iterations", "diverged", "no improvement: dropped").
        history: the loss, iteration by iteration.
    """

    name: str
    similarity: str
    before: float
    after: float
    iterations: int
    seconds: float
    stopped: str
    history: tuple[float, ...] = ()


@dataclass(frozen=True)
class RegistrationResult:
    """A registration.

    Attributes:
        transform: maps points of the fixed image's world to the moving image's world, on the CPU.
        method: name of the plug-in.
        stages: in the order in which they ran.
        warnings: what the user should know, in sentences.
    """

    transform: SpatialTransform
    method: str
    stages: tuple[StageReport, ...] = ()
    warnings: tuple[str, ...] = field(default=())


class RegistrationMethod(Protocol):
    """A plug-in of kind `registration`."""

    def __call__(
        self, pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device
    ) -> RegistrationResult:
        """Registers a pair.

        Args:
            pair: the images, on `device`.
            options: what the user asks of the method.
            seed: of what it draws at random.
            device: where it computes.

        Raises:
            RegistrationError: the images cannot be registered.
        """
        ...


def register(
    pair: ImagePair,
    options: RegistrationOptions | None = None,
    *,
    method: str = "multi-stage",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> RegistrationResult:
    """Registers a pair by a method.

    Args:
        pair: the images.
        options: defaults if None.
        method: name of a plug-in of kind `registration`.
        seed: of what a method draws at random.
        device: where it computes.

    Raises:
        ConfigurationError: an unknown method, similarity or regulariser.
        RegistrationError: the images cannot be registered.
    """
    device = torch.device(device)
    plugin: RegistrationMethod = plugins.resolve("registration", method)
    return plugin(pair.to(device), options or RegistrationOptions(), seed=seed, device=device)
