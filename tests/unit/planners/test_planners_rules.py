"""The rules one by one, on data whose plan can be reasoned out."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import pytest

from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from planners import default, resenc
from planners.augmentation import policy, rotation_degrees
from planners.geometry import axis_order, median_shape, target_spacing
from planners.normalization import normalizations, use_mask
from planners.sampling import MAX_WEIGHT, equal_classes, rare_classes_first

Make = Callable[..., Fingerprint]


def test_spacing_is_the_median_of_ordinary_images() -> None:
    spacings = [(1.0, 0.5, 0.5), (2.0, 0.6, 0.6), (1.5, 0.7, 0.7)]
    assert target_spacing(spacings, [(100, 100, 100)] * 3) == (1.5, 0.6, 0.6)


def test_spacing_of_thick_slices_is_the_tenth_percentile() -> None:
    spacings = [(float(z), 1.0, 1.0) for z in range(5, 16)]
    assert target_spacing(spacings, [(10, 200, 200)] * 11) == (6.0, 1.0, 1.0)


def test_thick_slices_in_a_long_stack_are_not_anisotropic() -> None:
    spacings = [(float(z), 1.0, 1.0) for z in range(5, 16)]
    assert target_spacing(spacings, [(70, 200, 200)] * 11) == (10.0, 1.0, 1.0)


def test_spacing_across_slices_stays_above_that_in_the_plane() -> None:
    spacings = [(0.5, 1.0, 1.0), (0.6, 1.0, 1.0), *[(8.0, 1.0, 1.0)] * 6]
    assert target_spacing(spacings, [(10, 200, 200)] * 8) == (1.0 + 1e-5, 1.0, 1.0)


def test_coarsest_axis_comes_first() -> None:
    assert axis_order((1.0, 1.0, 5.0)) == (2, 0, 1)
    assert axis_order((1.0, 5.0, 1.0)) == (1, 0, 2)
    assert axis_order((1.0, 1.0, 1.0)) == (0, 1, 2)


def test_median_shape_is_that_of_the_resampled_images() -> None:
    shapes = [(10, 100, 100), (20, 100, 50)]
    assert median_shape([(2.0, 1.0, 1.0), (1.0, 1.0, 2.0)], shapes, (1.0, 1.0, 1.0)) == (20, 100, 100)


def test_normalisation_follows_the_channel_name() -> None:
    names = ("CT", "ct", "noNorm", "zscore", "rescale_to_0_1", "rgb_to_0_1", "T1", "")
    assert normalizations(names) == ("ct", "ct", "none", "z-score", "rescale", "rgb", "z-score", "z-score")


def test_mask_is_used_for_z_score_where_the_crop_took_much() -> None:
    assert use_mask(("z-score", "ct"), 0.74) == (True, False)
    assert use_mask(("z-score", "ct"), 0.75) == (False, False)


@pytest.mark.parametrize(
    ("patch", "degrees", "dummy_2d"),
    [
        ((128, 128, 128), 30.0, False),
        ((48, 144, 144), 30.0, False),  # three times as wide as thick: not yet flat
        ((47, 144, 144), 180.0, True),
        ((512, 512), 180.0, False),
        ((512, 320), 15.0, False),
    ],
)
def test_rotation_follows_the_patch(patch: tuple[int, ...], degrees: float, dummy_2d: bool) -> None:
    assert rotation_degrees(patch) == degrees
    steps = policy(patch)
    options = {step.name: step.options for step in steps}
    assert options["spatial"]["rotation_degrees"] == degrees
    assert options["spatial"]["dummy_2d"] is dummy_2d
    assert options["low-resolution"]["dummy_2d"] is dummy_2d
    assert options["mirror"]["axes"] == list(range(len(patch)))


def test_transforms_have_nnunets_order_and_probabilities() -> None:
    assert [(step.name, step.probability) for step in policy((64, 64, 64))] == [
        ("spatial", 1.0),
        ("gaussian-noise", 0.1),
        ("gaussian-blur", 0.2),
        ("brightness", 0.15),
        ("contrast", 0.15),
        ("low-resolution", 0.25),
        ("gamma", 0.1),
        ("gamma", 0.3),
        ("mirror", 1.0),
    ]


def test_more_memory_makes_larger_patches(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(300, 300, 300)] * 40)
    patches = [
        default.plan(data, labels, PlanContext(memory_gb=memory)).configurations["3d_fullres"].patch_size
        for memory in (4, 8, 16, 32)
    ]
    volumes = [z * y * x for z, y, x in patches]
    assert volumes == sorted(volumes)
    assert volumes[0] < volumes[-1]
    assert patches[1] == default.plan(data, labels, PlanContext()).configurations["3d_fullres"].patch_size


def test_default_samples_as_nnunet_does(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(64, 64, 64)] * 10, present={"liver": range(10), "tumour": [0]})
    sampler = default.plan(data, labels, PlanContext()).configurations["3d_fullres"].sampler
    assert sampler == equal_classes()
    assert (sampler.name, sampler.foreground_fraction, sampler.class_weights) == ("class-balanced", 0.33, {})


def test_rare_classes_are_drawn_more_often_up_to_a_limit(fingerprint: Make) -> None:
    present = {"liver": range(20), "cyst": range(5), "tumour": [0], "nowhere": []}
    weights = rare_classes_first(fingerprint([(64, 64, 64)] * 20, present=present)).class_weights
    assert weights == {"liver": 1.0, "cyst": 2.0, "tumour": MAX_WEIGHT, "nowhere": 1.0}


def test_no_weights_without_a_rare_class(fingerprint: Make) -> None:
    data = fingerprint([(64, 64, 64)] * 4, present={"liver": range(4), "tumour": [0, 1]})
    assert rare_classes_first(data) == equal_classes()


def test_plan_takes_over_what_a_model_needs(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(40, 50, 60)] * 4, channels=("CT", "PET"))
    plan = resenc.plan_resenc_l(data, labels, PlanContext(file_ending=".nrrd"))
    assert (plan.dataset, plan.channels, plan.labels) == ("phantom", ("CT", "PET"), labels)
    assert (plan.intensities, plan.file_ending, plan.planner) == (data.intensities, ".nrrd", "resenc-l")
    assert plan.configurations["3d_fullres"].normalization == ("ct", "z-score")


def test_tiny_images_get_a_plan_and_a_warning(fingerprint: Make, labels: LabelScheme) -> None:
    plan = default.plan(fingerprint([(5, 6, 7)] * 3), labels, PlanContext())
    assert plan.configurations["3d_fullres"].patch_size == (5, 6, 7)
    assert plan.configurations["3d_fullres"].stages == 1
    assert any(
        warning.startswith("3d_fullres: the images are so small (5 x 6 x 7 voxels)") for warning in plan.warnings
    )


def test_images_that_vanish_when_resampled_still_get_a_plan(fingerprint: Make, labels: LabelScheme) -> None:
    spacings = [(0.1, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)]
    plan = default.plan(fingerprint([(1, 64, 64), (1, 64, 64), (1, 64, 64)], spacings), labels, PlanContext())
    assert list(plan.configurations) == ["2d"]


def test_no_case_is_an_error(fingerprint: Make, labels: LabelScheme) -> None:
    with pytest.raises(PlanError, match="no training case"):
        default.plan(fingerprint([]), labels, PlanContext())


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_spacing_is_an_error_with_the_case(fingerprint: Make, labels: LabelScheme, wrong: float) -> None:
    data = fingerprint([(64, 64, 64)] * 2, [(1.0, 1.0, 1.0), (wrong, 1.0, 1.0)])
    with pytest.raises(PlanError, match="case_1: the spacing cannot be planned for"):
        default.plan(data, labels, PlanContext())


def test_the_largest_images_are_planned_in_a_moment(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(2000, 4000, 4000)] * 3, [(0.05, 0.02, 0.02)] * 3, channels=("CT",))
    start = perf_counter()
    for make in (default.plan, resenc.plan_resenc_xl):
        make(data, labels, PlanContext())
    assert perf_counter() - start < 5  # some 0.1 s; nnU-Net takes minutes


def test_a_class_is_rare_where_few_of_the_cases_that_were_looked_at_for_it_have_it(fingerprint: Make) -> None:
    data = fingerprint([(64, 64, 64)] * 20, present={"common": range(20), "other": range(20)})
    few = [case.with_(class_voxels={"common": 100}) for case in data.cases[4:]]
    assert rare_classes_first(data.with_(cases=(*data.cases[:4], *few))) == equal_classes()
    absent = [case.with_(class_voxels={"common": 100, "other": 0}) for case in data.cases[1:4]]
    rare = rare_classes_first(data.with_(cases=(data.cases[0], *absent, *few)))
    assert rare.class_weights == {"common": 1.0, "other": 2.0}
