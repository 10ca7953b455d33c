"""Transforms of the values, channel by channel: noise, blur, brightness, contrast, low resolution, gamma."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import interpolate

from autoseg.batches.augment.separable import blur_, enlarge
from autoseg.batches.augment.transform import Sample, Shape
from autoseg.records import Record

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
_SMALLEST_RANGE = 1e-7


@dataclass(frozen=True)
class NoiseParameters:
    """Standard deviation of the noise in units of the image, and the seed of its values."""

    sigma: float
    seed: int


class GaussianNoise(Record):
    """Adds normal noise, the same strength in all channels.

    `variance` is the range that the noise's standard deviation is uniform in: nnU-Net calls it a variance and
    uses it so, and this equals nnU-Net.
    """

    variance: tuple[NonNegative, NonNegative] = (0.0, 0.1)

    def draw(self, rng: np.random.Generator, shape: Shape) -> NoiseParameters | None:
        """Always something."""
        return NoiseParameters(rng.uniform(*self.variance), int(rng.integers(2**63)))

    def apply(self, sample: Sample, parameters: NoiseParameters) -> Sample:
        """Adds the noise of that seed in place."""
        generator = torch.Generator(sample.image.device).manual_seed(parameters.seed)
        noise = torch.empty_like(sample.image).normal_(generator=generator)
        sample.image.add_(noise, alpha=parameters.sigma)
        return sample


@dataclass(frozen=True)
class BlurParameters:
    """For each channel the standard deviation in voxels along each axis; None leaves a channel alone."""

    sigmas: tuple[tuple[float, ...] | None, ...]


class GaussianBlur(Record):
    """Blurs some channels, each axis with its own sigma (voxels), mirrored at the border."""

    sigma: tuple[Positive, Positive] = (0.5, 1.0)
    channel_probability: Probability = 0.5

    def draw(self, rng: np.random.Generator, shape: Shape) -> BlurParameters | None:
        """A sigma for each axis of each chosen channel; None if no channel is chosen."""
        chosen = rng.random(shape[0]) < self.channel_probability
        if not chosen.any():
            return None
        dimension = len(shape) - 1
        return BlurParameters(tuple(tuple(rng.uniform(*self.sigma, dimension).tolist()) if c else None for c in chosen))

    def apply(self, sample: Sample, parameters: BlurParameters) -> Sample:
        """Blurs in place."""
        for channel, sigmas in zip(sample.image, parameters.sigmas, strict=True):
            if sigmas is not None:
                blur_(channel, sigmas)
        return sample


@dataclass(frozen=True)
class FactorParameters:
    """A factor per channel."""

    factors: tuple[float, ...]


class Brightness(Record):
    """Multiplies each channel by its own factor: below or above 1 equally often, uniform within each side."""

    factor: tuple[Positive, Positive] = (0.75, 1.25)

    def draw(self, rng: np.random.Generator, shape: Shape) -> FactorParameters | None:
        """A factor per channel."""
        return FactorParameters(tuple(two_sided(rng, self.factor) for _ in range(shape[0])))

    def apply(self, sample: Sample, parameters: FactorParameters) -> Sample:
        """Multiplies in place."""
        for channel, factor in zip(sample.image, parameters.factors, strict=True):
            channel.mul_(factor)
        return sample


class Contrast(Record):
    """Stretches each channel about its mean by its own factor and cuts it to the range it had before."""

    factor: tuple[Positive, Positive] = (0.75, 1.25)

    def draw(self, rng: np.random.Generator, shape: Shape) -> FactorParameters | None:
        """A factor per channel, drawn as for brightness."""
        return FactorParameters(tuple(two_sided(rng, self.factor) for _ in range(shape[0])))

    def apply(self, sample: Sample, parameters: FactorParameters) -> Sample:
        """Stretches in place."""
        for channel, factor in zip(sample.image, parameters.factors, strict=True):
            mean = float(channel.mean())
            lowest, highest = (float(v) for v in torch.aminmax(channel))
            _affine(channel, factor, mean * (1 - factor)).clamp_(lowest, highest)
        return sample


@dataclass(frozen=True)
class ZoomParameters:
    """For each channel the factor of the voxel count along each axis; None leaves a channel alone."""

    zooms: tuple[tuple[float, ...] | None, ...]


class LowResolution(Record):
    """Shows some channels as if sampled coarser: nearest voxels of fewer, then linear back to the full count.

    Attributes:
        zoom: range of the factor, one for all axes of a channel.
        channel_probability: chance of each channel.
        dummy_2d: leave the first of three axes alone.
    """

    zoom: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.5, 1.0)
    channel_probability: Probability = 0.5
    dummy_2d: bool = False

    def draw(self, rng: np.random.Generator, shape: Shape) -> ZoomParameters | None:
        """A factor for each chosen channel; None if no channel is chosen."""
        chosen = rng.random(shape[0]) < self.channel_probability
        if not chosen.any():
            return None
        dimension = len(shape) - 1
        still = 1 if self.dummy_2d and dimension == 3 else 0
        zooms = (rng.uniform(*self.zoom) if c else None for c in chosen)
        return ZoomParameters(tuple(None if z is None else (1.0,) * still + (z,) * (dimension - still) for z in zooms))

    def apply(self, sample: Sample, parameters: ZoomParameters) -> Sample:
        """Coarsens in place; at least one voxel per axis is kept."""
        for channel, zooms in zip(sample.image, parameters.zooms, strict=True):
            if zooms is None:
                continue
            shape = tuple(channel.shape)
            fewer = tuple(max(1, round(length * zoom)) for length, zoom in zip(shape, zooms, strict=True))
            if fewer != shape:
                coarse = interpolate(channel[None, None], fewer, mode="nearest-exact")[0, 0]
                enlarge(coarse, channel)
        return sample


class Gamma(Record):
    """Raises each channel, scaled to [0, 1], to its own power and gives it its former mean and deviation.

    Attributes:
        gamma: range of the exponent, drawn as the factor of brightness.
        invert: work on the negative of the image, which brings out the other end of the values.
    """

    gamma: tuple[Positive, Positive] = (0.7, 1.5)
    invert: bool = False

    def draw(self, rng: np.random.Generator, shape: Shape) -> FactorParameters | None:
        """An exponent per channel."""
        return FactorParameters(tuple(two_sided(rng, self.gamma) for _ in range(shape[0])))

    def apply(self, sample: Sample, parameters: FactorParameters) -> Sample:
        """Changes the values in place; a constant channel stays as it is."""
        for channel, exponent in zip(sample.image, parameters.factors, strict=True):
            _gamma(channel, exponent, invert=self.invert)
        return sample


def _gamma(channel: torch.Tensor, exponent: float, *, invert: bool) -> None:
    lowest, highest = (float(v) for v in torch.aminmax(channel))
    extent = highest - lowest
    if extent <= _SMALLEST_RANGE:
        return
    # In [0, 1] all moments are of order one, so that single precision serves; `span` undoes the scaling and its sign.
    origin, span = (highest, -extent) if invert else (lowest, extent)
    channel.sub_(origin).mul_(1 / span)
    mean, deviation = _moments(channel)
    channel.pow_(exponent)
    new_mean, new_deviation = _moments(channel)
    stretch = deviation / max(new_deviation, _SMALLEST_RANGE / extent)
    _affine(channel, stretch * span, origin + span * (mean - new_mean * stretch))


def _affine(values: torch.Tensor, factor: float, offset: float) -> torch.Tensor:
    """`factor * values + offset` in place, in one pass over the memory."""
    return torch.add(values.new_tensor(offset), values, alpha=factor, out=values)


def _moments(values: torch.Tensor) -> tuple[float, float]:
    """Mean and sample standard deviation; two vectorised passes, where `torch.std` takes ten times as long."""
    flat, count = values.reshape(-1), values.numel()
    mean = float(flat.mean())
    square = float(torch.dot(flat, flat)) / count - mean * mean
    return mean, sqrt(max(square, 0.0) * count / max(count - 1, 1))


def two_sided(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """A factor below 1 or above 1 with equal chance, uniform on its side; one side only where limits have one."""
    low, high = limits
    if rng.random() < 0.5 and low < 1:
        return rng.uniform(low, 1)
    return rng.uniform(max(low, 1), high)
