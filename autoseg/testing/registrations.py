"""The contracts of what registers images: similarities, regularisers, methods, and transfers of labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from autoseg.data.image import Geometry, Image
from autoseg.errors import AutosegError
from autoseg.tasks.registration.methods import RegistrationOptions, register
from autoseg.tasks.registration.pair import prepare
from autoseg.testing.subject import Subject

_SHAPES = {"plane": (24, 26), "volume": (10, 12, 14)}
_SHIFT = (0.0, 2.0, -2.0)
"""mm (z, y, x) from the fixed to the moving image."""

_QUICK = {"stages": ("center", "translation"), "iterations": 30}


def check_similarity(subject: Subject, **options: Any) -> None:
    """A similarity keeps these promises, on planes and volumes.

    - Of (fixed, warped, mask), images (C, *space), it gives a finite scalar of their dtype with a finite gradient;
      lower means more alike.
    - An image is more like itself than like shifted copies. (One with weights of its own is trained for each first.)
    - What lies outside the mask has no influence and no gradient, even if it is not a number; masks of bool and of
      numbers agree.
    - Constant images have a finite loss and gradient.
    - Images or masks of other shapes, and a mask without a voxel, are an `AutosegError`.

    Args:
        subject: the plug-in.
        options: of the similarity.
    """

    def made() -> Any:
        return subject.plugin(**options)

    for kind, shape in _SHAPES.items():
        fixed, warped = (_pattern(shape, seed)[None] for seed in (1, 2))
        loss = _call(made(), fixed.float(), warped.float().requires_grad_())
        typed = isinstance(loss, Tensor) and loss.shape == () and loss.dtype == torch.float32
        subject.promise(typed, f"a float32 scalar for a {kind}", loss)
        subject.promise(bool(torch.isfinite(loss)), f"a finite loss for a {kind}", loss)
        _check_mask(subject, made, fixed, warped)
        _check_constant(subject, made, shape)
        _check_refusals(subject, made, shape)
    _check_shifts(subject, made)


def check_regularizer(subject: Subject, **options: Any) -> None:
    """A regulariser keeps these promises, in 2D and 3D.

    - Of a field (D, *space) in mm and a spacing it gives a scalar of the field's dtype, finite and not below zero, with
      a finite gradient.
    - A field that is constant costs nothing; one that folds space costs something.
    - An axis of one voxel has no derivative and is no error.

    Args:
        subject: the plug-in.
        options: of the regulariser.
    """
    for dimension, shape in ((2, (9, 11)), (3, (7, 8, 9)), (3, (1, 8, 9))):
        spacing = (2.0, 1.0, 1.5)[:dimension]
        constant = torch.ones((dimension, *shape)) * 3.0
        wild = 12 * torch.randn((dimension, *shape), generator=torch.Generator().manual_seed(0))
        for dtype in (torch.float32, torch.float64):
            field = wild.to(dtype).requires_grad_()
            loss = subject.plugin(field, spacing, **options)
            typed = isinstance(loss, Tensor) and loss.shape == () and loss.dtype == dtype
            subject.promise(typed, f"a scalar of {dtype}", loss)
            (gradient,) = torch.autograd.grad(loss, field)
            loss = loss.detach()
            subject.promise(bool(torch.isfinite(loss)) and float(loss) >= 0, "a finite loss, not below zero", loss)
            subject.promise(bool(torch.isfinite(gradient).all()), "a finite gradient")
            free = float(subject.plugin(constant.to(dtype), spacing, **options))
            subject.promise(abs(free) < 1e-6, "0 for a constant field", free)
            subject.promise(1 in shape or float(loss) > 1e-6, "a cost of a field that folds space", loss)


def check_registration(subject: Subject, **options: Any) -> None:
    """A method of registration keeps these promises, on a plane and a volume that are shifted by 2 mm along two axes.

    - Of (pair, options, seed, device) it gives a result with a `transform` of the world's points, the stages that ran
      (each with a name and the similarity before and after), and warnings in words. The pair stays as it is.
    - The transform brings the object of the fixed image nearer to that of the moving one.
    - Equal seeds give equal transforms.

    Args:
        subject: the plug-in.
        options: `RegistrationOptions`; by default two linear stages of few iterations.
    """
    asked = RegistrationOptions.from_mapping({**_QUICK, **options})
    for dimension in (2, 3):
        fixed, moving = (_object(dimension, shift)[0] for shift in ((0.0, 0.0, 0.0), _SHIFT))
        pair = prepare(fixed, moving)
        kept = pair.fixed.clone()
        first = register(pair, asked, method=subject.name, seed=1)
        subject.promise(torch.equal(pair.fixed, kept), "the images as they were")
        points = torch.from_numpy(_points(dimension))
        truth = points + torch.tensor(_SHIFT[3 - dimension :], dtype=points.dtype)
        before, after = (float((way - truth).norm(dim=-1).mean()) for way in (points, first.transform(points)))
        words = f"points nearer to where they belong than the {before:.2f} mm before ({dimension}D)"
        subject.promise(after < 0.5 * before, words, f"{after:.2f} mm")
        if dimension == 2:
            again = register(pair, asked, method=subject.name, seed=1).transform(points)
            subject.promise(torch.equal(first.transform(points), again), "equal transforms for equal seeds")
        for stage in first.stages:
            told = bool(stage.name) and math.isfinite(stage.before) and math.isfinite(stage.after)
            subject.promise(told, "stages with a name and the similarity before and after", stage)
        subject.promise(all(isinstance(one, str) for one in first.warnings), "warnings in words", first.warnings)


def check_label_transfer(subject: Subject, *, method: str = "multi-stage") -> None:
    """A transfer of labels keeps these promises, on volumes of two subjects and on planes.

    - It gives values (Z, Y, X) of the labels' dtype on the voxels that are asked for, with no value but theirs and 0;
      nothing that it is given changes.
    - Labels of an image that is shifted come to lie where the other image has them, better than without moving them.
    - Equal input gives equal labels.

    Args:
        subject: the plug-in.
        method: plug-in of kind "registration".
    """
    for dimension in (2, 3):
        (fixed, reference), (moving, labels) = (_object(dimension, shift) for shift in ((0.0, 0.0, 0.0), _SHIFT))
        kept = labels.array.copy()
        given = (labels, moving, fixed, fixed.geometry, fixed.shape)
        first = subject.plugin(*given, method=method)
        typed = first.shape == fixed.shape and first.dtype == labels.array.dtype
        subject.promise(typed, f"{labels.array.dtype} of shape {fixed.shape}", f"{first.dtype} of shape {first.shape}")
        values = set(np.unique(first).tolist())
        subject.promise(values <= {0, 1}, "values of the labels, and 0", sorted(values))
        subject.promise(bool(np.array_equal(labels.array, kept)), "labels as they were")
        if dimension == 2:
            again = subject.plugin(*given, method=method)
            subject.promise(bool(np.array_equal(first, again)), "equal labels for equal input")
        mask = reference.array[0] > 0
        before, after = (_dice(mask, one > 0) for one in (labels.array[0], first))
        subject.promise(after > before, f"labels that fit better than the Dice of {before:.2f} before", f"{after:.2f}")


def _pattern(shape: tuple[int, ...], seed: int = 0, sigma: float = 1.5) -> Tensor:
    """A random smooth pattern (*shape) from 0 to 1, float64."""
    noise = np.random.default_rng((seed, *shape)).random(shape)
    pattern: np.ndarray = gaussian_filter(noise, sigma)
    return torch.from_numpy((pattern - pattern.min()) / (pattern.max() - pattern.min()))


def _call(similarity: Any, fixed: Tensor, warped: Tensor, mask: Tensor | None = None) -> Tensor:
    """The loss; one that draws voxels draws the same ones each time."""
    generator = getattr(similarity, "generator", None)
    if generator is not None:
        generator.manual_seed(3)
    loss: Tensor = similarity(fixed, warped, mask)
    return loss


def _precise(made: Callable[[], Any]) -> Any:
    similarity = made()
    return similarity.double() if isinstance(similarity, nn.Module) else similarity


def _check_mask(subject: Subject, made: Callable[[], Any], fixed: Tensor, warped: Tensor) -> None:
    similarity, mask = _precise(made), _pattern(tuple(fixed.shape[1:]), seed=5, sigma=1.0) > 0.35
    results = []
    for elsewhere in (None, 7.0, torch.nan):
        one, other = (image if elsewhere is None else torch.where(mask, image, elsewhere) for image in (fixed, warped))
        other = other.clone().requires_grad_()
        loss = _call(similarity, one, other, mask)
        (gradient,) = torch.autograd.grad(loss, other)
        subject.promise(bool(torch.isfinite(gradient).all()), "a finite gradient")
        subject.promise(not gradient[:, ~mask].any(), "no gradient outside the mask")
        results.append(float(loss.detach()))
    close = np.allclose(results, results[0], rtol=1e-5, atol=1e-7)
    subject.promise(bool(close), "a loss that does not depend on what lies outside the mask", results)
    numbers = float(_call(similarity, fixed, warped, mask.double()).detach())
    alike = bool(np.isclose(results[0], numbers, rtol=1e-5, atol=1e-7))
    subject.promise(alike, "the same loss for masks of bool and of numbers", f"{results[0]} and {numbers}")


def _check_constant(subject: Subject, made: Callable[[], Any], shape: tuple[int, ...]) -> None:
    pattern = _pattern(shape)[None].float()
    flat = torch.full_like(pattern, 0.4)
    for fixed, warped in ((flat, flat), (flat, pattern), (pattern, flat), (flat * 0, flat * 0)):
        moved = warped.clone().requires_grad_()
        loss = _call(made(), fixed, moved)
        (gradient,) = torch.autograd.grad(loss, moved, allow_unused=True)
        finite = bool(torch.isfinite(loss)) and (gradient is None or bool(torch.isfinite(gradient).all()))
        subject.promise(finite, "a finite loss and gradient of constant images", loss)


def _check_refusals(subject: Subject, made: Callable[[], Any], shape: tuple[int, ...]) -> None:
    image = _pattern(shape)[None].float()
    wrong = {
        "a mask without a voxel": (image, image, torch.zeros(shape, dtype=torch.bool)),
        "images without a voxel": (image[:, :0], image[:, :0], None),
        "images of different shapes": (image, image[:, 1:], None),
        "a mask of another shape": (image, image, torch.ones((3,) * len(shape))),
    }
    for words, given in wrong.items():
        try:
            loss = made()(*given)
        except AutosegError:
            continue
        subject.promise(False, f"an AutosegError for {words}", loss)


def _check_shifts(subject: Subject, made: Callable[[], Any]) -> None:
    shape = _SHAPES["plane"]
    pattern = _pattern(tuple(n + 8 for n in shape))
    starts = [(4, 4), (0, 4), (8, 4), (4, 0), (4, 8)]
    copies = [pattern[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))][None] for start in starts]
    losses = []
    for copy in copies:
        similarity = _precise(made)
        if isinstance(similarity, nn.Module):
            optimizer = torch.optim.Adam(similarity.parameters(), lr=0.02)
            for _ in range(150):
                optimizer.zero_grad()
                similarity(copies[0], copy).backward()
                optimizer.step()
        losses.append(float(_call(similarity, copies[0], copy).detach()))
    subject.promise(losses[0] < min(losses[1:]), "an image most like itself among shifted copies", losses)


def _object(dimension: int, shift: tuple[float, float, float]) -> tuple[Image, Image]:
    """A bright lopsided object on a smooth ground, and its mask; the object lies `shift` mm further."""
    shape = (1, 28, 30) if dimension == 2 else (12, 20, 22)
    geometry = Geometry.plane() if dimension == 2 else Geometry()
    places = np.indices(shape).astype(float)
    z, y, x = (axis - (length - 1) / 2 - step for axis, length, step in zip(places, shape, shift, strict=True))
    one = np.exp(-(z**2 + y**2 + x**2) / 50)
    other = np.exp(-((z - 2) ** 2 + (y - 5) ** 2 + (x + 3) ** 2) / 12)
    third = np.exp(-((z + 3) ** 2 + (y + 5) ** 2 + (x - 5) ** 2) / 9)
    array = (100 * (one + other + third)).astype(np.float32)
    mask = (one > 0.6).astype(np.uint8)
    return Image(array[None], geometry), Image(mask[None], geometry)


def _points(dimension: int) -> np.ndarray:
    """Points of the fixed image's world on its object, (N, D) float64."""
    middle = np.array((5.5, 9.5, 10.5) if dimension == 3 else (13.5, 14.5))
    return middle + np.random.default_rng(0).uniform(-3, 3, (50, dimension))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    both = float(np.count_nonzero(one)) + float(np.count_nonzero(other))
    return 2 * float(np.count_nonzero(one & other)) / max(1.0, both)
