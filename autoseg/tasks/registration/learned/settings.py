"""What a network that registers is: its grid, its shape and what it is trained for."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from autoseg.records import Record

Supervision = Literal["none", "labels", "deformations"]
Pairing = Literal["all", "atlas"]


class LearnedPlan(Record):
    """The decisions for a learned registration, as they stand in a run.

    Attributes:
        shape: voxels of the network's grid along its D axes, 2 or 3; each a multiple of `divisor`.
        spacing: mm between neighbours of that grid.
        features: width of each stage of the network; stage i sees the grid shrunk by flow_stride * 2^i.
        flow_stride: voxels of the grid along each axis for one voxel of the predicted velocity.
        levels: stages that predict a velocity, counted from the finest. 1, without correlation: one U-Net over both
            images (VoxelMorph). More: coarse to fine, each adds to the velocity of the one before, by which the moving
            features are warped.
        stacks: networks in a row, each on the pair as warped by those before.
        correlation_radius: voxels of a stage over which features of both images are compared (FlowNet); 0: not at all.
        integration_steps: squarings of a stationary velocity field; 0: what is predicted is the displacement.
        normalize: instance normalisation after convolutions.
        supervision: what the training lowers: "none", the dissimilarity of the images; "labels", also the mismatch of
            their labels; "deformations", the distance to known random deformations (and nothing else).
        similarity, similarity_options: plug-in of kind "similarity" and its options.
        detail: how many times over what a Gaussian of one voxel takes away is added to images before comparison.
        scales: resolutions at which images are compared, each half of the one before; coarse ones judge coarse levels.
        regularizer: plug-in of kind "regularizer", of the velocity in voxels (of the displacement, without one).
        regularization: its weight.
        hyper_range: lowest and highest weight, if the weight is drawn for each pair and given to the network, so that
            it can be chosen after training (HyperMorph); `regularization` is then what is used until it was chosen.
        folding_weight: of the mean negative part of the Jacobian determinant.
        both_directions: the loss also compares the fixed image, warped by the inverse, with the moving one.
        inverse_consistency: weight of the distance between the velocity of a pair and minus that of the swapped pair;
            not 0 doubles the work.
        labels: foreground labels that the loss measures; 0 without label supervision.
        label_weight: of one minus Dice of warped labels.
        recognition_weight: with label supervision, of the loss of a part of the network that names the labels of each
            image by itself and hands their probabilities on beside the images; 0: there is no such part.
        amplitude: voxels, standard deviation of known random deformations.
        pairing: "all", every case with every other; "atlas", every case with one.
        atlas: identifier of that one, the moving image of each pair.
        batch_size: pairs per step.
        learning_rate: the highest of the schedule, for Adam.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    features: tuple[int, ...] = (16, 48, 64, 64)
    flow_stride: int = Field(default=2, ge=1)
    levels: int = Field(default=4, ge=1)
    stacks: int = Field(default=1, ge=1)
    correlation_radius: int = Field(default=1, ge=0, le=4)
    integration_steps: int = Field(default=5, ge=0, le=10)
    normalize: bool = True
    supervision: Supervision = "none"
    similarity: str = "local-ncc"
    similarity_options: dict[str, float] = {}
    detail: float = Field(default=3.0, ge=0)
    scales: int = Field(default=3, ge=1)
    regularizer: str = "diffusion"
    regularization: float = Field(default=0.1, ge=0)
    hyper_range: tuple[float, float] | None = None
    folding_weight: float = Field(default=0.0, ge=0)
    both_directions: bool = True
    inverse_consistency: float = Field(default=0.0, ge=0)
    labels: int = Field(default=0, ge=0)
    label_weight: float = Field(default=4.0, ge=0)
    recognition_weight: float = Field(default=0.0, ge=0)
    amplitude: float = Field(default=3.0, gt=0)
    pairing: Pairing = "all"
    atlas: str | None = None
    batch_size: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuses what no network can be, as it comes from editing a plan by hand."""
        if not len(self.shape) == len(self.spacing) in (2, 3):
            raise ValueError(f"shape {list(self.shape)} and spacing {list(self.spacing)} need two or three axes each")
        if min(self.spacing) <= 0:
            raise ValueError(f"spacing {list(self.spacing)} must be above 0")
        if not self.features or min(self.features) < 1:
            raise ValueError(f"features {list(self.features)} need one positive number per stage")
        if any(length % self.divisor or length < 1 for length in self.shape):
            raise ValueError(f"shape {list(self.shape)}: each axis must be a multiple of {self.divisor}")
        if self.levels > len(self.features):
            raise ValueError(f"{self.levels} levels need as many stages, features has {len(self.features)}")
        if (self.pairing == "atlas") != (self.atlas is not None):
            raise ValueError("pairing by atlas needs the identifier of the atlas, and only that does")
        if self.supervision == "labels" and self.labels < 1:
            raise ValueError("supervision by labels needs the number of labels")
        if self.hyper_range is not None and not 0 < self.hyper_range[0] < self.hyper_range[1]:
            raise ValueError(f"hyper_range {list(self.hyper_range)} must rise from a number above 0")
        return self

    @property
    def dimension(self) -> int:
        """D: 2 or 3."""
        return len(self.shape)

    @property
    def recognizes(self) -> bool:
        """Whether the network names the labels of each image before it compares two."""
        return self.supervision == "labels" and self.recognition_weight > 0

    @property
    def divisor(self) -> int:
        """Each axis of `shape` is a multiple of it."""
        return self.flow_stride * 2 ** (len(self.features) - 1)
