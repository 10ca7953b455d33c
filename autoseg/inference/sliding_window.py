"""Logits of a whole image by sliding a network over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from threading import Event
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.inference.accumulator import Accumulator, covered, memory_bound, with_coverage
from autoseg.inference.readout import without_heads
from autoseg.inference.rows import StreamedLogits
from autoseg.inference.tiling import PlacedTile, mirror_combinations, place_tiles
from autoseg.training.runtime import Runtime

if TYPE_CHECKING:
    from jaxtyping import Float32

_CPU_VOXELS = 2**20
"""Voxels of tiles that a CPU takes at once: more only fill its memory."""

_GPU_SHARE = 0.8
"""Of a GPU's free memory that tiles may take."""

_ALIKE = 1e-5
"""Difference of intensities, as a share of a channel's range, up to which voxels hold the same: resampling rounds."""


@dataclass(frozen=True)
class Sliding:
    """How a network is slid over an image.

    Attributes:
        tile: shape of the network's input, 2 or 3 axes; a 2D network goes through every slice.
        overlap: share of a tile covered by its neighbour.
        mirror_axes: spatial axes (of the tile) over whose flips the logits are averaged.
        batch: tiles (and mirror copies) that go through the network at once, at most; fewer where they are large for
            the device.
        skip_empty: leave out tiles in which each channel has one value only. Other tiles that see a voxel count as
            much as they do among themselves; where there are none, it is background for certain.
        regions: the outputs are regions, of which none is background; matters to `skip_empty` alone.
    """

    tile: tuple[int, ...]
    overlap: float = 0.5
    mirror_axes: tuple[int, ...] = ()
    batch: int = 1
    skip_empty: bool = False
    regions: bool = False


def predict_logits(
    networks: Sequence[nn.Module],
    image: Float32[Tensor, "channel z y x"],
    outputs: int,
    sliding: Sliding,
    runtime: Runtime,
) -> Float32[Tensor, "{outputs} z y x"]:
    """Logits of a whole image at once, (outputs, Z, Y, X) float32 on the CPU; see `slide`.

    Args:
        networks: in evaluation mode, on the runtime's device; at least one.
        image: float32 (C, Z, Y, X), preprocessed, on the CPU.
        outputs: channels of the logits.
        sliding: tiles and mirroring.
        runtime: device, precision and layout.
    """
    return slide(networks, image, outputs, sliding, runtime).take(0, image.shape[1])


def slide(
    networks: Sequence[nn.Module],
    image: Float32[Tensor, "channel z y x"],
    outputs: int,
    sliding: Sliding,
    runtime: Runtime,
    *,
    bound: int | None = None,
) -> StreamedLogits:
    """Logits averaged over networks, mirror copies and overlapping tiles, computed as their rows are taken.

    Tiles go through the image from the first row (Z) to the last, and a row is handed out when no later tile reaches
    it, so that the sums of one layer of tiles are all that is held: of the networks' last features where these are
    fewer than the outputs.

    Args:
        networks: in evaluation mode, on the runtime's device; usually one per fold.
        image: (C, Z, Y, X) float32, preprocessed; padded here with zeros where smaller than a tile.
        outputs: channels of the logits.
        sliding: tiles, overlap and mirroring.
        runtime: device, precision and layout.
        bound: bytes of sums beyond which they lie in a temporary file; None takes half of the available memory.
    """
    z, y, x = image.shape[1:]
    bound = memory_bound() if bound is None else bound
    headless = None if sliding.skip_empty else without_heads(networks, outputs)
    if headless is None:
        pass_ = _Pass(tuple(networks), outputs, sliding, runtime)
        readout = None
    else:
        bodies, readout = headless
        pass_ = _Pass(bodies, readout.weight.shape[1], sliding, runtime, joined=True)
    stopped = Event()
    return StreamedLogits((outputs, z, y, x), _rows(pass_, image, bound, stopped), readout, stopped)


