"""NIfTI voxels against ITK's reader, and what that reader hides."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from autoseg.data import itk
from autoseg.data.files import read_image, write_image
from autoseg.data.image import Image
from autoseg.data.listing import list_images
from autoseg.errors import ImageError

DTYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]


def write(path: Path, array: np.ndarray) -> bytearray:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))
    return bytearray(path.read_bytes())


def voxels(shape: tuple[int, ...], dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5, 6), (2, 4, 5, 6), (1, 5, 6), (5, 6)])
def test_equals_itk(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    write(tmp_path / "x.nii", voxels(shape, dtype))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "x.nii")))
    array = read_image(tmp_path / "x.nii").array
    assert array.dtype == expected.dtype
    assert np.array_equal(array.ravel(), expected.ravel())
    array[:] = 0  # callers may write to what they read


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize(("slope", "intercept"), [(2.0, -1024.0), (0.1, 0.0), (1.0, 5.0), (0.0, 0.0)])
def test_scaled_voxels_equal_itk(tmp_path: Path, dtype: type, slope: float, intercept: float) -> None:
    path = tmp_path / "x.nii.gz"
    content = write(tmp_path / "x.nii", voxels((4, 5, 6), dtype))
    content[112:120] = struct.pack("<2f", slope, intercept)
    path.write_bytes(gzip.compress(bytes(content)))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    array = read_image(path).array[0]
    assert array.dtype == expected.dtype
    assert np.array_equal(array, expected)


def test_slope_zero_means_unscaled_as_the_standard_says(tmp_path: Path) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6)))
    content[112:120] = struct.pack("<2f", 0.0, 7.0)  # ITK adds the intercept
    (tmp_path / "x.nii").write_bytes(bytes(content))
    assert np.array_equal(read_image(tmp_path / "x.nii").array[0], voxels((4, 5, 6)))


def test_big_endian_voxels(tmp_path: Path) -> None:
    array = voxels((4, 5, 6), np.float32)
    content = write(tmp_path / "x.nii", array)
    formats = [("i", [0, 32, 36 - 4]), ("h", [36, *range(40, 56, 2), 68, 70, 72, 74, 120, 252, 254]),
               ("f", [56, 60, 64, *range(76, 120, 4), 124, 128, 132, 136, *range(256, 328, 4)])]  # fmt: skip
    for code, offsets in formats:
        for offset in dict.fromkeys(offsets):
            size = struct.calcsize(code)
            content[offset : offset + size] = content[offset : offset + size][::-1]
    content[352:] = array.astype(">f4").tobytes()
    (tmp_path / "x.nii").write_bytes(bytes(content))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "x.nii"))), array), "the test is right"
    assert np.array_equal(read_image(tmp_path / "x.nii").array[0], array)


def test_vector_and_colour_nifti_are_channels(tmp_path: Path) -> None:
    array = voxels((4, 5, 6, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "x.nii.gz"))
    assert np.array_equal(read_image(tmp_path / "x.nii.gz").array, np.moveaxis(array, -1, 0))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_kept(tmp_path: Path, ending: str, value: float) -> None:
    array = voxels((4, 5, 6), np.float32)
    array[1, 2, 3] = value
    write(tmp_path / f"x{ending}", array)
    assert np.array_equal(read_image(tmp_path / f"x{ending}").array[0], array, equal_nan=True)


def test_damage_inside_the_compressed_voxels_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    content = write(path, voxels((20, 20, 20)))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path)


def test_gzip_in_several_members(tmp_path: Path) -> None:
    array = voxels((4, 5, 6))
    content = bytes(write(tmp_path / "x.nii", array))
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    assert np.array_equal(read_image(tmp_path / "x.nii.gz").array[0], array)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(400)])
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.nii").write_bytes(content)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "x.nii")


def test_sheared_axes_are_explained(tmp_path: Path) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6)))
    content[252:256] = struct.pack("<2h", 0, 1)  # no qform; the sform counts
    content[280:328] = struct.pack("<12f", 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    (tmp_path / "x.nii").write_bytes(bytes(content))
    with pytest.raises(ImageError, match="orthogonal axes"):
        read_image(tmp_path / "x.nii")


def placed(path: Path, shape: tuple[int, ...], **changes: tuple[str, int, float]) -> None:
    """A volume with a rotated direction, and some header fields (format, offset, value) changed."""
    image = sitk.GetImageFromArray(voxels(shape))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((-12.5, 30.0, 7.25))
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    for form, offset, value in changes.values():
        struct.pack_into(form, content, offset, value)
    path.write_bytes(bytes(content))


PLACINGS = {
    "none": {},
    "pixdim": {"x": ("<f", 80, 0.6)},
    "handedness": {"qfac": ("<f", 76, -1.0)},
    "units": {"units": ("<b", 123, 3)},
    "origin": {"srow": ("<f", 292, 99.0), "offset": ("<f", 268, 99.0)},
    "qform alone": {"sform": ("<h", 254, 0)},
    "sform alone": {"qform": ("<h", 252, 0)},
    "neither": {"qform": ("<h", 252, 0), "sform": ("<h", 254, 0)},
}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_geometry_is_itks_where_voxel_sizes_and_sform_agree(tmp_path: Path, ending: str) -> None:
    shapes = {"a": (4, 5, 6), "b": (7, 3, 2), "c": (1, 5, 6), "d": (4, 5, 1)}
    for name, changes in PLACINGS.items():
        for file, shape in shapes.items():
            plain, path = tmp_path / "plain.nii", tmp_path / f"{file}{ending}"
            placed(plain, shape, **changes)
            path.write_bytes(gzip.compress(plain.read_bytes()) if ending == ".nii.gz" else plain.read_bytes())

            found, expected = read_image(path), itk.read(path)

            assert found.shape == expected.shape
            if name != "pixdim":  # ITK takes the directions from the sform and the spacing from elsewhere
                one, other = found.geometry, expected.geometry
                assert one.dimension == other.dimension
                for field in ("spacing", "origin", "direction"):
                    assert np.allclose(getattr(one, field), getattr(other, field), rtol=1e-12, atol=1e-12), (
                        name,
                        field,
                    )


def world(image: Image) -> np.ndarray:
    """The transform from (x, y, z) indices to the world towards right, front and top, as nibabel has it."""
    geometry = image.geometry
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(geometry.direction)[::-1, ::-1] * geometry.spacing[::-1]
    affine[:3, 3] = geometry.origin[::-1]
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize("name", [name for name in PLACINGS if name not in ("neither", "units")])
def test_the_place_is_nibabels(tmp_path: Path, name: str) -> None:
    placed(tmp_path / "x.nii", (4, 5, 6), **PLACINGS[name])
    assert np.allclose(world(read_image(tmp_path / "x.nii")), nib.load(tmp_path / "x.nii").affine, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "code"),
    [("pixdim", "spacing-of-sform"), ("units", "unit"), ("handedness", "sform-and-qform"), ("neither", "no-place")],
)
def test_what_is_decided_about_a_header_is_said(tmp_path: Path, name: str, code: str) -> None:
    placed(tmp_path / "x.nii", (4, 5, 6), **PLACINGS[name])
    assert code in [remark.code for remark in read_image(tmp_path / "x.nii").remarks]


def test_a_sound_header_says_nothing(tmp_path: Path) -> None:
    placed(tmp_path / "x.nii", (4, 5, 6))
    assert read_image(tmp_path / "x.nii").remarks == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_negative_voxel_sizes_are_taken_as_positive(tmp_path: Path, dtype: type) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6), dtype))
    for offset in (80, 84, 88):
        struct.pack_into("<f", content, offset, -2.0)
    struct.pack_into("<2h", content, 252, 0, 0)
    (tmp_path / "x.nii").write_bytes(bytes(content))
    image = read_image(tmp_path / "x.nii")
    assert image.geometry.spacing == (2.0, 2.0, 2.0)
    assert np.array_equal(image.array[0], voxels((4, 5, 6), dtype))
    assert "negative-spacing" in [remark.code for remark in image.remarks]


@pytest.mark.parametrize("offset", [0.0, 16.0, 348.0])
def test_voxels_that_are_said_to_begin_in_the_header_begin_behind_it(tmp_path: Path, offset: float) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6)))
    struct.pack_into("<f", content, 108, offset)
    (tmp_path / "x.nii").write_bytes(bytes(content))
    image = read_image(tmp_path / "x.nii")
    assert np.array_equal(image.array[0], voxels((4, 5, 6)))
    assert "voxel-offset" in [remark.code for remark in image.remarks]


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_are_refused_with_advice(tmp_path: Path, dtype: type) -> None:
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), dtype), np.eye(4)), tmp_path / "x.nii.gz")
    with pytest.raises(ImageError, match="magnitude"):
        read_image(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colours_are_channels(tmp_path: Path, names: str) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (4, 5, 6, len(names))).astype(np.uint8)
    colours[..., 3:] = 255
    stored = np.ascontiguousarray(colours).view([(name, np.uint8) for name in names])[..., 0]
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "x.nii")
    assert np.array_equal(read_image(tmp_path / "x.nii").array, colours[..., :3].transpose(3, 2, 1, 0))


@pytest.mark.parametrize(
    "shape", [(4, 5, 6, 1), (4, 5, 6, 1, 1), (4, 5, 6, 3), (4, 5, 6, 1, 3), (4, 5, 1, 3), (1, 5, 6)]
)
def test_axes_of_one_are_left_out(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "x.nii")
    assert np.array_equal(read_image(tmp_path / "x.nii").array, array.reshape(*shape[:3], -1).T)


@pytest.mark.parametrize(("value", "slope"), [(2**24 + 1, 1.0), (7, 1e38), (32767, 1e37)])
def test_scaling_keeps_what_single_precision_cannot_hold(tmp_path: Path, value: int, slope: float) -> None:
    image = nib.Nifti1Image(np.full((2, 3, 4), value, np.int32), np.eye(4))
    nib.save(image, tmp_path / "x.nii")
    content = bytearray((tmp_path / "x.nii").read_bytes())
    struct.pack_into("<2f", content, 112, slope, 1.0)
    (tmp_path / "x.nii").write_bytes(bytes(content))
    expected = np.asarray(nib.load(tmp_path / "x.nii").dataobj)
    assert np.array_equal(read_image(tmp_path / "x.nii").array[0], expected.T)


@pytest.mark.parametrize("number", [1, 2])
def test_pairs_of_header_and_voxels_are_one_image(tmp_path: Path, number: int) -> None:
    array = np.random.default_rng(2).integers(0, 99, (4, 5, 6)).astype(np.int16)
    cls = nib.Nifti1Pair if number == 1 else nib.nifti2.Nifti2Pair
    nib.save(cls(array, np.diag([2.0, 1, 3, 1])), tmp_path / "x.img")
    found = read_image(tmp_path / "x.hdr")
    assert np.array_equal(found.array[0], array.T)
    assert found.geometry.spacing == (3.0, 1.0, 2.0)
    assert [path.name for path in list_images(tmp_path).images] == ["x.hdr"]
    write_image(tmp_path / "y.hdr", found)
    assert np.array_equal(np.asarray(nib.load(tmp_path / "y.img").dataobj), array)
    (tmp_path / "x.img").unlink()
    with pytest.raises(ImageError, match=r"no x\.img"):
        read_image(tmp_path / "x.hdr")


def test_analyze_is_refused_since_it_does_not_say_which_side_is_left(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(np.ones((3, 4, 5), np.int16), np.eye(4)), tmp_path / "x.img")
    with pytest.raises(ImageError, match="which side is left"):
        read_image(tmp_path / "x.hdr")


ORIENTATIONS = ["".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)]


def turned(code: str, *, rotated: bool = True) -> nib.Nifti1Image:
    """A volume stored in an orientation, its sform beside the axes of the patient and its qform another."""
    rng = np.random.default_rng(3)
    angle = 0.3 if rotated else 0.0
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= (0.7, 0.9, 2.3)
    affine[:3, 3] = (-31.7, 12.1, 5.3)
    image = nib.Nifti1Image(rng.integers(0, 9, (4, 5, 6)).astype(np.uint8), affine)
    image = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(tuple(code))))
    image.set_sform(image.affine, 2)
    image.set_qform(image.affine, 4)
    image.header["qoffset_x"] += 0.01
    return image


@pytest.mark.parametrize("code", ORIENTATIONS)
@pytest.mark.parametrize("ending", [".nii.gz", ".hdr"])
def test_what_is_written_has_the_header_it_came_from_to_the_last_bit(tmp_path: Path, code: str, ending: str) -> None:
    original = turned(code)
    nib.save(original, tmp_path / "x.nii")
    image = read_image(tmp_path / "x.nii")
    write_image(tmp_path / f"y{ending}", image)
    written = nib.load(tmp_path / f"y{ending}")
    stored = nib.load(tmp_path / "x.nii")
    assert np.array_equal(written.affine, stored.affine)
    for form in ("get_sform", "get_qform"):
        (one, one_code), (other, other_code) = getattr(written.header, form)(True), getattr(stored.header, form)(True)
        assert np.array_equal(one, other)
        assert one_code == other_code
    assert np.array_equal(np.asarray(written.dataobj), np.asarray(stored.dataobj))
    assert written.get_data_dtype() == np.uint8


def test_a_header_is_not_written_for_an_image_that_was_moved(tmp_path: Path) -> None:
    nib.save(turned("RAS"), tmp_path / "x.nii")
    image = read_image(tmp_path / "x.nii")
    moved = replace(image, geometry=replace(image.geometry, origin=(1.0, 2.0, 3.0)))
    write_image(tmp_path / "y.nii", moved)
    assert np.allclose(nib.load(tmp_path / "y.nii").affine[:3, 3], (-3.0, -2.0, 1.0))
    assert np.allclose(read_image(tmp_path / "y.nii").geometry.direction, image.geometry.direction, atol=1e-6)


def test_itk_finds_the_same_place_in_what_is_written(tmp_path: Path) -> None:
    for number, code in enumerate(ORIENTATIONS):
        nib.save(turned(code), tmp_path / "x.nii")
        image = read_image(tmp_path / "x.nii")
        geometry = replace(image.geometry, stored=None)
        write_image(tmp_path / f"{number}.nii.gz", replace(image, geometry=geometry))
        found = itk.read(tmp_path / f"{number}.nii.gz")
        assert np.array_equal(found.array, image.array)
        assert np.allclose(found.geometry.direction, geometry.direction, atol=1e-6)
        assert np.allclose(found.geometry.spacing, geometry.spacing, rtol=1e-6)
        assert np.allclose(found.geometry.origin, geometry.origin, atol=1e-5)


@pytest.mark.parametrize("magic", [b"ni1\0", b"n+2\0", b"abcd"])
def test_a_header_of_another_kind_of_file_is_refused(tmp_path: Path, magic: bytes) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6)))
    content[344:348] = magic
    (tmp_path / "x.nii").write_bytes(bytes(content))
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "x.nii")


def test_a_quaternion_that_is_no_rotation_is_told(tmp_path: Path) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6)))
    struct.pack_into("<h", content, 254, 0)
    struct.pack_into("<3f", content, 256, 0.9, 0.9, 0.9)
    (tmp_path / "x.nii").write_bytes(bytes(content))
    assert [remark.code for remark in read_image(tmp_path / "x.nii").remarks] == ["broken-qform", "no-place"]


def test_a_first_member_that_ends_in_the_header_is_not_the_whole_file(tmp_path: Path) -> None:
    content = bytes(write(tmp_path / "x.nii", voxels((4, 5, 6))))
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]))
    assert np.array_equal(read_image(tmp_path / "x.nii.gz").array[0], voxels((4, 5, 6)))
