"""What a plan is: everything the data decided, for all configurations. What the user chose stands elsewhere."""

from __future__ import annotations

from math import prod
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.data.orientation import is_orientation_code
from autoseg.log import counted
from autoseg.records import Record

SEGMENTATION = "segmentation"
"""The task whose networks label voxels."""

PRETRAINING = "pretraining"
"""The task whose networks are encoders, trained on images without labels."""


class SamplerPlan(Record):
    """Which places of the images make a batch.

    Attributes:
        name: plug-in of kind "sampler".
        foreground_fraction: share of a batch whose patch is forced to hold a foreground class.
        class_weights: foreground name -> relative weight when the class is drawn; empty means equally likely.
    """

    name: str = "class-balanced"
    foreground_fraction: float = Field(default=1 / 3, ge=0, le=1)
    class_weights: dict[str, float] = {}


class TransformPlan(Record):
    """One step of the augmentation: a plug-in of kind "transform", its probability and its ranges."""

    name: str
    probability: float = Field(default=1.0, ge=0, le=1)
    options: dict[str, Any] = {}


class ConfigurationPlan(Record):
    """One network and its data: the planned size of everything. Axes in plan order, slowest first.

    Attributes:
        spacing: mm per voxel after resampling (2 or 3 values; a 2D plan leaves the slice axis alone).
        median_shape: median image in voxels at that spacing.
        patch_size: voxels of a network input.
        batch_size: patches per optimiser step.
        network: plug-in of kind "network".
        strides, kernel_sizes, features_per_stage: a value per stage, highest resolution first.
        blocks_per_stage: convolutions (plain) or residual blocks (residual encoder) per stage.
        decoder_blocks_per_stage: convolutions per decoder stage, in nnU-Net's order (deepest first).
        normalization, use_mask_for_norm: a value per channel.
        batch_dice: Dice over the whole batch as one image (else a value per sample).
        previous_stage: configuration whose prediction is an input (cascade).
        next_stage: configuration that takes this one's prediction.
        options: what a trainer of another task than segmentation needs beyond this, by the names of its own record;
            see `Plan.task`.
    """

    spacing: tuple[float, ...]
    median_shape: tuple[float, ...]
    patch_size: tuple[int, ...]
    batch_size: int = Field(ge=1)
    network: str = "plain-unet"
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    features_per_stage: tuple[int, ...]
    blocks_per_stage: tuple[int, ...]
    decoder_blocks_per_stage: tuple[int, ...]
    normalization: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    batch_dice: bool
    deep_supervision: bool = True
    sampler: SamplerPlan = SamplerPlan()
    augmentation: tuple[TransformPlan, ...] = ()
    mirror_axes: tuple[int, ...] = ()
    previous_stage: str | None = None
    next_stage: str | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuses sizes that no network can have, as they come from editing a plan by hand."""
        for name in ("kernel_sizes", "features_per_stage", "blocks_per_stage"):
            if len(getattr(self, name)) != self.stages:
                got = counted(len(getattr(self, name)), "entry")
                raise ValueError(f"{name} has {got} for {counted(self.stages, 'stage')} in strides")
        if len(self.decoder_blocks_per_stage) != self.stages - 1:
            raise ValueError(
                f"decoder_blocks_per_stage needs {self.stages - 1} entries, one less than there are stages"
            )
        for axis, size in enumerate(self.patch_size):
            divisor = prod(stride[axis] for stride in self.strides)
            if size % divisor:
                raise ValueError(f"patch_size {list(self.patch_size)}: axis {axis} must be a multiple of {divisor}")
        return self

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.patch_size)

    @property
    def stages(self) -> int:
        """Resolution stages of the network."""
        return len(self.strides)


STORED = ("spacing", "patch_size", "normalization", "use_mask_for_norm")
"""Fields of a configuration that its preprocessed cases depend on; the patch size decides how they lie on disk."""


class Plan(Record):
    """The decisions for a data set.

    Attributes:
        planner: plug-in of kind "planner" that made it.
        task: what its networks do; the task's own trainer is the plug-in of that name.
        orientation: to which side of the patient the array axes (z, y, x) run that the plan sees, as
            `autoseg.data.orientation.orientation_code` has it; images stored otherwise are turned to it, and their
            predictions back. None takes every image as it is stored.
        transpose_forward: order of these axes in every configuration: plan axis i is array axis
            `transpose_forward[i]`.
        channels, labels, intensities: taken over from the data, so that a model needs only its plan.
        file_ending: ending of the predictions.
    """

    format: Literal[1] = 1
    dataset: str
    planner: str
    task: str = SEGMENTATION
    channels: tuple[str, ...]
    labels: LabelScheme
    dimension: int
    orientation: str | None = None
    transpose_forward: tuple[int, int, int]
    intensities: tuple[IntensityStatistics, ...]
    file_ending: str
    configurations: dict[str, ConfigurationPlan]
    warnings: tuple[str, ...] = ()

    @field_validator("orientation")
    @classmethod
    def _names_three_directions(cls, code: str | None) -> str | None:
        if code is not None and not is_orientation_code(code):
            raise ValueError(f"{code!r} has not one letter each of I or S, A or P, R or L")
        return code
