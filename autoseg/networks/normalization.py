"""Instance normalisation that keeps the channels-last layout on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.networks.moments import mean_and_variance, normalization_gradients, scale_rows_
from autoseg.networks.products import rows_are_voxels

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

_aten = torch.ops.aten
_SMALL = 2**14
"""Voxels of a sample that the batch-norm kernel adds up with an error below 1e-5 standard deviations."""
_FEW = 8
"""Channels with which that kernel's sums take longer than blocks (measured)."""


class InstanceNorm(nn.Module):
    """Affine instance normalisation (Ulyanov et al., 2016, arXiv:1607.08022) of (B, C, *spatial) features.

    PyTorch's own kernel copies a channels-last tensor to the contiguous layout and leaves it there, so that every
    convolution after it reorders again. Here, such tensors on a CPU are normalised one sample at a time by the
    batch-norm kernel, which keeps the layout; the numbers are the same to rounding. All else takes PyTorch's path.

    Within `normalising_over` only some voxels count, and the others become 0.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._counted: Tensor | None = None

    def forward(
        self, features: Float[Tensor, "batch channel *space"], slope: float | None = None, *, in_place: bool = False
    ) -> Float[Tensor, "batch channel *space"]:
        """Normalised features.

        Args:
            features: (B, C, *spatial) of any floating type.
            slope: of a leaky ReLU that follows, for negative values; None for none.
            in_place: nobody else needs `features`, so that the result may take their memory.
        """
        if self._counted is not None:
            result: Tensor = _normalise_counted(features, self._counted, self.weight, self.bias, self.eps)
        elif rows_are_voxels(features):
            if in_place and not torch.is_grad_enabled() and features.dtype is torch.float32:
                return _normalise_(features, self.weight, self.bias, self.eps, slope)
            result = _ChannelsLastInstanceNorm.apply(features, self.weight, self.bias, self.eps)
        else:
            result = functional.instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)
        return result if slope is None else functional.leaky_relu_(result, slope)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


@contextmanager
def normalising_over(network: nn.Module, counted: Bool[Tensor, " batch *grid"]) -> Iterator[None]:
    """Within it the instance norms of a network see some voxels alone, as if the image had no others.

    Args:
        network: whatever holds them.
        counted: (B, *grid) bool, True for the blocks that count, at least one per image; the grid divides the space of
            all features that are normalised.
    """
    norms = [module for module in network.modules() if isinstance(module, InstanceNorm)]
    for norm in norms:
        norm._counted = counted[:, None].float()
    try:
        yield
    finally:
        for norm in norms:
            norm._counted = None


def _normalise_counted(features: Tensor, counted: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Instance normalisation by the moments of the voxels that count, (B, 1, *grid) 1 or 0; the others become 0."""
    space = tuple(range(2, features.ndim))
    counts = functional.interpolate(counted, features.shape[2:], mode="nearest")
    share = 1 / counts.sum(space, keepdim=True)
    values = features.float()
    mean = (values * counts).sum(space, keepdim=True) * share
    centred = (values - mean) * counts
    variance = (centred * centred).sum(space, keepdim=True) * share
    scale, shift = (parameter.view(1, -1, *[1] * len(space)) for parameter in (weight, bias))
    result: Tensor = centred * (scale * (variance + eps).rsqrt()) + shift * counts
    return result.to(features.dtype)


class _ChannelsLastInstanceNorm(torch.autograd.Function):
    """The batch-norm kernel applied to one sample at a time.

    That kernel adds up the voxels of a channel one by one in float32, which costs accuracy where there are many (1e-3
    of a deviation at 128^3 voxels) and, with few channels, most of its time. Large samples are therefore summed here
    in blocks, and where channels are few their gradients as well.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        result = torch.empty_like(features)
        large = features[0, 0].numel() > _SMALL
        means, inverse_deviations = [], []
        for i in range(features.shape[0]):
            sample = slice(i, i + 1)
            mean, variance = mean_and_variance(_rows(features[i])) if large else (None, None)
            kernel_mean, inverse = weight.new_empty(0), weight.new_empty(0)
            _aten.native_batch_norm.out(
                features[sample], weight, bias, mean, variance, not large, 0.0, eps,
                out=result[sample], save_mean=kernel_mean, save_invstd=inverse,
            )  # fmt: skip
            means.append(kernel_mean if mean is None else mean)
            inverse_deviations.append(inverse if variance is None else (variance + eps).rsqrt())
        ctx.save_for_backward(features, weight, *means, *inverse_deviations)
        ctx.eps = eps
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, weight, *statistics = ctx.saved_tensors
        samples = features.shape[0]
        layout = torch.channels_last_3d if features.ndim == 5 else torch.channels_last
        gradient = gradients[0].contiguous(memory_format=layout)
        to_features = torch.empty_like(features)
        to_weight, to_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        blocks = features[0, 0].numel() > _SMALL and len(weight) <= _FEW
        for i in range(samples):
            mean, inverse = statistics[i], statistics[samples + i]
            if blocks:
                given, normalised, to_rows = (_rows(part[i]) for part in (gradient, features, to_features))
                weight_part, bias_part = normalization_gradients(given, normalised, to_rows, weight, mean, inverse)
            else:
                sample = slice(i, i + 1)
                weight_part, bias_part = weight.new_empty(0), weight.new_empty(0)
                _aten.native_batch_norm_backward.out(
                    gradient[sample], features[sample], weight, None, None, mean, inverse, True, ctx.eps,
                    [True, True, True], out0=to_features[sample], out1=weight_part, out2=bias_part,
                )  # fmt: skip
            to_weight += weight_part
            to_bias += bias_part
        return to_features, to_weight, to_bias, None


def _normalise_(features: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float | None) -> Tensor:
    """The same and the leaky ReLU without gradients, in the features' own memory, a piece while it is in the cache."""
    for sample in features:
        rows = _rows(sample)
        mean, variance = mean_and_variance(rows)
        scale = weight * (variance + eps).rsqrt()
        scale_rows_(rows, scale, bias - mean * scale, slope)
    return features


def _rows(features: Tensor) -> Tensor:
    """The same memory of one channels-last sample (C, *spatial) as (voxels, C)."""
    return features.movedim(0, -1).view(-1, features.shape[0])
