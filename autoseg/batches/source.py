"""What batches are made from: a store, a sampler and a policy, bound together for one purpose."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from autoseg.batches.augment.on_device import Division, divide
from autoseg.batches.augment.policy import Policy, build_policy
from autoseg.batches.augment.transform import Sample
from autoseg.batches.raw import RawBatch, Read, raw_batch
from autoseg.batches.sampling import AnnotatedStore, Draw, PatchStore, Sampler, SamplingRules
from autoseg.data.labels import LabelScheme
from autoseg.plan.record import ConfigurationPlan
from autoseg.plugins import resolve

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16

TRAINING, VALIDATION = 0, 1
"""Streams of random numbers."""


@dataclass(frozen=True)
class Batch:
    """Samples of one step.

    Attributes:
        image: float32 (B, C, Z, Y, X) or (B, C, Y, X); in a cascade followed by the previous stage's channels.
        target: int16 training values (B, 1, *spatial): 0 background, 1..K, K + 1 ignored.
        cases: the case of each sample.
        starts: first voxel (Z, Y, X) of each sample's box in the stored case, before augmentation.
        step: the step it belongs to.
    """

    image: Float32[torch.Tensor, "batch channel *patch"]
    target: Int16[torch.Tensor, "batch 1 *patch"]
    cases: tuple[str, ...]
    starts: tuple[tuple[int, ...], ...]
    step: int

    def to(self, device: str | torch.device, memory_format: torch.memory_format = torch.contiguous_format) -> Batch:
        """The same batch on a device, the image in that layout; nothing is waited for where memory is pinned."""
        image = self.image.to(device, non_blocking=True, memory_format=memory_format)
        return replace(self, image=image, target=self.target.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from where a copy to a CUDA device can overlap computation."""
        return replace(self, image=self.image.pin_memory(), target=self.target.pin_memory())


class PreviousLabels(Protocol):
    """What batches of a cascade's second stage need of `autoseg.preprocessing.previous_stage.PreviousStage`."""

    def read_box(self, case: str, start: Sequence[int], size: Sequence[int]) -> Int16[np.ndarray, "*size"]:
        """Labels int16 (*size), in memory of their own, OUTSIDE beyond the image."""
        ...

    def channels(self, labels: Int16[np.ndarray, "*space"]) -> Float32[np.ndarray, " label *space"]:
        """Labels (*spatial) -> the network's channels float32 (K', *spatial)."""
        ...


@dataclass(frozen=True)
class Source:
    """Makes the batch of any step. Nothing is carried over from one step to the next.

    Random numbers of sample `index` of a step come from `default_rng((seed, stream, step, index))` alone.

    Attributes:
        patch_size: (Z, Y, X) or (Y, X); a 2D patch is a slice across the first axis.
        masked_channels: channels that are 0 outside the image's non-zero region and stay so.
        previous: labels of a cascade's first stage. They go through the policy as a second label channel and are
            channels of the image in the end.
    """

    store: PatchStore
    sampler: Sampler
    policy: Policy
    patch_size: tuple[int, ...]
    batch_size: int
    masked_channels: tuple[int, ...] = ()
    seed: int = 0
    stream: int = TRAINING
    previous: PreviousLabels | None = None

    def draws(self, step: int, samples: range | None = None) -> list[Draw]:
        """The places of a step's samples; reads no voxel."""
        return [self.sampler.draw(self._rng(step, index), index) for index in self._indices(samples)]

    def batch(self, step: int, samples: range | None = None) -> Batch:
        """The batch of a step, worked out on the calling thread alone.

        Args:
            step: which batch.
            samples: makes only these of `range(batch_size)`, at least one, each as it is in the whole batch.
        """
        with _one_thread():
            drawn = [self._sample(self._read(step, index)) for index in self._indices(samples)]
            return Batch(
                image=torch.stack([sample.image for _, sample in drawn]),
                target=torch.stack([sample.labels for _, sample in drawn]),
                cases=tuple(read.case for read, _ in drawn),
                starts=tuple(read.start for read, _ in drawn),
                step=step,
            )

    @property
    def can_use_device(self) -> bool:
        """Whether a device can do a part of the work; not for a cascade, whose labels become channels on a worker."""
        return self.previous is None and self._division.helps

    def read(self, step: int, samples: range | None = None) -> RawBatch:
        """What `transform` makes the batch of a step from; the arguments are those of `batch`."""
        with _one_thread():
            read = [self._read(step, index) for index in self._indices(samples)]
            return raw_batch(read, self._division, self.patch_size, step)

    def transform(self, raw: RawBatch, device: str | torch.device) -> Batch:
        """The batch, worked out on the device, which is not waited for; the raw one is used up.

        The same up to rounding as `batch` gives, but for the values of noise, which are the device's own. Equal
        raw batches give equal bits on the same device.
        """
        placed = raw.to(device)
        image, target = placed.patches(self.patch_size)
        self._division.apply(image, target, placed.packed)
        for channel in self.masked_channels:
            image[:, channel].masked_fill_(target[:, 0] < 0, 0)
        return Batch(image, target.clamp_(min=0), raw.cases, raw.starts, raw.step)

    def snapshot(self) -> Source:
        """A source whose sampler no longer follows updates of this one's."""
        return replace(self, sampler=copy.copy(self.sampler))

    def _indices(self, samples: range | None) -> range:
        return range(self.batch_size) if samples is None else samples

    def _rng(self, step: int, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.stream, step, index))

    @cached_property
    def _division(self) -> Division:
        return divide(self.policy)

    def _read(self, step: int, index: int) -> Read:
        rng = self._rng(step, index)
        draw = self.sampler.draw(rng, index)
        parameters = self.policy.draw(rng, (self.store.shape(draw.case)[0], *self.patch_size))
        box = self.policy.box(parameters, self.patch_size)
        planar = len(self.patch_size) == 2
        offset, size = ((0, *box.start), (1, *box.size)) if planar else (box.start, box.size)
        start = [centre + first for centre, first in zip(draw.centre, offset, strict=True)]
        image, labels = self.store.read_box(draw.case, start, size)
        stacked = labels[None]
        if self.previous is not None:
            stacked = np.stack([labels, self.previous.read_box(draw.case, start, size)])
        read = Sample(torch.from_numpy(image), torch.from_numpy(stacked))
        if planar:
            read = Sample(read.image.squeeze(1), read.labels.squeeze(1))
        return Read(draw.case, tuple(start), read, parameters, box)

    def _sample(self, read: Read) -> tuple[Read, Sample]:
        sample = self.policy.apply(read.sample, read.parameters, read.box, self.patch_size)
        if self.masked_channels:
            outside = sample.labels[0] < 0
            for channel in self.masked_channels:
                sample.image[channel].masked_fill_(outside, 0)
        if self.previous is not None:
            channels = torch.from_numpy(self.previous.channels(sample.labels[1].numpy()))
            sample = Sample(torch.cat([sample.image, channels]), sample.labels[:1])
        sample.labels.clamp_(min=0)
        return read, sample


