"""Atlases find known labels again after known movements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_cases import Drawn, dice, draw_case, draw_dataset
from scipy import ndimage

from autoseg import plugins
from autoseg.data.atlas_alignment import affine, centre, deform, pyramid, similarity, warp_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError, ImageError
from autoseg.studies.comparison.baselines.atlas import multi_atlas, single_atlas
from autoseg.studies.comparison.baselines.protocol import check_segmentation
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.transforms import Affine

SHAPE = (32, 32, 32)
SPACING = (1.5, 1.0, 1.0)


def body(
    shift: tuple[float, float, float] = (0, 0, 0),
    scale: float = 1.0,
    angle: float = 0.0,
    *,
    shape: tuple[int, int, int] = SHAPE,
    bend: float = 0.0,
) -> Drawn:
    """An ellipsoid with another inside, moved in voxels, scaled, turned about z (radians) and bent; noisy and blurred.

    In one slice the figures are ellipses.
    """
    away = [(axis - length / 2 - by) / scale for axis, length, by in zip(np.indices(shape), shape, shift, strict=True)]
    z, y, x = (np.zeros(shape) if shape[0] == 1 else away[0]), away[1], away[2]
    y, x = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    y = y + bend * np.cos(x / 4)
    labels = ((z / 9) ** 2 + (y / 11) ** 2 + (x / 8) ** 2 < 1).astype(np.int16)
    labels[(z / 5) ** 2 + ((y - 3) / 5) ** 2 + (x / 4) ** 2 < 1] = 2
    noise = np.random.default_rng(0).normal(0, 4, shape)
    return (ndimage.gaussian_filter(100.0 * labels, 1) + noise)[None], labels


def mean_dice(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.mean([dice(found == value, expected == value) for value in (1, 2)]))


@pytest.mark.parametrize("movement", [((3, 4, -3), 1.0, 0.0), ((1, 0, 2), 1.0, 0.35), ((1, -2, 1), 1.2, 0.2)])
def test_affine_undoes_a_movement(movement: tuple[tuple[float, float, float], float, float]) -> None:
    (still, expected), (moved, labels) = body(), body(*movement)
    fixed = pyramid(Image(still, Geometry(spacing=SPACING)))
    moving = pyramid(Image(moved, Geometry(spacing=SPACING, origin=(40, -10, 3))))
    start = centre(fixed, moving)
    found = affine(fixed, moving, start)
    assert similarity(fixed, moving, found) > similarity(fixed, moving, start)
    assert mean_dice(warp_labels(labels, fixed, moving, found), expected) > 0.85


def test_deformation_undoes_a_bend() -> None:
    (still, expected), (bent, labels) = body(), body(bend=5.0)
    fixed, moving = (pyramid(Image(image, Geometry(spacing=SPACING))) for image in (still, bent))
    stiff = affine(fixed, moving, centre(fixed, moving))
    before, after = (
        mean_dice(warp_labels(labels, fixed, moving, alignment), expected)
        for alignment in (stiff, deform(fixed, moving, stiff))
    )
    assert after > 0.85
    assert after > before + 0.05


def test_an_image_lies_best_on_itself_whatever_its_axes_are_called() -> None:
    """The same volume stored with another axis order in memory is the same in the world."""
    image, labels = body((2, 1, 0))
    fixed = pyramid(Image(image, Geometry(spacing=SPACING)))
    turned = Geometry(
        spacing=(1.0, 1.5, 1.0), direction=((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    )  # columns: the first array axis now runs along y, the second along z
    moving = pyramid(Image(image.transpose(0, 2, 1, 3).copy(), turned))
    alignment = affine(fixed, moving, centre(fixed, moving))
    found = warp_labels(labels.transpose(1, 0, 2).copy(), fixed, moving, alignment)
    assert mean_dice(found, labels) > 0.98


def test_shrunk_images_stay_where_they_are() -> None:
    """The centre of mass in mm is that of the whole image, also where blocks do not fit evenly."""
    place = np.array([14.0, 100.0, 61.0])
    axes = np.indices((30, 199, 151)) - place.reshape(3, 1, 1, 1)
    blob = np.exp(-(axes**2).sum(0) / 20).astype(np.float32)
    geometry = Geometry(spacing=(2.0, 0.5, 0.7), origin=(-5.0, 3.0, 11.0))
    for level in (pyramid(Image(blob[None], geometry)).fine, pyramid(Image(blob[None], geometry)).coarse):
        assert np.prod(level.shape) < blob.size
        mass = ndimage.center_of_mass(np.where(level.array[0] > 0.05, level.array[0], 0))
        world = np.add(level.geometry.origin, np.multiply(level.geometry.spacing, mass))
        np.testing.assert_allclose(world, geometry.origin + np.multiply(geometry.spacing, place), atol=0.1)


def test_constant_images_are_laid_centre_on_centre() -> None:
    flat = pyramid(Image(np.zeros((1, 8, 8, 8), np.float32), Geometry()))
    drawn = pyramid(Image(body()[0], Geometry()))
    for fixed, moving in ((flat, drawn), (drawn, flat), (flat, flat)):
        alignment = deform(fixed, moving, affine(fixed, moving, centre(fixed, moving)))
        assert similarity(fixed, moving, alignment) == 0


def test_multi_atlas_votes_and_tells_where_atlases_disagree(tmp_path: Path) -> None:
    atlases = [body((2, 1, 0)), body((0, -2, 2), 1.1), body((1, 0, 0), 0.9, 0.3), body(bend=2.0)]
    context = draw_dataset(tmp_path, atlases, labels=2)
    image, expected = body((-1, 2, 1), 1.05, 0.15)
    target = draw_case(tmp_path, "target", (image, expected))
    several = multi_atlas(replace(context, options={"atlases": 3})).predict(target)
    check_segmentation(several, SHAPE, context.labels, where="multi-atlas")
    assert mean_dice(several.labels, expected) > 0.85
    assert several.disagreement is not None
    wrong = several.labels != expected
    assert several.disagreement[wrong].mean() > 10 * several.disagreement[~wrong].mean()

    first = single_atlas(context).predict(target)
    assert first.disagreement is None
    assert mean_dice(first.labels, expected) > 0.8


def test_a_plug_in_of_registration_may_lay_the_voters_on_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def still(pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device) -> RegistrationResult:
        return RegistrationResult(Affine.identity(3), "still")

    monkeypatch.setattr(plugins, "_registered", {"registration": {"still": still}})
    context = draw_dataset(tmp_path, [body(), body((0, 3, 0))], labels=2)
    context = replace(context, options={"registration": "still", "atlases": 2})
    target = draw_case(tmp_path, "target", body(), Geometry(origin=(900, 0, 0)))  # far off: laid centre on centre
    found = multi_atlas(context).predict(target)
    first, second = body()[1], body((0, 3, 0))[1]
    assert np.array_equal(found.labels, np.minimum(first, second))  # a draw goes to the smaller value
    with pytest.raises(ConfigurationError, match="did you mean 'still'"):
        multi_atlas(replace(context, options={"registration": "stil"}))


def test_equal_whatever_the_threads_and_the_order_of_the_cases(tmp_path: Path) -> None:
    context = draw_dataset(tmp_path, [body((1, 0, 0)), body(scale=0.9), body(angle=0.2)], labels=2)
    turned = replace(context, training=context.training[::-1], workers=3, options={"atlases": 2})
    target = draw_case(tmp_path, "target", body((0, 2, 1)))
    first = multi_atlas(replace(context, options={"atlases": 2})).predict(target)
    np.testing.assert_array_equal(first.labels, multi_atlas(turned).predict(target).labels)


def test_plane_images_and_the_channel_that_tells_labels_apart(tmp_path: Path) -> None:
    def with_noise(drawn: Drawn, seed: int) -> Drawn:
        noise = np.random.default_rng(seed).normal(0, 100, drawn[0].shape)
        return np.concatenate([noise, drawn[0]]), drawn[1]

    planes = [body(shift, shape=(1, 40, 36)) for shift in ((0, 3, 1), (0, -2, 0), (0, 0, -2))]
    context = draw_dataset(tmp_path, [with_noise(drawn, seed) for seed, drawn in enumerate(planes)], labels=2)
    fitted = multi_atlas(context)
    assert fitted.channel == 1
    image, expected = body((0, 1, 2), shape=(1, 44, 36))
    found = fitted.predict(draw_case(tmp_path, "target", with_noise((image, expected), 9)))
    check_segmentation(found, (1, 44, 36), context.labels, where="plane")
    assert mean_dice(found.labels, expected) > 0.85


def test_ignored_voxels_do_not_vote(tmp_path: Path) -> None:
    image, labels = body()
    half = labels.copy()
    half[:16] = 3
    context = draw_dataset(tmp_path, [(image, half), (image, labels)], labels=2, ignore=3)
    found = multi_atlas(context).predict(draw_case(tmp_path, "target", (image, labels)))
    assert mean_dice(found.labels, labels) > 0.95
    check_segmentation(found, SHAPE, context.labels, where="ignore")


def test_a_volume_among_planes_and_a_wrong_number_are_refused(tmp_path: Path) -> None:
    context = draw_dataset(tmp_path, [body(shape=(1, 32, 32))], labels=2)
    with pytest.raises(ImageError, match="dimension"):
        multi_atlas(context).predict(draw_case(tmp_path, "target", body()))
    with pytest.raises(ConfigurationError, match="number of atlases"):
        multi_atlas(replace(context, options={"atlases": 0}))