@dataclass(frozen=True)
class _Pass:
    """Networks as one function of tiles.

    Attributes:
        channels: of what they make of a tile together.
        joined: their channels stand one after the other; else their mean is taken.
    """

    networks: tuple[nn.Module, ...]
    channels: int
    sliding: Sliding
    runtime: Runtime
    joined: bool = False

    def __call__(self, tiles: Tensor, at_once: int) -> Tensor:
        """Tiles (T, C, *tile) on the CPU -> (T, channels, *tile) float32 on the device, the mean over flips.

        Args:
            at_once: tiles and mirror copies that go through a network at once.
        """
        runtime, combinations = self.runtime, mirror_combinations(self.sliding.mirror_axes)
        tiles = tiles.to(runtime.device)
        layout = runtime.memory_format(tiles.ndim - 2)
        flips_at_once = max(1, at_once // len(tiles))
        totals: list[Tensor | None] = [None] * len(self.networks)
        for first in range(0, len(combinations), flips_at_once):
            group = combinations[first : first + flips_at_once]
            copies = torch.cat([tiles.flip(_flip_dims(axes)) if axes else tiles for axes in group])
            copies = copies.contiguous(memory_format=layout)
            for i, network in enumerate(self.networks):
                with runtime.autocast():
                    outputs = network(copies)
                for axes, part in zip(group, outputs.chunk(len(group)), strict=True):
                    part = part.float().flip(_flip_dims(axes)) if axes else part.float()
                    total = totals[i]
                    totals[i] = part if total is None else total.add_(part)
        sums = [total for total in totals if total is not None]
        result = torch.cat(sums, dim=1) if self.joined and len(sums) > 1 else sum(sums[1:], start=sums[0])
        count = len(combinations) * (1 if self.joined else len(sums))
        return result if count == 1 else result.div_(count)


@torch.inference_mode()
def _rows(pass_: _Pass, image: Tensor, bound: int, stopped: Event) -> Iterator[Tensor]:
    """Finished rows (channels, rows, Y, X) of the image without its padding, in order."""
    sliding = pass_.sliding
    image, inner = _pad(image, sliding.tile)
    shape = tuple(image.shape[1:])
    placed = place_tiles(shape, sliding.tile, sliding.overlap)
    skip = sliding.skip_empty
    if skip:
        placed = _with_tissue(placed, image)
    rows = sliding.tile[0] if len(sliding.tile) == 3 else 1
    channels = pass_.channels + skip
    device = _place_of_sums(4 * channels * rows * prod(shape[1:]), pass_.runtime.device)
    accumulator = Accumulator(channels, rows, shape, inner, device, bound)

    def finished(row: int) -> Iterator[Tensor]:
        for part in accumulator.up_to(row):
            yield covered(part, regions=sliding.regions) if skip else part

    copies = len(mirror_combinations(sliding.mirror_axes))
    at_once = _at_once(pass_, image)
    tiles_at_once = max(1, at_once // copies)
    for first in range(0, len(placed), tiles_at_once):
        group = placed[first : first + tiles_at_once]
        tiles = torch.stack([image[(slice(None), *one.box)].reshape(-1, *sliding.tile) for one in group])
        result = pass_(tiles, at_once).to(device)
        for one, tile in zip(group, with_coverage(result) if skip else result, strict=True):
            yield from finished(one.box[0].start)
            accumulator.add(one, tile)
        del result, tiles
        if stopped.is_set():
            return
    yield from finished(shape[0])


def _with_tissue(placed: list[PlacedTile], image: Tensor) -> list[PlacedTile]:
    """The tiles in which some channel has more than one value."""
    allowed = _ALIKE * (image.amax((1, 2, 3)) - image.amin((1, 2, 3)))

    def differs(one: PlacedTile) -> bool:
        tile = image[(slice(None), *one.box)]
        return bool((tile.amax((1, 2, 3)) - tile.amin((1, 2, 3)) > allowed).any())

    return [one for one in placed if differs(one)]


def _at_once(pass_: _Pass, image: Tensor) -> int:
    """Tiles and mirror copies that go through a network together: at most `Sliding.batch`, and what the device holds.

    A GPU is asked for its memory after one tile went through each network.
    """
    sliding, device = pass_.sliding, torch.device(pass_.runtime.device)
    if device.type == "cpu":
        return max(1, min(sliding.batch, _CPU_VOXELS // prod(sliding.tile)))
    if device.type != "cuda" or sliding.batch == 1:
        return sliding.batch
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    pass_(torch.zeros((1, len(image), *sliding.tile)), 1)
    one = max(1, torch.cuda.max_memory_allocated(device) - before)
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + reusable
    return max(1, min(sliding.batch, int(_GPU_SHARE * free) // one))


def _place_of_sums(size: int, device: str) -> torch.device:
    """The GPU if the sums take a small part of its free memory, else the CPU."""
    own = torch.device(device)
    if own.type == "cuda" and size < torch.cuda.mem_get_info(own)[0] // 4:
        return own
    return torch.device("cpu")


def _flip_dims(axes: tuple[int, ...]) -> list[int]:
    return [axis + 2 for axis in axes]


def _pad(image: Tensor, tile: tuple[int, ...]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image with zeros around it so that a tile fits, and where the image lies inside."""
    least = (1, *tile) if len(tile) == 2 else tile
    padding: list[int] = []
    inner = []
    for length, size in zip(image.shape[1:], least, strict=True):
        missing = max(0, size - length)
        before = missing // 2
        padding = [before, missing - before, *padding]
        inner.append(slice(before, before + length))
    return (functional.pad(image, padding) if any(padding) else image), tuple(inner)
