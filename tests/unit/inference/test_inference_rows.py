"""Logits row by row are those of the whole image, and little of them is held at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.inference.rows import StreamedLogits, WholeLogits, in_memory
from autoseg.inference.sliding_window import Sliding, predict_logits, slide
from autoseg.inference.tiling import importance, tile_starts
from autoseg.training.runtime import Runtime


class _Local(nn.Module):
    """Outputs that depend on the place in the tile, so that overlaps matter."""

    def forward(self, image: Tensor) -> Tensor:
        ramp = torch.linspace(0, 1, image.shape[2]).reshape(-1, *(1,) * (image.ndim - 3))
        return torch.cat([image * ramp, image + ramp, functional.relu(image)], dim=1)


def _reference(image: Tensor, tile: tuple[int, int, int]) -> Tensor:
    """Sums over the whole padded image, as the formula has them."""
    padding = [max(0, size - length) for length, size in zip(image.shape[1:], tile, strict=True)]
    before = [missing // 2 for missing in padding]
    wide = functional.pad(image, [n for b, m in zip(before[::-1], padding[::-1], strict=True) for n in (b, m - b)])
    total, weights, weight = torch.zeros((3, *wide.shape[1:])), torch.zeros(wide.shape[1:]), importance(tile)
    for start in tile_starts(wide.shape[1:], tile):
        box = tuple(slice(a, a + n) for a, n in zip(start, tile, strict=True))
        total[(slice(None), *box)] += _Local()(wide[(slice(None), *box)][None])[0] * weight
        weights[box] += weight
    inner = tuple(slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True))
    return (total / weights)[(slice(None), *inner)]


@pytest.mark.parametrize("shape", [(17, 9, 12), (5, 20, 7), (8, 8, 8), (23, 3, 3)])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_rows_are_those_of_the_whole_image(shape: tuple[int, int, int], batch: int) -> None:
    image = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1))
    sliding = Sliding((8, 6, 8), batch=batch)
    whole = predict_logits([_Local()], image, 3, sliding, Runtime())
    torch.testing.assert_close(whole, _reference(image, (8, 6, 8)), rtol=1e-5, atol=1e-6)
    rows = slide([_Local()], image, 3, sliding, Runtime())
    assert rows.shape == whole.shape
    windows = [(low, min(low + 4, shape[0])) for low in range(0, shape[0], 3)]  # they overlap by a row
    assert all(torch.equal(rows.take(low, high), whole[:, low:high]) for low, high in windows)


def test_slices_of_a_2d_network_come_one_by_one() -> None:
    image = torch.randn((1, 5, 9, 10), generator=torch.Generator().manual_seed(2))
    sliding = Sliding((6, 6), batch=7)
    whole = predict_logits([_Local()], image, 3, sliding, Runtime())
    for z in range(5):
        alone = predict_logits([_Local()], image[:, z : z + 1], 3, sliding, Runtime())
        assert torch.equal(whole[:, z : z + 1], alone)


def test_only_rows_that_can_still_be_asked_for_are_held() -> None:
    made: list[int] = []

    def parts() -> Iterator[Tensor]:
        for i in itertools.count():
            made.append(i)
            yield torch.full((2, 3, 1, 1), float(i))

    rows = StreamedLogits((2, 12, 1, 1), parts())
    assert made == []
    assert rows.take(0, 4).flatten().tolist() == [0, 0, 0, 1] * 2
    assert made == [0, 1]
    assert rows.take(7, 9)[0].flatten().tolist() == [2, 2]
    with pytest.raises(ValueError, match="below 6 are gone"):
        rows.take(5, 9)
    with pytest.raises(ValueError, match="of 12"):
        rows.take(9, 13)


def test_what_is_in_memory_can_be_taken_again() -> None:
    whole = in_memory(StreamedLogits((1, 4, 1, 1), iter([torch.arange(4.0).reshape(1, 4, 1, 1)])))
    assert in_memory(whole) is whole
    assert isinstance(whole, WholeLogits)
    assert [whole.take(low, low + 2).flatten().tolist() for low in (2, 0)] == [[2, 3], [0, 1]]


def test_rows_computed_ahead_are_the_same() -> None:
    def logits() -> StreamedLogits:
        return StreamedLogits((1, 6, 1, 1), iter(torch.arange(6.0).reshape(3, 1, 2, 1, 1)))

    rows, ahead = logits(), logits().ahead()
    assert ahead.shape == rows.shape
    for low in (0, 1, 4):
        assert torch.equal(ahead.take(low, low + 2), rows.take(low, low + 2))
