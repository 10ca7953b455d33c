"""What another network must know to start from a pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autoseg.networks.build import build_network
from autoseg.networks.transfer import Transfer, transfer_weights
from autoseg.plan.layers import input_channels
from autoseg.plan.record import Plan
from autoseg.records import Record
from autoseg.tasks.pretraining.network import HANDED_ON
from autoseg.tasks.pretraining.trainer.sources import Sources, sources_file
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.context import SeenImages
from autoseg.workspace import Run

_ENCODER = "encoder."


class Adaptation(Record):
    """The adaptation plan of a pretrained checkpoint (in the manner of Wald et al. 2024, arXiv:2412.17041).

    Attributes:
        method: that the encoder was trained by.
        configuration: its name in the run's plan.
        network: plug-in of kind "network" whose encoder it is.
        channels, normalization, use_mask_for_norm: a value per image channel.
        spacing: mm per voxel that images had.
        patch_size: voxels of its input.
        transpose_forward: order of the array axes.
        strides, kernel_sizes, features_per_stage, blocks_per_stage: a value per stage.
        encoder: names of its tensors in the checkpoint.
        decoder: those of the decoder; none where the method trains the encoder alone.
        stem: the one that depends on the number of channels.
        images: digests of the voxels of all images that it was trained on, so that validating on them is refused; in a
            checkpoint once it is final.
    """

    method: str
    configuration: str
    network: str
    channels: tuple[str, ...]
    normalization: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    spacing: tuple[float, ...]
    patch_size: tuple[int, ...]
    transpose_forward: tuple[int, int, int]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    features_per_stage: tuple[int, ...]
    blocks_per_stage: tuple[int, ...]
    encoder: tuple[str, ...]
    decoder: tuple[str, ...] = ()
    stem: str
    images: tuple[str, ...] = ()


def adaptation_of(plan: Plan, name: str, method: str, weights: Mapping[str, Tensor]) -> Adaptation:
    """The adaptation plan of a network's weights.

    Args:
        plan: of the pretraining.
        name: of its configuration.
        method: of the pretraining.
        weights: state dict of a `PretrainingNetwork`.
    """
    configuration = plan.configurations[name]
    handed = handed_on(weights)
    same = set(Adaptation.model_fields) & set(type(configuration).model_fields)
    return Adaptation(
        method=method,
        configuration=name,
        channels=plan.channels,
        transpose_forward=plan.transpose_forward,
        encoder=tuple(name for name in handed if name.startswith(_ENCODER)),
        decoder=tuple(name for name in handed if not name.startswith(_ENCODER)),
        stem=next(name for name, tensor in handed.items() if tensor.ndim > 3),
        **{field: getattr(configuration, field) for field in same},
    )


def handed_on(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of encoder and decoder in a pretraining's weights, without those of its heads."""
    return {name: tensor for name, tensor in weights.items() if name.startswith(HANDED_ON)}


def starting_tensors(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a pretraining's checkpoint that another training starts from: those without its heads."""
    return handed_on(checkpoint["network"])


def seen_images(pretrained: Path) -> SeenImages:
    """The images of a pretraining: of its run folder, or of its final checkpoint, which lists them too."""
    if pretrained.is_dir():
        sources = Sources.load(sources_file(Run(pretrained)))
        return SeenImages(tuple(sources.digests.values()), sources.hold_out)
    return SeenImages(load_checkpoint(pretrained).get("adaptation", {}).get("images", ()))


def try_adaptation(plan: Plan, name: str, weights: Mapping[str, Tensor], *, where: object = None) -> Transfer:
    """Loads what a pretraining hands on into the segmentation network of a plan, to see what becomes of each tensor.

    Args:
        plan: of the segmentation.
        name: of its configuration.
        weights: name -> tensor, of the pretrained network.
        where: they come from, for the message.

    Raises:
        ConfigurationError: nothing fits.
    """
    configuration = plan.configurations[name]
    channels = input_channels(configuration, len(plan.channels), plan.labels)
    network: nn.Module = build_network(configuration, channels, max(2, plan.labels.outputs), seed=0)
    return transfer_weights(network, handed_on(weights), where=where)
