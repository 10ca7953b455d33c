"""What every similarity keeps to, whoever wrote it, on planes and volumes alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from autoseg import plugins
from autoseg.errors import RegistrationError
from autoseg.tasks.registration.similarities.protocol import Similarity
from autoseg.testing import check_plugin

NAMES = plugins.names("similarity")
OPTIONS = {"mine": {"hidden": (16, 16), "samples": 512}}
"""A small network learns in a moment."""

ONE_MODALITY = ("ssd", "sad", "ncc")
SHAPES = {"plane": (24, 26), "volume": (10, 12, 14)}
TINY = {"plane": (2, 4, 6), "volume": (1, 4, 4, 5)}

every_similarity = pytest.mark.parametrize("name", NAMES)
planes_and_volumes = pytest.mark.parametrize("kind", SHAPES)


def made(name: str, channels: int = 1) -> Similarity:
    options = {**OPTIONS.get(name, {}), **({"channels": channels} if name == "mine" else {})}
    similarity: Similarity = plugins.resolve("similarity", name)(**options)
    return similarity


def smooth(shape: tuple[int, ...], seed: int = 0, sigma: float = 1.5) -> Tensor:
    """A random pattern (*shape) from 0 to 1, float64."""
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pattern = torch.from_numpy(gaussian_filter(noise.numpy(), sigma))
    return (pattern - pattern.min()) / (pattern.max() - pattern.min())


def shifted_copies(shape: tuple[int, ...]) -> list[Tensor]:
    """A window of a larger pattern, then the same window some voxels further along each axis: (1, *S)."""
    pattern = smooth(tuple(n + 8 for n in shape))
    starts = [(4,) * len(shape)]
    for axis in range(len(shape)):
        starts += [tuple(4 + step * (one == axis) for one in range(len(shape))) for step in (-4, -2, -1, 1, 2, 4)]
    return [pattern[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))][None] for start in starts]


def some_mask(shape: tuple[int, ...]) -> Tensor:
    """About three quarters of the voxels, in one piece with a ragged border."""
    return smooth(shape, seed=5, sigma=1.0) > 0.35


def trained(name: str, fixed: Tensor, warped: Tensor, channels: int = 1) -> Similarity:
    """The similarity, after it has learned about the pair whatever it has to learn."""
    similarity = made(name, channels)
    if isinstance(similarity, nn.Module):
        similarity.to(fixed.dtype)
        optimizer = torch.optim.Adam(similarity.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            similarity(fixed, warped).backward()
            optimizer.step()
    return similarity


def repeatable(similarity: Similarity) -> Similarity:
    """The same loss at each call, also where voxels are drawn."""

    def call(fixed: Tensor, warped: Tensor, mask: Tensor | None = None) -> Tensor:
        generator = getattr(similarity, "generator", None)
        if generator is not None:
            generator.manual_seed(3)
        return similarity(fixed, warped, mask)

    return call


def in_float64(name: str, channels: int = 1) -> Similarity:
    similarity = made(name, channels)
    return repeatable(similarity.double() if isinstance(similarity, nn.Module) else similarity)


def losses_of_copies(name: str, fixed: Tensor, copies: list[Tensor]) -> list[float]:
    """The loss of each copy; a learned measure is learned for each anew."""
    return [float(repeatable(trained(name, fixed, copy))(fixed, copy).detach()) for copy in copies]


@every_similarity
@pytest.mark.usefixtures("unchecked_shapes")
def test_it_keeps_the_contract(name: str) -> None:
    check_plugin("similarity", name, **OPTIONS.get(name, {}))


@every_similarity
@planes_and_volumes
def test_an_image_is_most_like_itself_among_shifted_copies(name: str, kind: str) -> None:
    copies = shifted_copies(SHAPES[kind])
    copies = copies[::6] if name == "mine" else copies  # those by four voxels: learning takes its time
    losses = losses_of_copies(name, copies[0], copies)
    assert losses[0] < min(losses[1:])


@pytest.mark.parametrize("change", [lambda x: 1 - x, lambda x: (2 * (x - 0.5)).square()], ids=["inverted", "folded"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*ONE_MODALITY, "mine")])
def test_other_modalities_are_told_from_shifted_ones(name: str, change: Callable[[Tensor], Tensor]) -> None:
    copies = [change(copy) for copy in shifted_copies(SHAPES["plane"])]
    losses = losses_of_copies(name, shifted_copies(SHAPES["plane"])[0], copies)
    assert losses[0] < min(losses[1:])


@pytest.mark.parametrize("name", ONE_MODALITY)
def test_similarities_of_one_modality_fail_on_an_inverted_image(name: str) -> None:
    copies = shifted_copies(SHAPES["plane"])
    losses = losses_of_copies(name, copies[0], [1 - copy for copy in copies])
    assert losses[0] > min(losses)


@every_similarity
@planes_and_volumes
def test_the_gradient_is_that_of_the_loss(name: str, kind: str) -> None:
    fixed, warped = (smooth(TINY[kind], seed, sigma=0.6) for seed in (1, 2))
    fixed, warped = 0.05 + 0.9 * fixed, 0.05 + 0.9 * warped  # a value at the end of the range has one-sided slopes
    similarity = in_float64(name, channels=len(fixed))
    mask = torch.ones(fixed.shape[1:], dtype=torch.float64)
    mask[0], mask[:, 0], mask[1, 1:3] = 0, 0, 0.5
    inputs = fixed.requires_grad_(), warped.requires_grad_()
    for weights in (None, mask):
        loss = partial(similarity, mask=weights)
        assert torch.autograd.gradcheck(loss, inputs, eps=1e-7, atol=1e-6, fast_mode=kind == "volume")


@every_similarity
@planes_and_volumes
def test_the_loss_is_one_number_of_the_images_dtype(name: str, kind: str) -> None:
    fixed, warped = (smooth(SHAPES[kind], seed)[None].float() for seed in (1, 2))
    with torch.no_grad():
        loss = repeatable(made(name))(fixed, warped)
        precise = in_float64(name)(fixed.double(), warped.double())
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(precise), abs=1e-4)


@every_similarity
@planes_and_volumes
def test_what_lies_outside_the_mask_does_not_matter(name: str, kind: str) -> None:
    fixed, warped = (smooth(SHAPES[kind], seed)[None] for seed in (1, 2))
    mask = some_mask(SHAPES[kind])
    similarity = in_float64(name)
    results = []
    for elsewhere in (None, 7.0, torch.nan):
        pair = [image if elsewhere is None else torch.where(mask, image, elsewhere) for image in (fixed, warped)]
        pair[1] = pair[1].clone().requires_grad_()
        loss = similarity(pair[0], pair[1], mask)
        (gradient,) = torch.autograd.grad(loss, pair[1])
        assert not gradient[:, ~mask].any()
        results.append((loss.detach(), gradient))
    for loss, gradient in results[1:]:
        torch.testing.assert_close(loss, results[0][0])
        torch.testing.assert_close(gradient, results[0][1])


@every_similarity
@planes_and_volumes
def test_masks_of_numbers_and_of_truth_agree(name: str, kind: str) -> None:
    fixed, warped = (smooth(SHAPES[kind], seed)[None] for seed in (1, 2))
    mask = some_mask(SHAPES[kind])
    similarity = in_float64(name)
    torch.testing.assert_close(similarity(fixed, warped, mask), similarity(fixed, warped, mask.double()))
    if name != "mine":  # which draws other voxels
        everything = torch.ones_like(mask)
        torch.testing.assert_close(similarity(fixed, warped, everything), similarity(fixed, warped))


@every_similarity
@planes_and_volumes
def test_constant_images_have_a_finite_loss_and_gradient(name: str, kind: str) -> None:
    pattern = smooth(SHAPES[kind])[None].float()
    flat = torch.full_like(pattern, 0.4)
    similarity = made(name)
    for fixed, warped in ((flat, flat), (flat, pattern), (pattern, flat), (flat * 0, flat * 0)):
        moving = warped.clone().requires_grad_()
        loss = similarity(fixed, moving)
        (gradient,) = torch.autograd.grad(loss, moving)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
        if not warped.std() and not fixed.std():
            assert gradient.abs().max() < 1e-6


@every_similarity
def test_one_voxel_is_enough_not_to_fail(name: str) -> None:
    fixed, warped = (smooth(SHAPES["plane"], seed)[None].requires_grad_() for seed in (1, 2))
    mask = torch.zeros(SHAPES["plane"], dtype=torch.bool)
    mask[3, 4] = True
    loss = in_float64(name)(fixed, warped, mask)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(one).all() for one in torch.autograd.grad(loss, (fixed, warped), allow_unused=True))


@every_similarity
@planes_and_volumes
def test_no_voxel_is_an_error(name: str, kind: str) -> None:
    image = smooth(SHAPES[kind])[None].float()
    for dtype in (torch.bool, torch.float32):
        with pytest.raises(RegistrationError, match="no voxel"):
            made(name)(image, image, torch.zeros(SHAPES[kind], dtype=dtype))
    with pytest.raises(RegistrationError, match="no voxel"):
        made(name)(image[:, :0], image[:, :0])


@pytest.mark.usefixtures("unchecked_shapes")
@every_similarity
def test_shapes_that_differ_are_an_error(name: str) -> None:
    image = smooth(SHAPES["plane"])[None].float()
    with pytest.raises(RegistrationError, match="different shapes"):
        made(name)(image, image[:, 1:])
    with pytest.raises(RegistrationError, match="mask has another shape"):
        made(name)(image, image, torch.ones(3, 3))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mine"])
def test_several_channels_count_alike(name: str) -> None:
    fixed, warped = (torch.stack([smooth(SHAPES["plane"], seed + k) for k in range(3)]) for seed in (1, 5))
    each = [made(name)(one[None], other[None]) for one, other in zip(fixed, warped, strict=True)]
    torch.testing.assert_close(made(name)(fixed, warped), torch.stack(each).mean())
