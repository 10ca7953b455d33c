"""What the training of a registration network lowers."""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch
from torch import Tensor

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.learned.comparison import comparison, pyramid_levels
from autoseg.tasks.registration.learned.fields import Flow, compose_flows, integrate, warp
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.learned.recognition import recognition_loss
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.regularizers import folding

Value = TypeVar("Value")

_SMOOTH = 1e-5
"""Added to numerator and denominator of Dice, so that a label absent from both images scores 1."""


class RegistrationObjective(Protocol):
    """The loss of a batch of pairs."""

    def __call__(
        self, flow: Flow, batch: PairBatch, *, swapped: Flow | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Args:
            flow: what the network says of the batch.
            batch: its images, and what the plan's supervision asks for.
            swapped: what the network says of `batch.swapped()`; needed for `inverse_consistency`.

        Returns:
            A float32 scalar to minimise, and its terms without their weights and without gradient: "dissimilarity" (at
            full resolution), "coarse" (at lower ones, added), "overlap" (one minus Dice), "deformation" (voxels
            squared), "recognition" (`recognition_loss`), "roughness", "folding", "inverse" (voxels squared), as far as
            the plan has them.

        Raises:
            ConfigurationError: what the plan asks for is missing from the batch.
        """
        ...


def objective(plan: LearnedPlan) -> RegistrationObjective:
    """The loss that a plan describes, in float32 whatever precision surrounds it.

    Raises:
        ConfigurationError: an unknown similarity or regularizer.
    """
    compare = comparison(plan)
    regularizer = plugins.resolve("regularizer", plan.regularizer)
    ones = (1.0,) * plan.dimension

    def evidence(flow: Flow, batch: PairBatch) -> dict[str, tuple[Tensor, float]]:
        if plan.supervision == "deformations":
            truth = _needed(batch.known_flow, "known_flow")
            return {"deformation": ((flow.forward - truth).square().sum(dim=1).mean(), 1.0)}
        fixed, moving = (
            pyramid_levels(plan, batch.fixed, batch.fixed_mask),
            pyramid_levels(plan, batch.moving, batch.moving_mask),
        )
        compared = [compare(_levels(flow.forward, flow, plan, 1), fixed, moving)]
        directions = [(flow.forward, batch)]
        if plan.both_directions and flow.backward is not None:
            compared.append(compare(_levels(flow.backward, flow, plan, -1), moving, fixed))
            directions.append((flow.backward, batch.swapped()))
        fine, *coarse = (_mean(list(losses)) for losses in zip(*compared, strict=True))
        parts = {"dissimilarity": (fine, 1.0)}
        if coarse:
            parts["coarse"] = (torch.stack(coarse).sum(), 1.0)
        if plan.supervision == "labels":
            overlap = _mean([mismatch(*direction, plan.labels) for direction in directions])
            parts["overlap"] = (overlap, plan.label_weight)
        return parts

    def roughness(flow: Flow) -> Tensor:
        """(B,): of the velocities, added over stacked networks and levels."""
        fields = (*flow.velocities, *flow.levels)
        return torch.stack([torch.stack([regularizer(field, ones) for field in batched]) for batched in fields]).sum(0)

    def measure(flow: Flow, batch: PairBatch, *, swapped: Flow | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(batch.fixed.device.type, enabled=False):
            parts = evidence(flow, batch)
            loss = torch.stack([weight * value for value, weight in parts.values()]).sum()
            terms = {name: value for name, (value, _) in parts.items()}
            if plan.supervision != "deformations":  # which are as smooth as they should be
                rough = roughness(flow)
                terms["roughness"] = rough.mean()
                loss = loss + (rough * (plan.regularization if batch.weight is None else batch.weight)).mean()
            if plan.recognizes and flow.recognized is not None:
                labels = [_needed(getattr(batch, name), name) for name in ("fixed_labels", "moving_labels")]
                terms["recognition"] = recognition_loss(flow.recognized, torch.cat(labels))
                loss = loss + plan.recognition_weight * terms["recognition"]
            if plan.folding_weight:
                terms["folding"] = _mean([folding(field, ones) for field in flow.forward])
                loss = loss + plan.folding_weight * terms["folding"]
            if plan.inverse_consistency:
                terms["inverse"] = _inverse_error(flow, _needed(swapped, "swapped"))
                loss = loss + plan.inverse_consistency * terms["inverse"]
        return loss, {name: value.detach() for name, value in terms.items()}

    return measure


def mismatch(flow: Tensor, batch: PairBatch, labels: int) -> Tensor:
    """One minus the mean Dice of foreground labels under a flow: of membership, warped linearly.

    Args:
        flow: (B, D, *S) from fixed to moving.
        batch: with labels of both images.
        labels: K, foreground labels 1..K.

    Returns:
        A scalar in [0, 1]; a label that neither image of a pair has counts as matched.

    Raises:
        ConfigurationError: the batch has no labels.
    """
    fixed = _membership(_needed(batch.fixed_labels, "fixed_labels"), labels)
    warped = warp(_membership(_needed(batch.moving_labels, "moving_labels"), labels), flow)
    axes = tuple(range(2, fixed.ndim))
    overlap, size = (fixed * warped).sum(axes), fixed.sum(axes) + warped.sum(axes)
    return 1 - ((2 * overlap + _SMOOTH) / (size + _SMOOTH)).mean()


def _levels(finest: Tensor, flow: Flow, plan: LearnedPlan, sign: int) -> list[Tensor]:
    """Flows of all levels, fine to coarse, in one direction.

    Args:
        finest: of the finest level.
        flow: what the network says of the batch.
        plan: how velocities are integrated.
        sign: 1 from fixed to moving, -1 for the way back.
    """
    return [finest, *(integrate(sign * velocity, plan.integration_steps) for velocity in flow.levels)]


def _membership(labels: Tensor, count: int) -> Tensor:
    """(B, *S) labels as (B, count, *S) float32 of zeros and ones."""
    values = torch.arange(1, count + 1, device=labels.device, dtype=labels.dtype)
    return (labels[:, None] == values.reshape(1, -1, *[1] * (labels.ndim - 1))).float()


def _inverse_error(flow: Flow, swapped: Flow) -> Tensor:
    """Mean squared distance in voxels between each voxel and where both flows in turn take it."""
    returns = compose_flows(flow.forward, swapped.forward), compose_flows(swapped.forward, flow.forward)
    return _mean([field.square().sum(dim=1).mean() for field in returns])


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


def _needed(value: Value | None, name: str) -> Value:
    if value is None:
        raise ConfigurationError("the plan's loss needs more than it was given", expected=name)
    return value
