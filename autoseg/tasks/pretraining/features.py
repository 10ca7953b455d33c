"""An encoder's features: of all its stages, of a masked image, and as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from autoseg.errors import ConfigurationError
from autoseg.networks.normalization import normalising_over
from autoseg.networks.structure import part_of, structure_of
from autoseg.plan.record import ConfigurationPlan
from autoseg.tasks.pretraining.blocks import at_resolution


def encoder_of(network: nn.Module, configuration: ConfigurationPlan) -> nn.ModuleList:
    """The encoder of a segmentation network: a module per stage, each halving what the plan says.

    Raises:
        ConfigurationError: it is not known which part of the network is its encoder, or that has not as many stages as
            the plan.
    """
    encoder = part_of(network, structure_of(network).encoder)
    if not isinstance(encoder, nn.ModuleList) or len(encoder) != configuration.stages:
        raise ConfigurationError(
            f"the network {configuration.network!r} cannot be pretrained",
            got="its encoder is not known" if encoder is None else f"an encoder of {_stages(encoder)} stages",
            expected=f"an encoder, a ModuleList of {configuration.stages} stages, that its `Structure` names "
            "(autoseg.networks.structure)",
            remedy="choose plain-unet or residual-encoder-unet",
        )
    return encoder


def decoder_of(network: nn.Module, configuration: ConfigurationPlan) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The enlarging layers and the stages of a segmentation network's decoder, lowest resolution first.

    Raises:
        ConfigurationError: it is not known which parts of the network these are, or they have not that many stages.
    """
    structure, stages = structure_of(network), configuration.stages - 1
    up, decoder = part_of(network, structure.upsamplings), part_of(network, structure.decoder)
    if isinstance(up, nn.ModuleList) and isinstance(decoder, nn.ModuleList) and len(up) == len(decoder) == stages:
        transposed = all(isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d) for layer in up)
        if transposed:
            return up, decoder
    raise ConfigurationError(
        f"the decoder of the network {configuration.network!r} cannot be pretrained",
        got="it is not known" if decoder is None else f"a decoder of {_stages(decoder)} stages",
        expected=f"transposed convolutions and decoder, {stages} stages each, that its `Structure` names "
        "(autoseg.networks.structure)",
        remedy="choose plain-unet or residual-encoder-unet, or --set training.options.parameters.decoder=light",
    )


def stage_features(encoder: Iterable[nn.Module], image: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
    """What each stage of an encoder gives, full resolution first, of an image of which blocks may be hidden.

    What is hidden is zero in the image and after every normalisation, which counts visible voxels alone: the dense form
    of a sparse convolution. Nothing hidden spreads inwards, and the features of what is visible are distributed as they
    are in a whole image, which is all that the encoder will see when it is used.

    Args:
        encoder: its stages, in order.
        image: (B, C, *space).
        hidden: (B, *grid) bool, True where a block is hidden; the grid divides the space of every stage. None: all is
            visible.

    Returns:
        (B, F_i, *space_i) per stage, 0 where hidden.

    Raises:
        TrainingError: the grid does not fit a stage.

    Source: Tian et al. 2023 (SparK), arXiv:2301.03580, section 3.1; Woo et al. 2023 (ConvNeXt V2), arXiv:2301.00808.
    """
    features, stages = _visible(image, hidden), []
    for stage in encoder:
        with nullcontext() if hidden is None else normalising_over(stage, ~hidden):
            features = _visible(stage(features), hidden)
        stages.append(features)
    return stages


def pooled(features: Tensor) -> Tensor:
    """One vector per image: mean and largest value over the places of (B, F, *space), (B, 2 F).

    Instance normalisation gives every image the same mean before the last activation, so that the mean after it says
    little; how far the largest value stands out tells images apart.
    """
    values = features.flatten(2)
    return torch.cat((values.mean(2), values.amax(2)), dim=1)


def pooled_visible(features: Tensor, hidden: Tensor) -> Tensor:
    """The same over the visible places under a mask (B, *grid), (B, 2 F); 0 where nothing is visible."""
    values, unseen = features.flatten(2), hidden.flatten(1).unsqueeze(1)
    mean = values.masked_fill(unseen, 0).sum(2) / (~unseen).sum(2).clamp(min=1)
    largest = values.masked_fill(unseen, -torch.inf).amax(2).masked_fill(unseen.all(2), 0)
    return torch.cat((mean, largest), dim=1)


def dense(features: Tensor) -> Tensor:
    """Features (B, F, *space) as one vector per place: (B, places, F)."""
    return features.flatten(2).transpose(1, 2)


def pooled_views(encoder: Iterable[nn.Module], views: Sequence[Tensor]) -> list[Tensor]:
    """The coarsest features of each view (B, C, *space), pooled: (B, 2 F). Views of one shape go through together."""
    stages = list(encoder)
    pooled_of: dict[int, Tensor] = {}
    for shape in dict.fromkeys(view.shape for view in views):
        same_shape = [index for index, view in enumerate(views) if view.shape == shape]
        features = torch.cat([views[index] for index in same_shape])
        for stage in stages:
            features = stage(features)
        pooled_of.update(zip(same_shape, pooled(features).chunk(len(same_shape)), strict=True))
    return [pooled_of[index] for index in range(len(views))]


def _stages(part: nn.Module) -> int:
    return len(list(part.children()))


def _visible(features: Tensor, hidden: Tensor | None) -> Tensor:
    if hidden is None:
        return features
    return features * (~at_resolution(hidden, features.shape[2:])).unsqueeze(1)
