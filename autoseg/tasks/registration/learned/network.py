"""The network that predicts how to register a pair: from one U-Net to coarse-to-fine levels and stacks of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from autoseg.errors import ConfigurationError
from autoseg.networks.blocks import convolution
from autoseg.networks.structure import Structure
from autoseg.tasks.registration.learned.conditioning import WeightCode
from autoseg.tasks.registration.learned.correlation import offsets
from autoseg.tasks.registration.learned.fields import Flow, flow_of, integrate, resize_flow, warp
from autoseg.tasks.registration.learned.recognition import Recognition, probabilities
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.learned.stages import Encoder, Refinement

_SMALL = 1e-5
"""Deviation of a velocity head's first weights: the network starts as the identity, but with gradients."""


class VelocityNetwork(nn.Module):
    """An encoder of both images and a decoder that predicts a velocity at its finest stages.

    With one level and no correlation the encoder sees both images at once, as channels, and the decoder is that of a
    U-Net: VoxelMorph (Balakrishnan et al. 2019, IEEE TMI 38(8)). Otherwise one encoder sees each image by itself.
    At each level the features of the moving image are warped by the velocity so far, the decoder compares them with
    those of the fixed image, and what it finds is added to the velocity: the levels of LapIRN (Mok and Chung 2020,
    MICCAI, arXiv:2006.16148) on shared features, as in PWC-Net (Sun et al. 2018, CVPR).
    """

    def __init__(self, plan: LearnedPlan, channels: int) -> None:
        super().__init__()
        self.plan = plan
        self.together = plan.levels == 1 and plan.correlation_radius == 0
        self.encoder = Encoder(plan, 2 * channels if self.together else channels)
        self.code = WeightCode(plan.hyper_range) if plan.hyper_range is not None else None
        self.decoder, self.heads = nn.ModuleList(), nn.ModuleList()
        below = 0
        for stage in reversed(range(len(plan.features))):
            width = plan.features[stage]
            inputs = (width if self.together else 2 * width) + below
            inputs += len(offsets(plan.correlation_radius, plan.dimension)) if plan.correlation_radius else 0
            self.decoder.append(Refinement(plan, inputs, width, self.code.width if self.code else 0))
            predicts = stage < plan.levels
            self.heads.append(_head(plan.dimension, width) if predicts else nn.Identity())
            below = width

    def forward(self, fixed: Tensor, moving: Tensor, weight: Tensor | None, *, both_ways: bool = False) -> list[Tensor]:
        """The velocities of a pair.

        Args:
            fixed, moving: (B, C, *plan.shape).
            weight: (B,) of the regulariser; None for a network that takes none, or for the plan's.
            both_ways: whether the swapped pairs are asked too.

        Returns:
            Velocities (B, D, *) of all levels, fine to coarse, each in voxels of its own grid; (2 B, D, *) both ways,
            the swapped pairs after the others.
        """
        if both_ways and weight is not None:
            weight = torch.cat((weight, weight))
        pyramids = self._pyramids(fixed, moving, both_ways)
        code = self._encoded(weight, pyramids[0][0])
        velocity: Tensor | None = None
        state: Tensor | None = None
        velocities: list[Tensor] = []
        for block, head, features in zip(self.decoder, self.heads, reversed(pyramids), strict=True):
            if len(features) == 2 and velocity is not None:
                size = features[0].shape[2:]
                # integrated where it is smooth and small, then enlarged: as good, and much less work
                shift = resize_flow(integrate(velocity, self.plan.integration_steps), size)
                velocity = resize_flow(velocity, size)
                features = (features[0], warp(features[1], shift))
            state = block(features, state, code)
            if not isinstance(head, nn.Identity):
                change = head(state).float()
                velocity = change if velocity is None else velocity + change
                velocities.insert(0, velocity)
        return velocities

    def _pyramids(self, fixed: Tensor, moving: Tensor, both_ways: bool) -> list[tuple[Tensor, ...]]:
        """A stage's features of the pair, or of the fixed and the moving image; finest stage first."""
        images = torch.cat((fixed, moving))
        if self.together:
            pairs = torch.cat((fixed, moving), dim=1)
            if both_ways:
                pairs = torch.cat((pairs, torch.cat((moving, fixed), dim=1)))
            return [(features,) for features in self.encoder(pairs)]
        pyramid = [tuple(features.chunk(2)) for features in self.encoder(images)]
        # an image's features do not depend on the other one: each image is seen once
        return [(torch.cat(pair), torch.cat(pair[::-1])) for pair in pyramid] if both_ways else pyramid

    def _encoded(self, weight: Tensor | None, like: Tensor) -> Tensor | None:
        if self.code is None:
            if weight is not None:
                raise ConfigurationError("the network was not made for a choice of the regularisation", got="a weight")
            return None
        if weight is None:
            weight = like.new_full((len(like),), self.plan.regularization)
        code: Tensor = self.code(weight)
        return code