def training_source(
    store: PatchStore,
    cases: Sequence[str],
    configuration: ConfigurationPlan,
    labels: LabelScheme,
    *,
    seed: int,
    previous: PreviousLabels | None = None,
    annotated: Mapping[str, Sequence[str]] | None = None,
) -> Source:
    """The source of augmented training batches, as the plan says; a cascade's second stage needs `previous`.

    Args:
        store: the preprocessed cases.
        cases: which of them are drawn from, at least one.
        configuration: patch size, batch size and rules of the sampling.
        labels: which classes or regions patches are drawn around, and whether voxels are ignored.
        seed: with the step and the sample it decides all random numbers.
        previous: labels of the first network of a cascade; None outside cascades.
        annotated: case -> classes that were looked for, where not all were; patches are drawn around no others.
    """
    policy = build_policy(configuration.augmentation)
    masked = tuple(channel for channel, masked in enumerate(configuration.use_mask_for_norm) if masked)
    sampler = _sampler(store, cases, configuration, labels, policy, annotated)
    source = _source(store, sampler, configuration, policy=policy, seed=seed, previous=previous)
    return replace(source, masked_channels=masked, stream=TRAINING)


def validation_source(
    store: PatchStore,
    cases: Sequence[str],
    configuration: ConfigurationPlan,
    labels: LabelScheme,
    *,
    seed: int,
    previous: PreviousLabels | None = None,
    annotated: Mapping[str, Sequence[str]] | None = None,
) -> Source:
    """The source of validation batches: places are drawn by the same rules, nothing is augmented.

    Args:
        store: the preprocessed cases.
        cases: which of them are drawn from, at least one.
        configuration: patch size, batch size and rules of the sampling.
        labels: which classes or regions patches are drawn around, and whether voxels are ignored.
        seed: with the step and the sample it decides all random numbers.
        previous: labels of the first network of a cascade; None outside cascades.
        annotated: case -> classes that were looked for, where not all were; patches are drawn around no others.
    """
    sampler = _sampler(store, cases, configuration, labels, Policy(), annotated)
    return _source(store, sampler, configuration, policy=Policy(), seed=seed, previous=previous)


def _source(
    store: PatchStore,
    sampler: Sampler,
    configuration: ConfigurationPlan,
    *,
    policy: Policy,
    seed: int,
    previous: PreviousLabels | None,
) -> Source:
    """A source of the stream of validation, with the plan's patches.

    Args:
        store, configuration, seed, previous: as of `training_source`.
        sampler: draws the places.
        policy: what is done to a patch.
    """
    return Source(
        store=store,
        sampler=sampler,
        policy=policy,
        patch_size=configuration.patch_size,
        batch_size=configuration.batch_size,
        seed=seed,
        stream=VALIDATION,
        previous=previous,
    )


def _sampler(
    store: PatchStore,
    cases: Sequence[str],
    configuration: ConfigurationPlan,
    labels: LabelScheme,
    policy: Policy,
    annotated: Mapping[str, Sequence[str]] | None,
) -> Sampler:
    """Draws the places of patches, by the plan's rules.

    Args:
        store: with the cases.
        cases: to draw from.
        configuration: with the patch and the name of the sampler.
        labels: an ignore label confines patches to what is annotated.
        policy: whose window a place must leave room for.
        annotated: case -> classes that were looked for, where not all were.
    """
    patch_size = configuration.patch_size
    rules = SamplingRules(
        cases=tuple(cases),
        patch_size=_in_3d(patch_size),
        window_size=_in_3d(policy.window(patch_size)),
        batch_size=configuration.batch_size,
        foreground_fraction=configuration.sampler.foreground_fraction,
        class_weights=configuration.sampler.class_weights,
        annotated_only=labels.ignore is not None,
    )
    seen = AnnotatedStore(store, annotated) if annotated else store
    sampler: Sampler = resolve("sampler", configuration.sampler.name)(seen, rules)
    return sampler


def _in_3d(size: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = size if len(size) == 3 else (1, *size)
    return z, y, x


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: sums depend on the number of threads, and samples must not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
