"""Structures with names become values of a label scheme, against sets that are counted voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoseg.data.image import Geometry, Image, Segment
from autoseg.data.labels import LabelScheme
from autoseg.data.segment_scheme import census, scheme_of_segments
from autoseg.data.segments import in_channels, label_map, segment_values
from autoseg.errors import ImageError

FILE = Path("labels/case.seg.nrrd")
SHAPE = (2, 3, 4)
EVERYWHERE = (slice(None),) * 3


def labelled(masks: dict[str, np.ndarray]) -> Image:
    array, segments = in_channels(SHAPE, ((name, EVERYWHERE, mask) for name, mask in masks.items()), len(masks))
    return Image(array, Geometry(), segments=segments)


def masks_of(image: Image) -> dict[str, np.ndarray]:
    return {segment.name: image.array[segment.channel] == segment.value for segment in image.segments}


def boxes(**ends: tuple[int, int]) -> dict[str, np.ndarray]:
    """Masks of the columns from a first to a last one."""
    masks = {name: np.zeros(SHAPE, bool) for name in ends}
    for name, (start, stop) in ends.items():
        masks[name][..., start:stop] = True
    return masks


several = st.dictionaries(st.sampled_from(["liver", "spleen", "rib 2", "rib 10"]), arrays(bool, SHAPE), min_size=1)


@given(several)
def test_masks_keep_their_voxels_in_channels_of_their_own(masks: dict[str, np.ndarray]) -> None:
    image = labelled(masks)
    for name, mask in masks_of(image).items():
        np.testing.assert_array_equal(mask, masks[name])
    assert len(image.array) <= max(1, np.sum(list(masks.values()), axis=0).max(initial=0) * len(masks))


def test_masks_without_overlap_share_a_channel() -> None:
    image = labelled(boxes(a=(0, 1), b=(1, 3), c=(3, 4)))
    assert image.array.shape == (1, *SHAPE)
    assert [segment.value for segment in image.segments] == [1, 2, 3]
    assert labelled(boxes(a=(0, 2), b=(1, 3), c=(2, 4))).array.shape == (2, *SHAPE)


@given(st.lists(several, min_size=1, max_size=3))
def test_values_of_a_found_scheme_say_in_which_structures_a_voxel_lies(cases: list[dict[str, np.ndarray]]) -> None:
    images = [labelled(masks) for masks in cases]
    scheme, _ = scheme_of_segments([census(image) for image in images])
    for masks, image in zip(cases, images, strict=True):
        values = segment_values(image, scheme, FILE)
        for name, of in scheme.foreground.items():
            expected = masks.get(name, np.zeros(SHAPE, bool))
            np.testing.assert_array_equal(np.isin(values, of), expected)
    overlap = any(np.sum(list(masks.values()), axis=0).max() > 1 for masks in cases)
    assert bool(scheme.regions) == overlap
    assert len(scheme.region_order) == len(scheme.regions)
    assert set(scheme.region_order) <= set(scheme.values)


def test_classes_have_values_in_the_natural_order_of_their_names() -> None:
    scheme, warnings = scheme_of_segments(
        [census(labelled(boxes(**{"rib 10": (0, 1), "rib 2": (1, 2), "Aorta": (2, 3)})))]
    )
    assert scheme == LabelScheme(names={"background": 0, "Aorta": 1, "rib 2": 2, "rib 10": 3})
    assert "Aorta (1 file)" in warnings[0]


def test_what_lies_inside_another_is_written_over_it() -> None:
    """Painting the regions of a voxel in the order of the scheme gives the voxel's value again."""
    image = labelled(boxes(core=(1, 2), whole=(0, 4), oedema=(1, 4)))
    scheme, warnings = scheme_of_segments([census(image)])
    assert list(scheme.regions) == ["whole", "oedema", "core"]
    values = segment_values(image, scheme, FILE)
    painted = np.zeros_like(values)
    for (_, of), value in zip(scheme.regions.items(), scheme.region_order, strict=True):
        painted[np.isin(values, of)] = value
    np.testing.assert_array_equal(painted, values)
    assert any("overlap in 1 file" in warning for warning in warnings)


def test_a_region_beside_another_is_written_by_the_value_that_it_mostly_has() -> None:
    left, both, right = (np.zeros(SHAPE, bool) for _ in range(3))
    left[..., :3], right[..., 2:], both[0, 0, 0] = True, True, True
    scheme, _ = scheme_of_segments([census(labelled({"a": left, "b": right & ~both}))])
    assert scheme.regions == {"a": (1, 3), "b": (2, 3)}
    assert scheme.region_order == (1, 2)  # of b's voxels half are in both: the smaller value


