"""Tiles over images of any shape, the rows that are handed out, and labels made of regions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from skimage.transform import resize as skimage_resize
from torch import Tensor, nn

from autoseg.data.labels import LabelScheme
from autoseg.inference.interpolation import interpolated
from autoseg.inference.reduction import paint, reduce_voxels
from autoseg.inference.rows import StreamedLogits, WholeLogits
from autoseg.inference.sliding_window import Sliding, slide
from autoseg.inference.tiling import count_tiles, place_tiles, tile_starts
from autoseg.losses.target import Target
from autoseg.training.runtime import Runtime

Shape = tuple[int, ...]

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(*[st.integers(1, 12)] * 3)
OVERLAPS = st.floats(0, 0.9)
AXES = st.sets(st.integers(0, 2)).map(lambda axes: tuple(sorted(axes)))


def values(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def grids(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """An image (Z, Y, X) and a tile of 2 or 3 axes that fits into it."""
    image = draw(st.tuples(*[st.integers(1, 16)] * 3))
    tile = tuple(draw(st.integers(1, length)) for length in image)
    return image, tile[1:] if draw(st.booleans()) else tile


@given(grids(), OVERLAPS)
@example(((9, 9, 9), (1, 4, 9)), 0.5)  # half of one voxel
def test_tiles_cover_every_voxel_with_shares_that_sum_to_one(grid: tuple[Shape, Shape], overlap: float) -> None:
    image, tile = grid
    placed = place_tiles(image, tile, overlap)
    assert len(placed) == count_tiles(image, tile, overlap)
    total = torch.zeros(image, dtype=torch.float64)
    size = (1, *tile)[-3:]
    for one in placed:
        z, y, x = one.weights
        share = z[:, None, None] * y[:, None] * x
        assert share.min() > 0
        assert all(0 <= part.start < part.stop <= length for part, length in zip(one.box, image, strict=True))
        assert total[one.box].shape == share.shape == size
        total[one.box] += share
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)


@given(grids(), OVERLAPS)
@example(((9, 9, 9), (1, 4, 9)), 0.5)
def test_tiles_go_from_edge_to_edge_and_overlap_as_asked(grid: tuple[Shape, Shape], overlap: float) -> None:
    image, tile = grid
    shape = image[-len(tile) :]
    starts = tile_starts(shape, tile, overlap)
    assert len(set(starts)) == len(starts)
    for axis, (length, size) in enumerate(zip(shape, tile, strict=True)):
        along = sorted({start[axis] for start in starts})
        assert (along[0], along[-1]) == (0, length - size)
        # places are rounded to whole voxels, at either end
        assert all(after - before < max(1, size * (1 - overlap)) + 1 + 1e-9 for before, after in pairwise(along))


class Pointwise(nn.Module):
    """Logits that depend on their own voxel alone: neither tiles nor mirroring may show."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([3 * image[:, :1] - 1, image[:, -1:] ** 2], dim=1)


@given(
    SEEDS,
    SHAPES,
    st.lists(st.integers(3, 10), min_size=2, max_size=3).map(tuple),
    st.floats(0, 0.6),
    AXES,
    st.integers(1, 5),
    st.sampled_from((None, 0)),
)
def test_a_pointwise_network_gives_the_same_as_without_tiles(
    seed: int, shape: Shape, tile: Shape, overlap: float, axes: Shape, batch: int, bound: int | None
) -> None:
    image = values(seed, 2, *shape)
    sliding = Sliding(tile, overlap, tuple(axis for axis in axes if axis < len(tile)), batch)
    rows = slide([Pointwise()], image, 2, sliding, Runtime(), bound=bound)
    expected = torch.stack([3 * image[0] - 1, image[1] ** 2])
    torch.testing.assert_close(rows.take(0, shape[0]), expected, atol=1e-5, rtol=1e-5)


