"""Batched displacement fields (B, D, *S), in voxels of the network's grid: p -> p + u(p)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Mode = Literal["linear", "nearest"]

_KERNELS = {"linear": "bilinear", "nearest": "nearest"}
_MODES = {2: "bilinear", 3: "trilinear"}
_FAR = 1e4
"""Voxels: no image is larger, and a number beyond it must not become infinite."""


@dataclass(frozen=True)
class Flow:
    """What a network says of a batch of pairs; fields (B, D, *S) are in voxels of its grid, whose border continues.

    Attributes:
        forward: fixed index p -> moving index p + forward(p): `warp(moving, forward)` lies on the fixed image.
        backward: the inverse, moving to fixed; None where displacements are predicted without integration.
        velocities: what was integrated, one per stacked network: (B, D, *S / flow_stride) in voxels of that coarser
            grid. Without integration, the displacements themselves.
        levels: what the first network knew at its coarser levels, fine to coarse, each a velocity in voxels of its own
            grid; for the loss.
        recognized: (2 B, 1 + labels, *S) logits of the labels of the fixed, then of the moving images; None where the
            network does not name any.
    """

    forward: Tensor
    backward: Tensor | None
    velocities: tuple[Tensor, ...]
    levels: tuple[Tensor, ...] = ()
    recognized: Tensor | None = None


def flow_of(velocities: Sequence[Tensor], steps: int, shape: Sequence[int], levels: Sequence[Tensor] = ()) -> Flow:
    """The flow that velocities stand for.

    Args:
        velocities: at least one; one per stacked network, first to last: (B, D, *) in voxels of their own grid.
        steps: squarings of their integration.
        shape: (*S), the grid of the images.
        levels: of the flow.
    """
    ahead, back = zip(*(_both_ways(velocity, steps, shape) for velocity in velocities), strict=True)
    forward, backward = ahead[0], back[0]
    for later, inverse in zip(ahead[1:], back[1:], strict=True):
        # the later network's first, since its pair is the fixed image and the moving one as warped so far
        forward = compose_flows(later, forward)
        backward = compose_flows(backward, inverse) if steps else None
    return Flow(forward, backward, tuple(velocities), tuple(levels))


def warp(images: Tensor, flow: Tensor, mode: Mode = "linear") -> Tensor:
    """Images at the points a flow leads to: result(p) = image(p + flow(p)), borders continued.

    Args:
        images: (B, C, *S), of any type.
        flow: (B, D, *S) in voxels of the images' grid; what is not a number counts as zero.

    Returns:
        (B, C, *S) of the images' dtype; "linear" is differentiable in both.
    """
    values = images if images.dtype in (torch.float32, torch.float64) else images.float()
    points = _points(flow, mode).to(values.dtype)
    sampled = functional.grid_sample(values, points, _KERNELS[mode], "border", align_corners=False)
    return sampled.to(images.dtype)


def seen(masks: Tensor | None, flow: Tensor) -> Tensor:
    """Whether a flow points into fields of view.

    Args:
        masks: (B, *S), above 0 inside; None where the fields of view fill the grid. Nothing is seen outside of it.
        flow: (B, D, *S) in voxels of that grid.

    Returns:
        (B, *S) bool.
    """
    points = _points(flow.detach(), "nearest")
    if masks is None:
        return (points.abs() < 1).all(dim=-1)
    return functional.grid_sample(masks[:, None].float(), points, "nearest", "zeros", align_corners=False)[:, 0] > 0


def compose_flows(first: Tensor, second: Tensor) -> Tensor:
    """The flow of the map that applies `first`, then `second`: first(p) + second(p + first(p))."""
    return first + warp(second, first)


def integrate(velocity: Tensor, steps: int) -> Tensor:
    """The displacement (B, D, *S) that a stationary velocity reaches after one unit of time, by `steps` squarings.

    No steps give the velocity itself.

    Source: Arsigny et al. 2006, MICCAI, LNCS 4190, algorithm 2.
    """
    if not steps:
        return velocity
    # in units of `grid_sample`, so that a squaring is one sum and one look-up
    unit = _lengths(velocity) / 2
    home = _home(velocity)
    small = (_finite(velocity) / (unit * 2**steps)).flip(1)
    for _ in range(steps):
        points = home + small.movedim(1, -1)
        small = small + functional.grid_sample(small, points, "bilinear", "border", align_corners=False)
    return small.flip(1) * unit


def resize_flow(flow: Tensor, shape: Sequence[int]) -> Tensor:
    """A flow (B, D, *S) on another grid (B, D, *shape) over the same field of view; values scale with the grid."""
    shape = tuple(shape)
    if tuple(flow.shape[2:]) == shape:
        return flow
    before = _lengths(flow)
    resized = functional.interpolate(flow, size=shape, mode=_MODES[len(shape)], align_corners=False)
    return resized * (_lengths(resized) / before)


def _both_ways(velocity: Tensor, steps: int, shape: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    if not steps:
        return resize_flow(velocity, shape), None
    ahead, back = resize_flow(integrate(torch.cat((velocity, -velocity)), steps), shape).chunk(2)
    return ahead, back


def _points(flow: Tensor, mode: Mode) -> Tensor:
    """Where a flow leads, as `grid_sample` takes it: (B, *S, D), (x, y, z), -1 and 1 the outer corners."""
    flow = _finite(flow.float())
    if mode == "nearest":
        # halves round up, as everywhere in the project; `grid_sample` rounds them to even
        flow = (flow + 0.5).floor()
    return _home(flow) + (flow * (2 / _lengths(flow))).flip(1).movedim(1, -1)


def _home(like: Tensor) -> Tensor:
    """The voxels' own points in units of `grid_sample`: (*S, D)."""
    axes = [(2 * torch.arange(n, dtype=like.dtype, device=like.device) + 1) / n - 1 for n in like.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)


def _lengths(like: Tensor) -> Tensor:
    """Voxels of a field along its axes, (D, 1, ...)."""
    shape = like.shape[2:]
    return like.new_tensor(tuple(shape)).reshape(-1, *[1] * len(shape))


def _finite(flow: Tensor) -> Tensor:
    """`grid_sample` would take what is not a number for an address."""
    return flow.nan_to_num(nan=0.0).clamp(-_FAR, _FAR)
