"""Measurement of a case on images whose answers can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.measure import measure

SCHEME = LabelScheme(names={"background": 0, "liver": 2, "tumour": 5, "absent": 7}, ignore=9)


def block_case() -> tuple[Image, np.ndarray]:
    array = np.zeros((2, 10, 12, 14), np.int16)
    array[0, 2:8, 3:9, 4:12] = 100
    array[1, 3:7, 3:9, 4:12] = -7
    labels = np.zeros((10, 12, 14), np.uint8)
    labels[4:6, 4:6, 5:8] = 2
    labels[5, 5, 7] = 5
    array[0, 4:6, 4:6, 5:8] = 40
    array[0, 5, 5, 7] = 52
    return Image(array, Geometry(spacing=(2.0, 0.5, 0.5))), labels


def test_counts_boxes_and_intensities():
    image, labels = block_case()

    result = measure("case", image, labels, SCHEME, draws=100)
    case = result.fingerprint

    assert case.crop_box == ((2, 8), (3, 9), (4, 12))
    assert case.shape_after_crop == (6, 6, 8)
    assert case.relative_size == pytest.approx(6 * 6 * 8 / (10 * 12 * 14))
    assert case.class_voxels == {"liver": 11, "tumour": 1, "absent": 0}
    assert case.class_volumes == pytest.approx({"liver": 5.5, "tumour": 0.5, "absent": 0.0})
    first, second = case.intensities
    assert (first.min, first.max, first.median, first.mean) == (40, 52, 40, 41)
    assert (second.min, second.max, second.std) == (-7, -7, 0)
    assert result.ranges == ((0.0, 100.0), (-7.0, 0.0))
    assert result.whole_numbers == (True, True)
    assert not result.at_border
    assert [sample.counts.sum() for sample in result.samples] == [100, 100]


def test_area_instead_of_volume_for_planes():
    labels = np.zeros((1, 6, 6), np.uint8)
    labels[0, 2:4, 2:4] = 2
    image = Image(np.ones((1, 1, 6, 6), np.uint8), Geometry.plane((0.5, 0.5)))

    result = measure("case", image, labels, SCHEME, draws=10)

    assert result.fingerprint.class_volumes["liver"] == pytest.approx(1.0)
    assert not result.at_border  # the only slice of a plane is no border


@pytest.mark.parametrize("place", [(0, 5, 5), (9, 5, 5), (4, 0, 5), (4, 5, 13)])
def test_foreground_at_the_border_is_seen(place):
    image, labels = block_case()
    labels[place] = 2

    assert measure("case", image, labels, SCHEME, draws=10).at_border


def test_foreground_outside_the_crop_has_volume_but_no_intensity():
    image, labels = block_case()
    labels[0, 0, 0] = 5

    case = measure("case", image, labels, SCHEME, draws=10).fingerprint

    assert case.class_voxels["tumour"] == 2
    assert case.intensities[0].min == 40


def test_ignored_voxels_count_as_foreground_intensities_as_in_nnunet():
    image, labels = block_case()
    labels[6, 6, 9] = 9

    case = measure("case", image, labels, SCHEME, draws=10).fingerprint

    assert case.intensities[0].max == 100
    assert set(case.class_voxels) == {"liver", "tumour", "absent"}


def test_a_case_without_foreground():
    image, labels = block_case()

    result = measure("case", image, labels * 0, SCHEME, draws=10)

    assert result.fingerprint.intensities == (None, None)
    assert [len(sample.values) for sample in result.samples] == [0, 0]


def test_regions_count_their_union():
    scheme = LabelScheme(names={"background": 0}, regions={"whole": (2, 5), "core": (5,)}, region_order=(2, 5))
    image, labels = block_case()

    assert measure("case", image, labels, scheme, draws=10).fingerprint.class_voxels == {"whole": 12, "core": 1}


def test_fractions_are_no_whole_numbers():
    image, labels = block_case()

    result = measure("case", image.with_array(image.array + np.float32(0.5)), labels, SCHEME, draws=10)

    assert result.whole_numbers == (False, False)


def test_classes_that_were_not_looked_for_are_not_listed():
    image, labels = block_case()
    found = measure("case", image, labels, SCHEME, draws=10, annotated=("liver", "absent")).fingerprint
    assert found.class_voxels == {"liver": 11, "absent": 0}
    assert set(found.class_volumes) == {"liver", "absent"}