def test_names_that_differ_in_spelling_are_one_class() -> None:
    found = [census(labelled(boxes(**{name: (0, 1)}))) for name in ("Left_Kidney", "left kidney", "Left_Kidney")]
    scheme, warnings = scheme_of_segments(found)
    assert scheme.names == {"background": 0, "Left_Kidney": 1}
    assert any("'left kidney' (1 file)" in warning and "as one" in warning for warning in warnings)
    values = segment_values(labelled(boxes(**{"left kidney": (0, 1)})), scheme, FILE)
    assert (values == 1).sum() == 6


def test_two_spellings_in_one_file_are_two_classes() -> None:
    scheme, warnings = scheme_of_segments([census(labelled(boxes(GTVn=(0, 1), GTVN=(1, 2))))])
    assert set(scheme.names) == {"background", "GTVn", "GTVN"}
    assert any("as several" in warning for warning in warnings)


def test_background_is_no_class_and_ignore_is_not_annotated() -> None:
    image = labelled(boxes(Background=(0, 1), liver=(1, 2), Ignore=(1, 3)))
    scheme, _ = scheme_of_segments([census(image)])
    assert (scheme.names, scheme.regions, scheme.ignore) == ({"background": 0, "liver": 1}, {}, 2)
    assert segment_values(image, scheme, FILE)[0, 0].tolist() == [0, 2, 2, 0]


def test_labels_of_a_description_are_found_by_name() -> None:
    scheme = LabelScheme(names={"background": 0, "liver": 4, "Left Kidney": 9})
    image = labelled(boxes(LIVER=(0, 1), left_kidney=(1, 2), couch=(2, 3)))
    assert segment_values(image, scheme, FILE)[0, 0].tolist() == [4, 9, 0, 0]
    (remark,) = label_map(image, scheme, FILE).remarks
    assert (remark.code, remark.got) == ("unnamed-structures", "couch")


def test_segments_of_one_name_are_one_structure() -> None:
    array = np.zeros((1, *SHAPE), np.uint8)
    array[..., 0], array[..., 1] = 1, 2
    image = Image(array, Geometry(), segments=(Segment("nodule", 0, 1), Segment("nodule", 0, 2)))
    valued = label_map(image, LabelScheme(names={"background": 0, "nodule": 1}), FILE)
    assert valued.array[0, 0, 0].tolist() == [1, 1, 0, 0]
    assert [remark.code for remark in valued.remarks] == ["repeated-structures"]


def test_an_overlap_that_plain_labels_cannot_hold_is_an_error() -> None:
    scheme = LabelScheme(names={"background": 0, "liver": 1, "tumour": 2})
    with pytest.raises(ImageError, match="several structures at once") as caught:
        segment_values(labelled(boxes(liver=(0, 3), tumour=(2, 4))), scheme, FILE)
    assert caught.value.got == "liver + tumour: 6 voxels"


def test_an_overlap_that_regions_do_not_know_is_an_error() -> None:
    scheme = LabelScheme(names={"background": 0}, regions={"whole": (1, 2), "core": (2,)}, region_order=(1, 2))
    assert segment_values(labelled(boxes(whole=(0, 3), core=(1, 2))), scheme, FILE)[0, 0].tolist() == [1, 2, 1, 0]
    with pytest.raises(ImageError, match="for which together the data set has no value") as caught:
        segment_values(labelled(boxes(whole=(0, 2), core=(1, 3))), scheme, FILE)
    assert caught.value.got == "core: 6 voxels"


def test_voxels_in_no_structure_need_a_background() -> None:
    scheme = LabelScheme(names={"muscle": 0, "fat": 1}, zero_is_class=True)
    values = segment_values(labelled(boxes(muscle=(0, 3), fat=(3, 4))), scheme, FILE)
    assert values[0, 0].tolist() == [0, 0, 0, 1]
    with pytest.raises(ImageError, match="the data set has no background") as caught:
        segment_values(labelled(boxes(muscle=(0, 2), fat=(3, 4))), scheme, FILE)
    assert caught.value.got == "none: 6 voxels"


def test_a_file_of_other_structures_is_an_error() -> None:
    with pytest.raises(ImageError, match="none of the data set's structures"):
        segment_values(labelled(boxes(heart=(0, 1))), LabelScheme(names={"background": 0, "liver": 1}), FILE)


def test_a_name_that_fits_two_labels_is_an_error() -> None:
    scheme = LabelScheme(names={"background": 0, "GTVn": 1, "GTVN": 2})
    assert segment_values(labelled(boxes(GTVN=(0, 1))), scheme, FILE).max() == 2
    with pytest.raises(ImageError, match="fits several labels"):
        segment_values(labelled(boxes(gtvn=(0, 1))), scheme, FILE)
