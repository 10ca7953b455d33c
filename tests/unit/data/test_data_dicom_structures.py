"""DICOM structure sets on the voxels of a series: contours of shapes whose voxels are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_labels import AXIAL, OBLIQUE, UID, series, structure_set, to_patient, write_series
from pydicom import Dataset

from autoseg.data.files import read_image, read_raw_labels
from autoseg.data.image import Image
from autoseg.data.orientation import Orientation
from autoseg.errors import ImageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of damaged values

SHAPE = (9, 24, 30)
CENTRE = (11.3, 14.2)


def disc(level: float, radius: float, orientation: Sequence[float] = AXIAL) -> np.ndarray:
    """A circle in a slice, in the patient's mm; its radius is in voxels."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    rows, columns = CENTRE[0] + radius * np.sin(angle), CENTRE[1] + radius * np.cos(angle)
    return to_patient(np.stack([np.full_like(rows, level), rows, columns], axis=1), orientation)


def inside(levels: Sequence[int], radius: float, hole: float = 0) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    far = np.hypot(y - CENTRE[0], x - CENTRE[1])
    return (far < radius) & (far > hole) & np.isin(z, levels)


def image_of(folder: Path, orientation: Sequence[float] = AXIAL, frame: str | None = UID + "8") -> Image:
    pixels = np.random.default_rng(0).integers(0, 1000, SHAPE)
    return read_image(write_series(folder / "series", series(pixels, orientation=orientation, frame=frame)))


def labels_of(folder: Path, made: Dataset, image: Image | None) -> Image:
    made.save_as(folder / "case.dcm", enforce_file_format=True)
    return read_raw_labels(folder / "case.dcm", image)


def masks_of(labels: Image) -> Mapping[str, np.ndarray]:
    return {segment.name: labels.array[segment.channel] == segment.value for segment in labels.segments}


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_contours_are_the_voxels_whose_centres_they_hold(tmp_path: Path, orientation: Sequence[float]) -> None:
    levels = (2, 3, 4, 5)
    contours = [disc(level, radius, orientation) for level in levels for radius in (9.1, 4.1)]
    image = image_of(tmp_path, orientation)
    labels = labels_of(tmp_path, structure_set({"ring": contours}), image)
    np.testing.assert_array_equal(masks_of(labels)["ring"], inside(levels, 9.1, hole=4.1))
    assert labels.geometry == image.geometry
    assert labels.remarks == ()


def test_structures_that_overlap_have_channels_of_their_own(tmp_path: Path) -> None:
    structures = {"whole": [disc(3, 9.1)], "core": [disc(3, 4.1)], "apart": [disc(7, 4.1)], "empty": []}
    labels = labels_of(tmp_path, structure_set(structures), image_of(tmp_path))
    masks = masks_of(labels)
    assert list(masks) == ["whole", "core", "apart", "empty"]
    assert len(labels.array) == 2
    np.testing.assert_array_equal(masks["whole"], inside([3], 9.1))
    np.testing.assert_array_equal(masks["core"], inside([3], 4.1))
    np.testing.assert_array_equal(masks["apart"], inside([7], 4.1))
    assert [(remark.code, remark.got) for remark in labels.remarks] == [("empty-structures", "empty")]


def test_the_array_may_be_stored_in_other_slices_than_the_contours(tmp_path: Path) -> None:
    """The same image in sagittal slices, with two axes reversed, gets the same voxels."""
    image = image_of(tmp_path)
    turn = Orientation((2, 0, 1), (True, False, True))
    labels = labels_of(tmp_path, structure_set({"ring": [disc(3, 9.1), disc(3, 4.1)]}), turn.turn_image(image))
    np.testing.assert_array_equal(masks_of(labels)["ring"], turn.turn(inside([3], 9.1, hole=4.1)))


def test_an_image_without_identity_is_matched_by_its_place(tmp_path: Path) -> None:
    image = replace(image_of(tmp_path), identity={})
    labels = labels_of(tmp_path, structure_set({"disc": [disc(3, 9.1)]}), image)
    np.testing.assert_array_equal(masks_of(labels)["disc"], inside([3], 9.1))
    assert [remark.code for remark in labels.remarks] == ["frame-of-reference"]


def test_contours_count_for_the_nearest_slice(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, structure_set({"disc": [disc(2.7, 9.1), disc(8.45, 9.1)]}), image_of(tmp_path))
    np.testing.assert_array_equal(masks_of(labels)["disc"], inside([3, 8], 9.1))
    told = {remark.code: remark.got for remark in labels.remarks}
    assert told["contours-between-slices"] == "disc, up to 0.45 of the distance of slices away"
    assert told["sparse-contours"] == "disc, 4 of 6 slices"


