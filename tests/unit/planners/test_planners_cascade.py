"""When a cascade is planned, by itself or because it is asked for, and what its second stage is."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import pytest

from autoseg.batches.augment.policy import build_policy
from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.mirroring import mirrored
from autoseg.plan.sharing import store_of
from autoseg.plugins import resolve
from planners import budget, default, resenc
from planners.cascade import label_augmentation
from planners.rules import LOWRES_GROWTH

Make = Callable[..., Fingerprint]
ALL = ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
ASKED = PlanContext(cascade=True)


def test_large_images_get_a_cascade_by_themselves(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(400, 500, 500)] * 3, channels=("CT",))
    plan = default.plan(data, labels, PlanContext())
    made = plan.configurations
    assert list(made) == ALL
    assert made["3d_lowres"].next_stage == "3d_cascade_fullres"
    assert prod(made["3d_fullres"].patch_size) < 0.25 * 400 * 500 * 500
    assert prod(made["3d_lowres"].patch_size) >= 0.24 * prod(made["3d_lowres"].median_shape)
    assert store_of(plan, "3d_cascade_fullres") == "3d_fullres"
    assert [store_of(plan, name) for name in ALL[:3]] == ALL[:3]


def test_the_second_stage_is_the_full_resolution_with_labels_to_augment(fingerprint: Make, labels: LabelScheme) -> None:
    made = default.plan(fingerprint([(400, 500, 500)] * 3), labels, PlanContext()).configurations
    full, second = made["3d_fullres"], made["3d_cascade_fullres"]
    assert second.previous_stage == "3d_lowres"
    assert second == full.with_(previous_stage="3d_lowres", augmentation=(*full.augmentation, *label_augmentation(2)))
    assert build_policy(second.augmentation).steps[:-2] == build_policy(full.augmentation).steps


def test_label_augmentation_is_nnunets() -> None:
    # nnU-Net v2.8.1, nnUNetTrainer.get_training_transforms: strel_size (1, 8), p_per_label 0.5, apply 0.4;
    # dont_do_if_covers_more_than_x_percent 0.15, p_per_label 0.5, apply 0.2, after the mirroring
    morphology, components = label_augmentation(3)
    assert (morphology.name, morphology.probability) == ("cascade-morphology", 0.4)
    assert morphology.options == {"labels": 3, "radius": [1.0, 8.0], "label_probability": 0.5}
    assert (components.name, components.probability) == ("cascade-drop-components", 0.2)
    assert components.options == {"labels": 3, "largest_share": 0.15, "label_probability": 0.5}


def test_the_augmentation_by_name_is_that_of_every_planned_configuration(
    fingerprint: Make, labels: LabelScheme
) -> None:
    made = default.plan(fingerprint([(400, 500, 500)] * 3), labels, PlanContext()).configurations
    assert len(made) == 4
    for one in made.values():
        assert resolve("augmentation", "nnunet")(one, labels) == one.augmentation
        sided = mirrored(one, (1,))
        assert resolve("augmentation", "nnunet")(sided, labels) == sided.augmentation


def test_regions_and_an_ignore_label_are_painted_labels_for_the_second_stage(fingerprint: Make) -> None:
    scheme = LabelScheme(
        names={"background": 0}, regions={"whole": (1, 2, 3), "core": (2, 3)}, region_order=(1, 2), ignore=4
    )
    made = default.plan(fingerprint([(64, 64, 64)] * 3), scheme, ASKED).configurations["3d_cascade_fullres"]
    assert made.augmentation[-1].options["labels"] == 3


@pytest.mark.parametrize("planner", [default.plan, resenc.plan_resenc_m, resenc.plan_resenc_l])
@pytest.mark.parametrize("shape", [(35, 50, 35), (64, 64, 64), (20, 200, 200)])
def test_a_cascade_that_is_asked_for_halves_the_voxels_and_hardly_more(
    fingerprint: Make, labels: LabelScheme, planner: Callable, shape: tuple[int, ...]
) -> None:
    data = fingerprint([shape] * 5)
    assert list(planner(data, labels, PlanContext()).configurations) == ["2d", "3d_fullres"]
    plan = planner(data, labels, ASKED)
    made = plan.configurations
    assert list(made) == ALL
    saving = prod(made["3d_lowres"].spacing)  # the full resolution's is 1 mm
    assert 2 <= saving < 2 * LOWRES_GROWTH**3
    assert made["3d_cascade_fullres"].previous_stage == "3d_lowres"
    assert (made["3d_lowres"].batch_dice, made["3d_fullres"].batch_dice) == (False, True)
    notes = [warning for warning in plan.warnings if "a cascade was asked for" in warning]
    assert len(notes) == 1
    assert "covers 100% of the median image" in notes[0] or "20" in str(shape)


def test_asking_changes_nothing_but_a_note_where_the_cascade_is_planned_anyway(
    fingerprint: Make, labels: LabelScheme
) -> None:
    data = fingerprint([(400, 500, 500)] * 3, channels=("CT",))
    plan, asked = default.plan(data, labels, PlanContext()), default.plan(data, labels, ASKED)
    assert asked.configurations == plan.configurations
    assert len(asked.warnings) == len(plan.warnings) + 1


def test_growing_begins_in_the_plane_of_thick_slices(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(24, 128, 128)] * 5, [(6.0, 1.0, 1.0)] * 5)
    z, y, x = default.plan(data, labels, ASKED).configurations["3d_lowres"].spacing
    assert z == 6.0
    assert y == x > 1.4


@pytest.mark.parametrize(("dimension", "got"), [(2, "2D images"), (3, "images of one slice")])
def test_a_cascade_of_flat_images_is_refused(fingerprint: Make, labels: LabelScheme, dimension: int, got: str) -> None:
    data = fingerprint([(1, 64, 64)] * 3, [(999.0, 1.0, 1.0)] * 3).with_(dimension=dimension)
    assert list(default.plan(data, labels, PlanContext()).configurations) == ["2d"]
    with pytest.raises(PlanError, match="a cascade needs volumes") as caught:
        default.plan(data, labels, ASKED)
    assert got in str(caught.value)


def test_a_budget_reduces_both_stages_and_keeps_them_together(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(100, 180, 180)] * 10, present={"liver": range(10), "tumour": [0]})
    context = PlanContext(device="cpu", budget_seconds=600, cascade=True)
    full = default.plan(data, labels, context).configurations
    plan = budget.plan(data, labels, context)
    made = plan.configurations
    assert list(made) == ALL
    for name in ("3d_lowres", "3d_fullres"):
        assert prod(made[name].patch_size) * made[name].features_per_stage[0] < (
            prod(full[name].patch_size) * full[name].features_per_stage[0]
        )
    fullres, second = made["3d_fullres"], made["3d_cascade_fullres"]
    assert second == fullres.with_(
        previous_stage="3d_lowres", augmentation=(*fullres.augmentation, *label_augmentation(2))
    )
    assert second.sampler.class_weights["tumour"] == 4
    assert made["3d_lowres"].next_stage == "3d_cascade_fullres"
    assert store_of(plan, "3d_cascade_fullres") == "3d_fullres"