class RegistrationNetwork(nn.Module):
    """One `VelocityNetwork`, or several in a row, each on the pair as warped by those before.

    Source of stacks: Ilg et al. 2017, CVPR, FlowNet 2.0; Zhao et al. 2019, ICCV, recursive cascaded networks.
    """

    def __init__(self, plan: LearnedPlan, channels: int) -> None:
        super().__init__()
        self.plan = plan
        self.recognition = Recognition(plan, channels) if plan.recognizes else None
        seen = channels + (plan.labels if plan.recognizes else 0)
        self.stacked = nn.ModuleList(VelocityNetwork(plan, seen) for _ in range(plan.stacks))
        sees_first = "stacked.0" if self.recognition is None else "recognition"
        self.structure = Structure(stem=f"{sees_first}.encoder.stages.0.0.conv")

    def forward(self, fixed: Tensor, moving: Tensor, weight: Tensor | None = None, *, both_ways: bool = False) -> Flow:
        """The flow of each pair.

        Args:
            fixed, moving: (B, C, *plan.shape), normalised alike, each continued by its border.
            weight: (B,) of the regulariser, for a plan with `hyper_range`; `plan.regularization` by default.
            both_ways: a single network that predicts velocities is asked both ways round, and half the difference
                taken: so the way back is the inverse of the way there, and the errors of two looks partly cancel.
                Other networks are asked once.

        Raises:
            ConfigurationError: images of another shape than planned, or a weight for a network that takes none.
        """
        if fixed.shape != moving.shape or tuple(fixed.shape[2:]) != self.plan.shape:
            raise ConfigurationError(
                "the images do not lie on the network's grid",
                got=f"fixed {tuple(fixed.shape)}, moving {tuple(moving.shape)}",
                expected=f"(pairs, channels, {', '.join(map(str, self.plan.shape))}) each",
            )
        recognized = None
        if self.recognition is not None:
            recognized = self.recognition(torch.cat((fixed, moving)))
            # what a voxel is, is learnt from labels alone: no loss of the pair reaches this part
            named = probabilities(recognized.detach()).to(fixed.dtype).chunk(2)
            fixed, moving = (torch.cat(image, dim=1) for image in zip((fixed, moving), named, strict=True))
        both_ways = both_ways and self.plan.stacks == 1 and self.plan.integration_steps > 0
        velocities: list[Tensor] = []
        levels: list[Tensor] = []
        warped = moving
        for network in self.stacked:
            if velocities:
                flow = flow_of(velocities, self.plan.integration_steps, self.plan.shape)
                warped = warp(moving, flow.forward)
            predicted = network(fixed, warped, weight, both_ways=both_ways)
            velocity, *coarser = map(_half_difference, predicted) if both_ways else predicted
            velocities.append(velocity)
            levels = levels or coarser
        flow = flow_of(velocities, self.plan.integration_steps, self.plan.shape, levels)
        return replace(flow, recognized=recognized)


def build(plan: LearnedPlan, channels: int, *, seed: int = 0) -> RegistrationNetwork:
    """A network with fresh weights, that starts as the identity.

    Args:
        plan: its size and shape.
        channels: of each image.
        seed: of the weights; the global generator is left as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RegistrationNetwork(plan, channels)


def _half_difference(velocity: Tensor) -> Tensor:
    there, back = velocity.chunk(2)
    return (there - back) / 2


def _head(dimension: int, width: int) -> nn.Module:
    head = convolution(dimension, width, dimension, (3,) * dimension, (1,) * dimension)
    nn.init.normal_(head.weight, std=_SMALL)  # type: ignore[arg-type]
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    return head
