"""DICOM segmentations, written by highdicom, are the masks that they were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from dicom_labels import AXIAL, OBLIQUE, ORIGIN, SPACING, UID, segmentation, series, write_series
from pydicom import Dataset

from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case
from autoseg.data.files import read_image, read_raw_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import ImageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of damaged values

SHAPE = (7, 11, 13)  # 143 pixels a frame: no whole number of bytes in a binary segmentation


def slices_of(orientation: Sequence[float] = AXIAL) -> list[Dataset]:
    return series(np.random.default_rng(0).integers(0, 1000, SHAPE), orientation=orientation)


def organs() -> dict[str, np.ndarray]:
    """Three organs, of which the tumour lies in the liver; the first and a middle slice have none."""
    masks = {name: np.zeros(SHAPE, bool) for name in ("liver", "tumour", "spleen")}
    masks["liver"][1:3, 2:9, 1:8] = masks["liver"][4:6, 3:7, 2:5] = True
    masks["tumour"][2, 4:6, 3:5] = True
    masks["spleen"][4:7, 8:10, 9:12] = True
    return masks


def masks_of(labels: Image) -> Mapping[str, np.ndarray]:
    return {segment.name: labels.array[segment.channel] == segment.value for segment in labels.segments}


def saved(folder: Path, made: Dataset) -> Path:
    made.save_as(folder / "case.dcm", enforce_file_format=True)
    return folder / "case.dcm"


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
@pytest.mark.parametrize("empty_frames", [True, False])
def test_segments_are_the_masks(tmp_path: Path, orientation: Sequence[float], empty_frames: bool) -> None:
    slices = slices_of(orientation)
    image = read_image(write_series(tmp_path / "series", slices))
    path = saved(tmp_path, segmentation(slices, organs(), omit_empty_frames=not empty_frames))
    labels = read_raw_labels(path, image)
    first = 0 if empty_frames else 1
    assert labels.array.shape == (2, SHAPE[0] - first, *SHAPE[1:])
    for name, mask in organs().items():
        np.testing.assert_array_equal(masks_of(labels)[name], mask[first:])
    assert labels.geometry.spacing == pytest.approx(SPACING, rel=1e-5)
    np.testing.assert_allclose(labels.geometry.direction, image.geometry.direction, atol=1e-6)
    normal = np.cross(*np.reshape(orientation, (2, 3)))
    np.testing.assert_allclose(labels.geometry.origin[::-1], ORIGIN + first * SPACING[0] * normal, atol=1e-4)
    assert (labels.remarks, labels.identity["FrameOfReferenceUID"]) == ((), UID + "8")


def test_labels_of_a_case_lie_on_its_image(tmp_path: Path) -> None:
    slices = slices_of()
    folder = write_series(tmp_path / "case", slices)
    path = saved(tmp_path, segmentation(slices, organs()))
    scheme = LabelScheme(names={"background": 0}, regions={"liver": (1, 2), "tumour": (2,), "spleen": (3,)})
    values = read_case_labels(Case(id="case", images=(folder,), label=path), read_image(folder), scheme).array[0]
    for name, of in scheme.regions.items():
        np.testing.assert_array_equal(np.isin(values, of), organs()[name])


def test_planes_without_frames_are_seen_by_the_image_or_the_stated_spacing(tmp_path: Path) -> None:
    """Frames in every second slice: their smallest distance is not that of the slices."""
    slices = slices_of()
    image = read_image(write_series(tmp_path / "series", slices))
    mask = np.zeros(SHAPE, bool)
    mask[1:6:2, 3:6, 4:9] = True
    made = segmentation(slices, {"liver": mask})
    for onto in (image, None):
        labels = read_raw_labels(saved(tmp_path, made), onto)
        np.testing.assert_array_equal(masks_of(labels)["liver"], mask[1:6])
    del made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    assert read_raw_labels(saved(tmp_path, made), image).array.shape == (1, 5, *SHAPE[1:])
    assert read_raw_labels(saved(tmp_path, made)).geometry.spacing[0] == pytest.approx(2 * SPACING[0])


def test_a_label_map_has_the_numbers_of_segments(tmp_path: Path) -> None:
    masks = {name: mask for name, mask in organs().items() if name != "tumour"}
    slices = slices_of()
    labels = read_raw_labels(saved(tmp_path, segmentation(slices, masks, "LABELMAP")))
    for name, mask in masks.items():
        np.testing.assert_array_equal(masks_of(labels)[name], mask[1:])
    assert len(labels.array) == 1


def test_a_fractional_one_has_what_is_at_least_half(tmp_path: Path) -> None:
    shares = np.random.default_rng(1).integers(0, 11, SHAPE) / 10
    made = segmentation(
        slices_of(), {"liver": shares}, "FRACTIONAL", fractional_type="PROBABILITY", max_fractional_value=100
    )
    labels = read_raw_labels(saved(tmp_path, made))
    np.testing.assert_array_equal(masks_of(labels)["liver"], shares >= 0.5)
    assert [(remark.code, remark.got) for remark in labels.remarks] == [("fractional-segmentation", "PROBABILITY")]


def test_another_patient_or_frame_of_reference_is_refused(tmp_path: Path) -> None:
    slices = slices_of()
    image = read_image(write_series(tmp_path / "series", slices))
    made = segmentation(slices, organs())
    made.PatientID = "another"
    with pytest.raises(ImageError, match="another patient"):
        read_raw_labels(saved(tmp_path, made), image)
    made.PatientID, made.FrameOfReferenceUID = "someone", UID + "9"
    with pytest.raises(ImageError, match="another frame of reference"):
        read_raw_labels(saved(tmp_path, made), image)


def test_frames_beside_the_image_are_refused(tmp_path: Path) -> None:
    slices = slices_of()
    folder = write_series(tmp_path / "case", slices)
    made = segmentation(slices, organs())
    for groups in made.PerFrameFunctionalGroupsSequence:  # frames of one place share an item
        groups.PlanePositionSequence = deepcopy(groups.PlanePositionSequence)
        groups.PlanePositionSequence[0].ImagePositionPatient[0] += SPACING[2]
    scheme = LabelScheme(names={"background": 0, "liver": 1, "tumour": 2, "spleen": 3})
    case = Case(id="case", images=(folder,), label=saved(tmp_path, made))
    with pytest.raises(ImageError, match="elsewhere"):
        read_case_labels(case, read_image(folder), scheme)


def broken(made: Dataset, how: str) -> None:
    frames = made.PerFrameFunctionalGroupsSequence
    if how == "uneven":
        frames[1].PlanePositionSequence[0].ImagePositionPatient = [*ORIGIN[:2], 38.4]
    elif how == "sheared":
        frames[1].PlanePositionSequence[0].ImagePositionPatient[0] = 3
    elif how == "no position":
        del frames[1].PlanePositionSequence
    elif how == "unknown segment":
        shared = made.SharedFunctionalGroupsSequence[0]
        shared.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9
    elif how == "twice":
        frames[1].PlanePositionSequence = frames[0].PlanePositionSequence
    elif how == "no segments":
        made.SegmentSequence = []
    elif how == "far away":
        frames[1].PlanePositionSequence[0].ImagePositionPatient = [*ORIGIN[:2], 2.5e9]
    elif how == "short":
        made.PixelData = made.PixelData[:-12]
    elif how == "surfaces":
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.5"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("uneven", "do not make up a volume"),
        ("sheared", "do not make up a volume"),
        ("no position", "do not make up a volume"),
        ("far away", "do not make up a volume"),
        ("unknown segment", "no segment that is described"),
        ("twice", "several frames have one place"),
        ("no segments", "describes no segment"),
        ("short", "cannot be read"),
        ("surfaces", "are surfaces"),
    ],
)
def test_what_cannot_be_placed_or_named_is_refused(tmp_path: Path, how: str, told: str) -> None:
    made = segmentation(slices_of(), {"liver": organs()["liver"]})
    broken(made, how)
    with pytest.raises(ImageError, match=told):
        read_raw_labels(saved(tmp_path, made))


def test_damaged_files_are_an_error_or_what_they_say(tmp_path: Path) -> None:
    content = saved(tmp_path, segmentation(slices_of(), organs())).read_bytes()
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
            read_raw_labels(tmp_path / "damaged.dcm")
        except ImageError:
            refused += 1
    assert refused > 60
