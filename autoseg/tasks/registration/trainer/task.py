"""What is trained for registration: a network that lays one case on another, on random pairs of cases."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.batches.augment.policy import build_policy
from autoseg.batches.loading import Batches
from autoseg.plan.record import ConfigurationPlan
from autoseg.preprocessing.store import Store
from autoseg.records import unknown_name
from autoseg.tasks.registration.learned.fields import Flow, warp
from autoseg.tasks.registration.learned.network import build
from autoseg.tasks.registration.learned.objective import objective
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.trainer.pairs import Pairs, PairSource, validation_pairs
from autoseg.training.context import FoldContext
from autoseg.training.distributed import ranks
from autoseg.training.task import TRAINING, VALIDATION

AGREEMENT = "agreement"
"""Score of a data set without labels: correlation of the fixed and the warped image, negative ones as 0."""

_LEAST_VALIDATED = 4  # batches


def learned_plan(configuration: ConfigurationPlan) -> LearnedPlan:
    """The network that a configuration's options describe, on the grid that the configuration plans.

    Raises:
        ConfigurationError, ErrorGroup: options that are unknown, or that no network can have.
    """
    planned = {
        "shape": configuration.patch_size,
        "spacing": configuration.spacing,
        "features": configuration.features_per_stage,
        "batch_size": configuration.batch_size,
    }
    return LearnedPlan.from_mapping({**planned, **configuration.options}, where="training.options")


def register_batch(network: nn.Module, plan: LearnedPlan, batch: PairBatch) -> tuple[Flow, Flow | None]:
    """The flow of a batch, and where the plan asks for it that of the swapped pairs."""
    flow: Flow = network(batch.fixed, batch.moving, batch.weight)
    swapped: Flow | None = network(batch.moving, batch.fixed, batch.weight) if plan.inverse_consistency else None
    return flow, swapped


class RegistrationTask:
    """What to train for registration (see `autoseg.training.task.Task`)."""

    def __init__(self, context: FoldContext) -> None:
        self.context, self.plan = context, learned_plan(context.configuration)
        self.network = build(self.plan, context.input_channels, seed=context.config.seed)
        scheme = context.plan.labels
        self._foreground = scheme.training_foreground if is_labelled(context) else {}
        self.labels = tuple(self._foreground) or (AGREEMENT,)
        self._loss = objective(self.plan)
        # known deformations exist for pairs made of one case, and validation looks at two different ones
        synthetic = self.plan.supervision == "deformations"
        self._judge = objective(self.plan.with_(supervision="none")) if synthetic else self._loss
        self._samples = ranks().share_of_batch(self.plan.batch_size)

    def batches(self, steps: range, stream: int) -> AbstractContextManager[Batches]:
        """Augmented random pairs of the training cases, or the same plain pairs of the validation cases each time."""
        runtime = self.context.runtime
        workers = runtime.workers if stream == TRAINING else min(runtime.workers, 1)
        # one pair says little, and a round of a short training is to be validated on hardly more
        steps = steps if stream == TRAINING else range(max(len(steps), _LEAST_VALIDATED))
        pin = runtime.device.startswith("cuda")
        return Batches(self._sources[stream], steps, workers=workers, pin_memory=pin, samples=self._samples)

    def loss(self, network: nn.Module, batch: Pairs) -> Tensor:
        """The plan's objective (`registration.learned.objective`)."""
        flow, swapped = register_batch(network, self.plan, batch.data)
        return self._loss(flow, batch.data, swapped=swapped)[0]

    def validation(self, network: nn.Module, batch: Pairs) -> tuple[Tensor, Tensor]:
        """Loss, and counts (3, labels): overlap, voxels of the fixed and of the warped label.

        Without labels they are (2, 1): the sum of correlations and their number.
        """
        data = batch.data
        flow, swapped = register_batch(network, self.plan, data)
        loss, _ = self._judge(flow, data, swapped=swapped)
        if not self._foreground or data.fixed_labels is None or data.moving_labels is None:
            agreement = correlation(data, flow.forward).clamp(min=0)
            return loss, torch.stack([agreement.sum(), agreement.new_tensor(float(len(agreement)))])[:, None]
        warped = warp(data.moving_labels[:, None], flow.forward, "nearest")[:, 0]
        rows = []
        for values in self._foreground.values():
            label = torch.tensor(values, dtype=data.fixed_labels.dtype, device=warped.device)
            fixed, moved = torch.isin(data.fixed_labels, label), torch.isin(warped, label)
            rows.append(torch.stack([(fixed & moved).sum(), fixed.sum(), moved.sum()]))
        return loss, torch.stack(rows, dim=1)

    def scores(self, counts: Tensor) -> dict[str, float | None]:
        """Dice per label over all pairs as one volume; the mean correlation without labels."""
        if not self._foreground:
            total, number = counts[:, 0].tolist()
            return {AGREEMENT: total / number if number else None}
        result: dict[str, float | None] = {}
        for name, (both, fixed, warped) in zip(self.labels, counts.T.tolist(), strict=True):
            result[name] = 2 * both / (fixed + warped) if fixed + warped else None
        return result

    def adapt(self, network: nn.Module, step: int, place: Any) -> bool:
        """Nothing: pairs do not depend on what the network has learned."""
        return False

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing was kept."""

    @cached_property
    def _sources(self) -> dict[int, PairSource]:
        context, plan = self.context, self.plan
        store, split = Store(context.store_folder), context.split
        if plan.atlas is not None and plan.atlas not in context.dataset.identifiers:
            raise unknown_name("case", plan.atlas, context.dataset.identifiers, where="training.options.atlas")
        common: dict[str, Any] = {"plan": plan, "labelled": is_labelled(context), "seed": context.config.seed}
        training = PairSource(
            store,
            split.train,
            # both images of a pair are mirrored together, by the source
            policy=build_policy([step for step in context.configuration.augmentation if step.name != "mirror"]),
            mirror_axes=context.configuration.mirror_axes,
            stream=TRAINING,
            atlas=plan.atlas,
            **common,
        )
        pairs = validation_pairs(split.validation or split.train, split.train, plan.atlas)
        plain = PairSource(store, split.train, stream=VALIDATION, fixed_pairs=pairs, **common)
        return {TRAINING: training, VALIDATION: plain}


def is_labelled(context: FoldContext) -> bool:
    """Whether every case of the data set has a label with all classes, and some foreground is named."""
    return bool(context.plan.labels.foreground) and all(case.is_fully_labelled for case in context.dataset.training)


def correlation(batch: PairBatch, flow: Tensor | None) -> Tensor:
    """(B,) Pearson correlation of the fixed and the warped images over the voxels of both, the mean of the channels.

    Without a flow the moving images stay as they lie. Constant images have none and count as 0.
    """
    warped = (batch.moving if flow is None else warp(batch.moving, flow)).float()
    seen = torch.ones_like(warped[:, :1]) if batch.fixed_mask is None else batch.fixed_mask[:, None].to(warped)
    if batch.moving_mask is not None:
        moving_mask = batch.moving_mask[:, None].to(warped)
        seen = seen * (moving_mask if flow is None else warp(moving_mask, flow, "nearest"))
    axes = tuple(range(2, warped.ndim))
    count = seen.sum(axes, keepdim=True).clamp(min=1)
    fixed, moved = (
        (image - (image * seen).sum(axes, keepdim=True) / count) * seen for image in (batch.fixed.float(), warped)
    )
    product = (fixed * moved).sum(axes)
    lengths = (fixed.square().sum(axes) * moved.square().sum(axes)).sqrt()
    return torch.where(lengths > 0, product / lengths.clamp(min=1e-12), torch.zeros_like(product)).mean(1)
