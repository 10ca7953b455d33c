"""Tiles without tissue are left out, and sums beyond the bound lie in a file: neither changes what matters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autoseg.inference.sliding_window import Sliding, slide
from autoseg.inference.tiling import place_tiles
from autoseg.training.runtime import Runtime


class _Counting(nn.Module):
    """Pointwise logits of background and one label; remembers how many tiles it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles = 0

    def forward(self, image: Tensor) -> Tensor:
        self.tiles += len(image)
        return torch.cat([0.5 - image[:, :1], image[:, :1] * 2], dim=1)


def _body(rows: slice) -> Tensor:
    image = torch.full((1, 40, 16, 16), -1.0)
    image[:, rows, 4:9, 4:9] = 2 + torch.rand((5, 5), generator=torch.Generator().manual_seed(0))
    return image


@pytest.mark.parametrize("rows", [slice(22, 26), slice(0, 3), slice(36, 40)])
@pytest.mark.parametrize("regions", [False, True])
def test_only_tiles_with_tissue_are_computed(rows: slice, regions: bool) -> None:
    image, tile = _body(rows), (8, 8, 8)
    image += 1e-7 * torch.rand(image.shape)  # what resampling leaves of a constant
    all_, few = _Counting(), _Counting()
    whole = slide([all_], image, 2, Sliding(tile), Runtime()).take(0, 40)
    skipping = Sliding(tile, skip_empty=True, regions=regions)
    found = slide([few], image, 2, skipping, Runtime()).take(0, 40)
    boxes = [one.box for one in place_tiles(image.shape[1:], tile)]
    with_tissue = [box for box in boxes if float(image[(0, *box)].max()) > 0]
    assert few.tiles == len(with_tissue) < all_.tiles == len(boxes)
    seen = torch.zeros(image.shape[1:], dtype=torch.bool)
    for box in with_tissue:
        seen[box] = True
    torch.testing.assert_close(found[:, seen], whole[:, seen])
    empty = found[:, ~seen]
    assert (empty[1] == -30).all()
    assert (empty[0] == (-30 if regions else 30)).all()


def test_an_image_without_any_tissue_is_background() -> None:
    network = _Counting()
    found = slide([network], torch.zeros(1, 20, 9, 9), 2, Sliding((8, 8, 8), skip_empty=True), Runtime()).take(0, 20)
    assert network.tiles == 0
    assert (found.argmax(0) == 0).all()


def test_slices_without_tissue_are_left_out_of_a_2d_prediction() -> None:
    network, image = _Counting(), _body(slice(10, 12))
    found = slide([network], image, 2, Sliding((16, 16), skip_empty=True), Runtime()).take(0, 40)
    assert network.tiles == 2
    assert (found[1] > found[0]).any((1, 2)).nonzero().flatten().tolist() == [10, 11]


@pytest.mark.parametrize("skip", [False, True])
def test_sums_in_a_file_are_those_in_memory(skip: bool) -> None:
    image = torch.randn((1, 30, 14, 15), generator=torch.Generator().manual_seed(1))
    sliding = Sliding((8, 8, 8), batch=3, skip_empty=skip)
    results = [slide([_Counting()], image, 2, sliding, Runtime(), bound=bound).take(0, 30) for bound in (0, 2**30)]
    assert torch.equal(*results)