@given(SEEDS, st.tuples(*[st.integers(2, 6)] * 3), AXES)
def test_a_mirrored_image_has_mirrored_logits(seed: int, shape: Shape, axes: Shape) -> None:
    convolution = nn.Conv3d(1, 2, 3, padding=1)
    with torch.no_grad():
        convolution.weight.copy_(values(seed, 2, 1, 3, 3, 3))
    sliding, dims = Sliding(shape, mirror_axes=axes), [axis + 1 for axis in axes]
    image = values(seed + 1, 1, *shape)
    plain, mirrored = (
        slide([convolution], one, 2, sliding, Runtime()).take(0, shape[0]) for one in (image, image.flip(dims))
    )
    torch.testing.assert_close(mirrored.flip(dims), plain, atol=1e-4, rtol=1e-4)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12),
)
def test_rows_are_the_same_in_whatever_pieces_they_come(lengths: list[int], steps: list[tuple[int, int]]) -> None:
    rows = sum(lengths)
    whole = torch.arange(float(2 * rows * 3)).view(2, rows, 1, 3)
    streamed = StreamedLogits((2, rows, 1, 3), iter(whole.split(lengths, dim=1)))
    low = high = 0
    for begin, end in [*steps, (0, rows)]:
        low = min(low + begin, rows - 1)
        high = min(max(high + end, low + 1), rows)
        assert torch.equal(streamed.take(low, high), whole[:, low:high])


@given(SEEDS, SHAPES, SHAPES, st.sampled_from((None, 0, 1, 2)), st.integers(1, 5))
def test_interpolated_rows_are_those_of_the_whole(
    seed: int, shape: Shape, wanted: Shape, apart: int | None, height: int
) -> None:
    volume = values(seed, 2, *shape)
    parts: Iterator[tuple[slice, Tensor]] = interpolated(WholeLogits(volume), wanted, apart, height)
    made, end = torch.empty(2, *wanted), 0
    for rows, part in parts:
        assert rows.start == end
        made[:, rows], end = part, rows.stop
    assert end == wanted[0]
    options = {"mode": "edge", "anti_aliasing": False}
    channels = volume.double().numpy()
    if apart is not None:  # along this axis first, by itself
        slices = [wanted[axis] if axis == apart else shape[axis] for axis in range(3)]
        channels = np.stack([skimage_resize(one, slices, 0, **options) for one in channels])
    expected = np.stack([skimage_resize(one, wanted, 1, **options) for one in channels])
    np.testing.assert_allclose(made, expected, atol=1e-5)


@given(SEEDS, st.integers(2, 6), st.integers(1, 3))
def test_labels_are_the_first_largest_mean_probability(seed: int, count: int, models: int) -> None:
    scheme = LabelScheme(names={str(value): value for value in range(count)})
    rng = np.random.default_rng(seed)
    logits = rng.integers(-2, 3, (models, count, 3, 4, 5)).astype(np.float32)  # equal ones are common
    found = reduce_voxels([torch.from_numpy(one) for one in logits], [None] * models, scheme)
    if models == 1:
        np.testing.assert_array_equal(found, logits[0].argmax(0))
    else:
        powers = np.exp(logits.astype(np.float64))
        mean = (powers / powers.sum(1, keepdims=True)).mean(0)
        chosen = np.take_along_axis(mean, found[None].astype(np.int64), 0)[0]
        np.testing.assert_allclose(chosen, mean.max(0), atol=1e-6)


@given(SEEDS, st.lists(st.integers(1, 300), min_size=1, max_size=5, unique=True), st.booleans())
def test_nested_regions_made_of_labels_are_painted_back(seed: int, file_values: list[int], ignored: bool) -> None:
    regions = {f"from {place}": tuple(file_values[place:]) for place in range(len(file_values))}
    ignore = 301 if ignored else None
    scheme = LabelScheme(names={"background": 0}, regions=regions, region_order=tuple(file_values), ignore=ignore)
    choice = [*scheme.values, *([ignore] if ignored else [])]
    labels = np.random.default_rng(seed).choice(choice, (1, 1, 4, 5, 6))
    target = Target.from_labels(
        torch.from_numpy(scheme.encode(labels)),
        ignore=scheme.training_ignore,
        regions=tuple(scheme.training_foreground.values()),
    )
    painted = scheme.decode(paint(target.one_hot()[0].float().numpy(), scheme, threshold=0.5))
    np.testing.assert_array_equal(
        painted, np.where(labels[0, 0] == ignore, 0, labels[0, 0]) if ignored else labels[0, 0]
    )
    annotated = target.mask if target.mask is not None else torch.ones(labels.shape, dtype=torch.bool)
    np.testing.assert_array_equal(annotated, labels != ignore if ignored else True)
