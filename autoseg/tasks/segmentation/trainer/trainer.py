"""Segmentation: the planned network, patches, Dice plus cross-entropy, sliding-window validation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.batches.loading import Batches
from autoseg.batches.sampling import AdaptiveSampler
from autoseg.batches.source import Batch, Source, training_source, validation_source
from autoseg.data.annotation_table import annotated_of_cases, never_looked_for
from autoseg.errors import DatasetError
from autoseg.inference.predictor import Predictor
from autoseg.inference.tiling import count_tiles
from autoseg.losses.deep_supervision import deep_supervision
from autoseg.losses.marginal import marginal
from autoseg.losses.target import Target
from autoseg.losses.weighted import weighted_losses
from autoseg.networks.build import build_network
from autoseg.networks.heads import expect_background
from autoseg.preprocessing.store import Store
from autoseg.tasks.segmentation.trainer.application import segment_images
from autoseg.tasks.segmentation.trainer.cascade import next_stage, previous_labels
from autoseg.training.context import FoldContext, PredictionRequest
from autoseg.training.distributed import ranks
from autoseg.training.task import TRAINING, VALIDATION

HARD_LOCATIONS = 2
"""Stream of the patches on which a hard-location sampler looks for errors."""

_LOOKS = 8  # batches looked at for errors after a round
_LOCATIONS_PER_CASE = 2000


class SegmentationTask:
    """What to train for segmentation (see `autoseg.training.task.Task`)."""

    def __init__(self, context: FoldContext) -> None:
        configuration, scheme = context.configuration, context.plan.labels
        self.context = context
        self.network = build_network(configuration, context.input_channels, scheme.outputs, seed=context.config.seed)
        self.network.deep_supervision = configuration.deep_supervision  # type: ignore[assignment]
        expect_background(self.network, context.config.foreground_share, regions=bool(scheme.regions))
        self.labels = tuple(scheme.foreground)
        self._ignore = scheme.training_ignore
        self._regions = tuple(scheme.training_foreground.values()) if scheme.regions else ()
        self._classes = tuple(scheme.training_foreground.values())
        usual = "dice-binary-cross-entropy" if scheme.regions else "dice-cross-entropy"
        self._annotated = annotated_of_cases(context.dataset.training)
        self._loss = weighted_losses(context.config.losses or {usual: 1.0}, batch_dice=configuration.batch_dice)
        if self._annotated:
            _refuse_unlearnable(context)
            self._loss = marginal(self._loss)
        self._losses = deep_supervision(self._loss, configuration.strides)
        self._store = Store(context.store_folder)
        self._previous = previous_labels(context)
        self._sampler_state: dict[str, Any] = {}
        self._samples = ranks().share_of_batch(configuration.batch_size)
        self._across = ranks().total if ranks().count > 1 else None

    def batches(self, steps: range, stream: int) -> AbstractContextManager[Batches]:
        """Augmented patches of the training cases, or plain ones of the validation cases."""
        runtime = self.context.runtime
        # A handful of validation batches is made faster here than by processes that must start first.
        workers = runtime.workers if stream == TRAINING else min(runtime.workers, 1)
        pin = runtime.device.startswith("cuda")
        device = runtime.device if stream == TRAINING and self.context.config.augments_on(runtime.device) else None
        return Batches(
            self._sources[stream], steps, workers=workers, pin_memory=pin, samples=self._samples, device=device
        )

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Dice plus cross-entropy over the supervised resolutions."""
        logits = network(batch.image)
        target = self._target(batch)
        return self._losses(logits, target) if isinstance(logits, list) else self._loss(logits, target)

    def validation(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss at full resolution, and counts (3, labels) of true positives, false positives, false negatives."""
        logits = network(batch.image)
        logits = logits[0] if isinstance(logits, list) else logits
        target = self._target(batch)
        predicted, reference = self._masks(logits, target)
        counted = _counted(target)
        if counted is not None:
            predicted, reference = predicted & counted, reference & counted
        axes = [0, *range(2, predicted.ndim)]
        true = (predicted & reference).sum(axes)
        counts = torch.stack([true, predicted.sum(axes) - true, reference.sum(axes) - true])
        return self._loss(logits, target), counts

    def scores(self, counts: Tensor) -> dict[str, float | None]:
        """Dice per label, all patches taken as one volume."""
        result: dict[str, float | None] = {}
        for name, (true, false, missed) in zip(self.labels, counts.T.tolist(), strict=True):
            total = 2 * true + false + missed
            result[name] = 2 * true / total if total else None
        return result

    def adapt(self, network: nn.Module, step: int, place: Any) -> bool:
        """With a hard-location sampler, tells it where the network errs now."""
        sampler = self._sources[TRAINING].sampler
        if not isinstance(sampler, AdaptiveSampler):
            return False
        sampler.update(self._errors(network, step, place))
        self._sampler_state = sampler.state()
        return True

    def state(self) -> dict[str, Any]:
        """The sampler's places."""
        return self._sampler_state

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        sampler = self._sources[TRAINING].sampler
        if state and isinstance(sampler, AdaptiveSampler):
            self._sampler_state = state
            sampler.load_state(state)

    @cached_property
    def _sources(self) -> dict[int, Source]:
        context = self.context
        split, configuration, labels = context.split, context.configuration, context.plan.labels
        more: dict[str, Any] = {
            "seed": context.config.seed, "previous": self._previous, "annotated": self._annotated,
        }  # fmt: skip
        plain = validation_source(self._store, split.train, configuration, labels, **more)
        return {
            TRAINING: training_source(self._store, split.train, configuration, labels, **more),
            VALIDATION: validation_source(self._store, split.validation or split.train, configuration, labels, **more),
            HARD_LOCATIONS: replace(plain, stream=HARD_LOCATIONS),
        }

    def _target(self, batch: Batch) -> Target:
        annotated = None
        if self._annotated:  # also for a batch of complete cases: processes that share one do the same
            rows = [[name in self._annotated.get(case, self.labels) for name in self.labels] for case in batch.cases]
            annotated = torch.tensor(rows).to(batch.target.device, non_blocking=True)
        return Target.from_labels(
            batch.target, ignore=self._ignore, regions=self._regions, across=self._across, annotated=annotated
        )

    def _masks(self, logits: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Prediction and reference of each label or region, (B, labels, *spatial) bool."""
        if self._regions:
            return logits > 0, target.one_hot()
        winner = logits.argmax(1, keepdim=True)
        predicted = torch.cat([winner == values[0] for values in self._classes], dim=1)
        return predicted, torch.cat([target.labels == values[0] for values in self._classes], dim=1)

    @torch.no_grad()
    def _errors(self, network: nn.Module, step: int, place: Any) -> dict[str, np.ndarray]:
        """Voxels (N, 3) of training cases that the network gets wrong, on a few patches."""
        by_case: dict[str, list[np.ndarray]] = {}
        network.eval()
        with self.batches(range(step, step + _LOOKS), HARD_LOCATIONS) as batches:
            for batch in batches:
                logits = network(place(batch).image)
                logits = logits[0] if isinstance(logits, list) else logits
                target = self._target(batch)
                predicted, reference = self._masks(logits.cpu(), target)
                counted = _counted(target)
                wrong = predicted != reference if counted is None else (predicted != reference) & counted
                wrong = wrong.any(1)
                errors: list[tuple[str, np.ndarray]] = []
                for index, case, start, sample in zip(self._samples, batch.cases, batch.starts, wrong, strict=True):
                    voxels = np.argwhere(sample.numpy().reshape((1,) * (3 - sample.ndim) + tuple(sample.shape)))
                    # the last number keeps the choice apart from the draw of the sample
                    rng = np.random.default_rng((self.context.config.seed, HARD_LOCATIONS, batch.step, index, 1))
                    chosen = rng.choice(len(voxels), min(len(voxels), _LOCATIONS_PER_CASE), replace=False)
                    errors.append((case, voxels[np.sort(chosen)] + np.asarray(start)))
                for case, voxels in chain(*ranks().gather(errors)):
                    if len(voxels):
                        by_case.setdefault(case, []).append(voxels)
        network.train()
        return {case: np.concatenate(parts) for case, parts in by_case.items()}


def _counted(target: Target) -> Tensor | None:
    """Which voxels (B, 1, *spatial), (B, labels, 1, ...) or both count in scores, bool; None for all."""
    annotated = target.annotated
    if annotated is None:
        return target.mask
    columns = annotated.view(*annotated.shape, *(1,) * (target.labels.ndim - 2))
    return columns if target.mask is None else columns & target.mask


def _refuse_unlearnable(context: FoldContext) -> None:
    """Refuses a fold none of whose training cases was looked at for some class: nothing would tell it from others.

    Raises:
        DatasetError: such a class, or several.
    """
    cases = [case for case in context.dataset.training if case.id in context.split.train]
    if missing := never_looked_for(cases, context.plan.labels):
        raise DatasetError(
            f"no training case of fold {context.fold} is annotated for some classes",
            where=context.run.splits,
            got=", ".join(missing),
            expected="every class looked for in a training case of every fold",
            remedy="balance the folds by --stratify, give others by --splits, or annotate more cases",
        )


class SegmentationTrainer:
    """The planned network on augmented patches, by Dice plus cross-entropy; validated by sliding windows."""

    def __init__(self, context: FoldContext) -> None:
        self._context = context

    @classmethod
    def apply(cls, run: Path, inputs: Sequence[Path], folder: Path, request: PredictionRequest) -> list[str]:
        """Segments new images (`application.segment_images`).

        Args:
            run: run folder.
            inputs: a folder, or image files.
            folder: for the results.
            request: which networks, and what else is written.
        """
        return segment_images(run, inputs, folder, request)

    def task(self) -> SegmentationTask:
        """The planned network on patches of the fold's training cases."""
        return SegmentationTask(self._context)

    def validation_seconds(self, step_seconds: float) -> float:
        """A forward pass is about a third of a step; every tile is seen once a mirror combination."""
        context, configuration = self._context, self._context.configuration
        store = Store(context.store_folder)
        tiles = sum(count_tiles(store.shape(case)[1:], configuration.patch_size) for case in context.split.validation)
        return tiles * 2 ** len(configuration.mirror_axes) * step_seconds / configuration.batch_size / 3

    def predict_validation(self) -> dict[str, Path]:
        """Sliding-window predictions of the validation cases from the store, in their original geometry.

        A cascade's second stage gets the labels that the first predicted for these cases without having seen them.
        """
        context, previous = self._context, previous_labels(self._context)
        predictor = Predictor.load(
            context.run.root, configuration=context.configuration_name, folds=(context.fold,), runtime=context.runtime,
            previous=False,
        )  # fmt: skip
        cases = {case.id: case for case in context.dataset.training}
        return predictor.predict_stored(
            Store(context.store_folder),
            [cases[i] for i in context.split.validation],
            context.folder.validation,
            previous=None if previous is None else previous.read,
            keep_probabilities=context.keep_probabilities,
            next_stage=next_stage(context),
        )