def test_of_several_planes_in_a_slice_the_nearest_to_its_centre_counts(tmp_path: Path) -> None:
    """Taking all would cancel them by the even-odd rule."""
    contours = [disc(2.7, 9.1), disc(3.05, 6.1), disc(3.4, 9.1)]
    labels = labels_of(tmp_path, structure_set({"disc": contours}), image_of(tmp_path))
    np.testing.assert_array_equal(masks_of(labels)["disc"], inside([3], 6.1))
    assert {remark.code: remark.got for remark in labels.remarks}["dense-contours"] == "disc, 2 contours left out"


def test_points_and_open_contours_are_passed_over(tmp_path: Path) -> None:
    made = structure_set({"disc": [disc(3, 9.1)], "isocentre": [disc(3, 9.1)[:1]]})
    made.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "POINT"
    labels = labels_of(tmp_path, made, image_of(tmp_path))
    assert list(masks_of(labels)) == ["disc"]
    assert [(remark.code, remark.got) for remark in labels.remarks] == [("open-contours", "isocentre (1)")]
    open_ones = structure_set({"line": [disc(3, 9.1)]}, kind="OPEN_PLANAR")
    with pytest.raises(ImageError, match="no structure with closed contours"):
        labels_of(tmp_path, open_ones, image_of(tmp_path / "other"))


def test_what_reaches_beyond_the_image_is_cut_off_and_told(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, structure_set({"disc": [disc(3, 14.3)]}), image_of(tmp_path))
    np.testing.assert_array_equal(masks_of(labels)["disc"], inside([3], 14.3))
    assert [remark.code for remark in labels.remarks] == ["contours-cut"]


def test_a_structure_smaller_than_a_voxel_is_told(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, structure_set({"seed": [disc(3, 0.2)], "disc": [disc(4, 3.0)]}), image_of(tmp_path))
    assert {remark.code: remark.got for remark in labels.remarks} == {"empty-structures": "seed"}


@pytest.mark.parametrize(
    ("contours", "told"),
    [
        ([disc(-0.6, 5)], "above or below"),
        ([disc(8.6, 5)], "above or below"),
        ([np.add(disc(3, 5), (90, 0, 0))], "beside the image"),
        ([disc(3, 5, OBLIQUE)], "not parallel"),
    ],
)
def test_contours_that_lie_elsewhere_are_refused(tmp_path: Path, contours: list[np.ndarray], told: str) -> None:
    with pytest.raises(ImageError, match=told) as caught:
        labels_of(tmp_path, structure_set({"disc": contours}), image_of(tmp_path))
    assert str(caught.value.got).startswith("disc: ")


