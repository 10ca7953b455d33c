"""The numbers in which nnU-Net v2's planners differ, as a record: one instance per planner."""

from __future__ import annotations

from dataclasses import dataclass

BASE_FEATURES = 32
MAX_FEATURES = {2: 512, 3: 320}
MIN_BATCH = 2
REFERENCE_BATCH = {2: 12, 3: 2}
FIRST_PATCH_VOXELS = {2: 2048**2, 3: 256**3}
"""Voxels of the patch that the search starts from: larger than any memory the rules are made for."""

ANISOTROPY = 3.0
"""An axis this many times coarser than the next coarsest, and with as many times fewer voxels, is anisotropic."""

LOWRES_BELOW = 0.25
"""3d_lowres is planned where the full-resolution patch covers less than this share of the median image."""

LOWRES_GROWTH = 1.03
"""Factor by which the low resolution's spacing grows until the patch covers enough."""

LOWRES_MIN_SAVING = 2.0
"""3d_lowres is dropped where its median image does not have this many times fewer voxels."""


@dataclass(frozen=True)
class Rules:
    """What a planner of nnU-Net's family aims at.

    Attributes:
        name: plug-in name of the planner.
        network: plug-in name of the network.
        encoder_blocks: convolutions (plain) or residual blocks per stage; the last value holds for all deeper stages.
        decoder_blocks: convolutions per decoder stage.
        elements_2d, elements_3d: feature map elements (`networks.unet_layers`) of a network that fills
            `memory_gb` with the reference batch sizes.
        memory_gb: accelerator memory in GB that the reference values stand for.
        dataset_share: largest share of the data set's voxels in one batch.
        patch_fills_smallest_batch: the patch may grow until a batch of two fills the memory (nnU-Net's default);
            else until the reference batch does.
    """

    name: str
    network: str
    encoder_blocks: tuple[int, ...]
    decoder_blocks: int
    elements_2d: int
    elements_3d: int
    memory_gb: float = 8
    dataset_share: float = 0.05
    patch_fills_smallest_batch: bool = False

    def blocks(self, stages: int) -> tuple[int, ...]:
        """Blocks per stage of an encoder with that many stages."""
        deepest = len(self.encoder_blocks) - 1
        return tuple(self.encoder_blocks[min(stage, deepest)] for stage in range(stages))

    def features(self, stages: int, dimension: int) -> tuple[int, ...]:
        """Feature maps per stage: doubled from stage to stage up to a limit."""
        return tuple(min(BASE_FEATURES << stage, MAX_FEATURES[dimension]) for stage in range(stages))
