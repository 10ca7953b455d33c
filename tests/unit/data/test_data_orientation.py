"""Orientations against nibabel's, and images laid on each other in the world."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autoseg.data.files import read_image
from autoseg.data.image import Geometry, Image
from autoseg.data.orientation import Orientation, is_orientation_code, orientation_code
from autoseg.data.placement import laid_on, turned_to
from autoseg.errors import ImageError

CODES = ["".join(letters) for axes in permutations(("IS", "AP", "RL")) for letters in product(*axes)]


def volume(shape: tuple[int, int, int] = (4, 5, 6), *, angle: float = 0.2) -> Image:
    turned = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    rows = [tuple(row) for row in turned.tolist()]
    geometry = Geometry((2.5, 0.7, 0.9), (-3.0, 14.0, 8.0), (rows[0], rows[1], rows[2]))
    return Image(np.random.default_rng(0).integers(1, 99, (1, *shape)).astype(np.int16), geometry)


def turned(image: Image, code: str) -> Image:
    found = Orientation.between(orientation_code(image.geometry), code).turn_image(image)
    return replace(found, array=np.ascontiguousarray(found.array))


def position(image: Image, index: tuple[int, int, int]) -> np.ndarray:
    geometry = image.geometry
    return np.asarray(geometry.direction) @ (np.array(index) * geometry.spacing) + geometry.origin


@pytest.mark.parametrize("code", CODES)
def test_codes_are_nibabels(code: str) -> None:
    """nibabel's letters are of the axes (x, y, z); R, A and S are its forward directions, as here L, P and S."""
    geometry = turned(volume(), code).geometry
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(geometry.direction)[::-1, ::-1] * geometry.spacing[::-1]
    affine = np.diag([-1, -1, 1, 1]) @ affine
    assert "".join(nib.aff2axcodes(affine))[::-1] == code
    assert orientation_code(geometry) == code


@pytest.mark.parametrize("code", CODES)
def test_voxels_stay_where_they_are(code: str) -> None:
    image = volume()
    found = turned(image, code)
    places = {tuple(np.round(position(image, index), 6)): image.array[0][index] for index in np.ndindex(image.shape)}
    assert {
        tuple(np.round(position(found, index), 6)): found.array[0][index] for index in np.ndindex(found.shape)
    } == places
    back = turned(found, "SPL")
    assert np.array_equal(back.array, image.array)
    assert np.allclose(back.geometry.origin, image.geometry.origin)


@pytest.mark.parametrize("code", CODES)
def test_boxes_turn_with_their_image(code: str) -> None:
    image, box = volume(), ((1, 3), (0, 4), (2, 6))
    turn = Orientation.between("SPL", code)
    inside = image.array[0][tuple(slice(*side) for side in box)]
    whole = turn.turn(image.array[0])
    assert np.array_equal(whole[tuple(slice(*side) for side in turn.turn_box(box, image.shape))], turn.turn(inside))


@pytest.mark.parametrize("code", ["SPL", "LSA", "IRP"])
def test_what_is_a_code(code: str) -> None:
    assert is_orientation_code(code)
    for wrong in (code[:2], code[0] * 3, code.lower(), code + "S", ""):
        assert not is_orientation_code(wrong)


def test_planes_have_no_orientation() -> None:
    assert orientation_code(Geometry.plane()) is None
    assert not Orientation.between(None, "SPL").changes


@pytest.mark.parametrize("code", CODES)
def test_other_axes_are_the_same_place(code: str) -> None:
    image = volume()
    found = laid_on(turned(image, code), image, where=Path("x"))
    assert np.array_equal(found.array, image.array)
    assert found.geometry == image.geometry
    assert [remark.code for remark in found.remarks] == ([] if code == "SPL" else ["other-axes"])


@pytest.mark.parametrize("code", ["SPL", "LSA", "IRP"])
@pytest.mark.parametrize(("offset", "fits"), [(0.0, True), (0.45, True), (0.55, False), (-1.0, False), (3.0, False)])
def test_half_a_voxel_beside_is_another_place(code: str, offset: float, fits: bool) -> None:
    image = volume(angle=0.0)
    moving = turned(image, code)
    z, y, x = moving.geometry.origin
    moving = replace(moving, geometry=replace(moving.geometry, origin=(z, y, x + offset * 0.9)))
    if fits:
        assert np.array_equal(laid_on(moving, image, where=Path("x")).array, image.array)
        return
    with pytest.raises(ImageError, match="elsewhere"):
        laid_on(moving, image, where=Path("x"))


def test_arrays_are_laid_by_index_where_they_are_trusted() -> None:
    image = volume()
    flipped = replace(image, geometry=Geometry(image.geometry.spacing, (50.0, 0.0, 0.0)))
    found = laid_on(flipped, image, where=Path("x"), trust=True)
    assert np.array_equal(found.array, image.array)
    assert [remark.code for remark in found.remarks] == ["trusted-arrays"]


def test_axes_between_those_of_the_image_are_another_place() -> None:
    image = volume(angle=0.0)
    diagonal = volume(angle=np.pi / 4)
    assert turned_to(diagonal, image)[1] > 1
    with pytest.raises(ImageError, match="elsewhere"):
        laid_on(diagonal, image, where=Path("x"))


def test_another_spacing_is_refused_however_small_the_image() -> None:
    image = volume((3, 3, 3))
    other = replace(image, geometry=replace(image.geometry, spacing=(2.5, 0.7, 0.95)))
    with pytest.raises(ImageError, match="spacing"):
        laid_on(other, image, where=Path("x"))


@pytest.mark.parametrize("code", ["SPL", "LSA", "IRP"])
@pytest.mark.parametrize("start", [(0, 0, 0), (1, 2, 3), (2, 3, 0)])
def test_a_part_of_the_lattice_is_placed_by_its_own_origin(code: str, start: tuple[int, int, int]) -> None:
    image = volume((6, 7, 8))
    stop = tuple(first + 3 for first in start)
    part = tuple(slice(first, last) for first, last in zip(start, stop, strict=True))
    origin = tuple(position(image, start).tolist())
    crop = Image(image.array[:, *part], replace(image.geometry, origin=origin))
    found = laid_on(turned(crop, code), image, where=Path("x"), crops=True).array
    expected = np.zeros_like(image.array)
    expected[:, *part] = image.array[:, *part]
    assert np.array_equal(found, expected)
    with pytest.raises(ImageError, match="shape"):
        laid_on(crop, image, where=Path("x"))


def test_a_part_beyond_the_image_is_empty_or_refused() -> None:
    image = volume((6, 7, 8))
    larger = Image(
        np.zeros((1, 6, 7, 12), np.int16), replace(image.geometry, origin=tuple(position(image, (0, 0, -2))))
    )
    larger.array[0, 2, 2, 2] = 5
    assert laid_on(larger, image, where=Path("x"), crops=True).array[0, 2, 2, 0] == 5
    larger.array[0, 2, 2, 1] = 5
    with pytest.raises(ImageError, match="1 labelled voxels outside"):
        laid_on(larger, image, where=Path("x"), crops=True)


def test_a_sagittal_header_of_nibabel_has_its_code(tmp_path: Path) -> None:
    header = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([-1.0, -1, 1, 1])).as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(np.diag([-1.0, -1, 1, 1])), nib.orientations.axcodes2ornt(("S", "P", "R"))
        )
    )
    header.set_sform(header.affine, 1)
    nib.save(header, tmp_path / "x.nii")
    assert orientation_code(read_image(tmp_path / "x.nii").geometry) == "RPS"