def test_another_patient_or_frame_of_reference_is_refused(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    with pytest.raises(ImageError, match="another frame of reference"):
        labels_of(tmp_path, structure_set({"disc": [disc(3, 9.1)]}, frame=UID + "9"), image)
    with pytest.raises(ImageError, match="another patient"):
        labels_of(tmp_path, structure_set({"disc": [disc(3, 9.1)]}, patient="another"), image)
    unknown = labels_of(tmp_path, structure_set({"disc": [disc(3, 9.1)]}, frame=None), image)
    assert [remark.code for remark in unknown.remarks] == ["frame-of-reference"]


def square(rows: tuple[float, float], columns: tuple[float, float], level: int = 3) -> np.ndarray:
    """A rectangle in a slice, in the patient's mm."""
    (top, bottom), (left, right) = rows, columns
    corners = [(level, top, left), (level, top, right), (level, bottom, right), (level, bottom, left)]
    return to_patient(np.asarray(corners, float))


def within(rows: tuple[float, float], columns: tuple[float, float], level: int = 3) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (z == level) & (y > rows[0]) & (y < rows[1]) & (x > columns[0]) & (x < columns[1])


def test_the_same_contour_twice_counts_once(tmp_path: Path) -> None:
    """Begun elsewhere, the other way round, closed by its first point, or with points between."""
    image = image_of(tmp_path)
    outline = disc(3, 9.1)
    halves = np.stack([outline, (outline + np.roll(outline, -1, axis=0)) / 2], axis=1).reshape(-1, 3)
    doubles = {
        "equal": outline,
        "turned": np.roll(outline, 77, axis=0),
        "reversed": np.roll(outline, 33, axis=0)[::-1],
        "closed": np.concatenate([outline, outline[:1]]),
        "denser": halves,
    }
    made = structure_set({name: [outline, disc(3, 4.1), other] for name, other in doubles.items()})
    labels = labels_of(tmp_path, made, image)
    exclusive = structure_set({"ring": [outline, outline, disc(3, 4.1)]}, kind="CLOSEDPLANAR_XOR")
    for mask in (*masks_of(labels).values(), *masks_of(labels_of(tmp_path, exclusive, image)).values()):
        np.testing.assert_array_equal(mask, inside([3], 9.1, hole=4.1))
    assert [(remark.code, remark.got) for remark in labels.remarks] == [
        ("doubled-contours", f"{name}, 1 contour") for name in doubles
    ]


def test_a_ring_too_thin_for_any_voxel_is_no_double(tmp_path: Path) -> None:
    contours = [square((8.4, 10.6), (8.4, 10.6)), square((8.9, 10.1), (8.9, 10.1))]
    labels = labels_of(tmp_path, structure_set({"ring": contours}), image_of(tmp_path))
    assert not labels.array.any()
    assert [remark.code for remark in labels.remarks] == ["empty-structures"]


def test_contours_that_cross_are_united_and_such_inside_are_holes(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    first, second, hole = ((2.5, 12.5), (3.5, 15.5)), ((8.5, 20.5), (10.5, 25.5)), ((9.5, 11.5), (11.5, 14.5))
    contours = [square(*box) for box in (first, second, hole)]
    labels = labels_of(tmp_path, structure_set({"both": contours}), image)
    expected = (within(*first) | within(*second)) & ~within(*hole)
    np.testing.assert_array_equal(masks_of(labels)["both"], expected)
    assert [(remark.code, remark.got) for remark in labels.remarks] == [("crossing-contours", "both, 2 contours")]
    exclusive = labels_of(tmp_path, structure_set({"both": contours[:2]}, kind="CLOSEDPLANAR_XOR"), image)
    np.testing.assert_array_equal(masks_of(exclusive)["both"], within(*first) ^ within(*second))
    assert exclusive.remarks == ()


def test_neighbours_that_share_an_edge_and_keyholes_are_nothing_odd(tmp_path: Path) -> None:
    left, right = ((2.5, 12.5), (3.5, 15.0)), ((2.5, 12.5), (15.0, 25.5))
    outer, inner = square((2.5, 20.5), (3.5, 25.5), 5), square((6.5, 12.5), (8.5, 14.5), 5)
    keyhole = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    made = structure_set({"pair": [square(*left), square(*right)], "keyhole": [keyhole]})
    labels = labels_of(tmp_path, made, image_of(tmp_path))
    np.testing.assert_array_equal(masks_of(labels)["pair"], within((2.5, 12.5), (3.5, 25.5)))
    expected = within((2.5, 20.5), (3.5, 25.5), 5) & ~within((6.5, 12.5), (8.5, 14.5), 5)
    np.testing.assert_array_equal(masks_of(labels)["keyhole"], expected)
    assert labels.remarks == ()


def test_outlines_that_cross_themselves_are_told(tmp_path: Path) -> None:
    corners = square((2.5, 18.5), (3.5, 25.5))
    labels = labels_of(tmp_path, structure_set({"eight": [corners[[0, 2, 1, 3]]]}), image_of(tmp_path))
    assert masks_of(labels)["eight"].any()
    assert [(remark.code, remark.got) for remark in labels.remarks] == [("tangled-contours", "eight, 1 contour")]


def test_contours_need_a_volume(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="contours need the volume"):
        labels_of(tmp_path, structure_set({"disc": [disc(3, 9.1)]}), None)


def test_a_folder_may_hold_the_slices_too_but_no_second_structure_set(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    made = structure_set({"disc": [disc(3, 9.1)]})
    made.save_as(tmp_path / "series" / "RS", enforce_file_format=True)
    np.testing.assert_array_equal(masks_of(read_raw_labels(tmp_path / "series", image))["disc"], inside([3], 9.1))
    made.save_as(tmp_path / "series" / "RS2.dcm", enforce_file_format=True)
    with pytest.raises(ImageError, match="several segmentations or structure sets") as caught:
        read_raw_labels(tmp_path / "series", image)
    assert caught.value.got == "RS, RS2.dcm"


def test_damaged_contours_are_an_error(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    made = structure_set({"disc": [disc(3, 9.1)]})
    made.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 77
    with pytest.raises(ImageError, match="a contour is damaged"):
        labels_of(tmp_path, made, image)


def test_damaged_files_are_an_error_or_what_they_say(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    made = structure_set({"disc": [disc(3, 9.1)], "other": [disc(4, 5.1)]})
    labels_of(tmp_path, made, image)
    content = (tmp_path / "case.dcm").read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for number in range(150):
        damaged = bytearray(content)
        if number % 3 == 0:
            damaged = damaged[: int(rng.integers(len(content)))]
        else:
            for place in rng.integers(132, len(content), 8):
                damaged[place] = int(rng.integers(256))
        (tmp_path / "damaged.dcm").write_bytes(bytes(damaged))
        try:
            labels = read_raw_labels(tmp_path / "damaged.dcm", image)
        except ImageError:
            refused += 1
        else:
            assert labels.array.shape[1:] == SHAPE
    assert refused > 60
