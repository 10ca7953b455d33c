"""The second stage of a cascade, and what there is to say where a cascade is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.record import ConfigurationPlan, TransformPlan
from planners.rules import LOWRES_BELOW

FIRST_STAGE, FULL_RESOLUTION, SECOND_STAGE = "3d_lowres", "3d_fullres", "3d_cascade_fullres"


def second_stage(fullres: ConfigurationPlan, labels: LabelScheme) -> ConfigurationPlan:
    """The full resolution with the first stage's labels as further input, which are augmented after the image."""
    return fullres.with_(
        previous_stage=FIRST_STAGE, augmentation=(*fullres.augmentation, *label_augmentation(len(labels.values) - 1))
    )


def label_augmentation(labels: int) -> tuple[TransformPlan, ...]:
    """What nnU-Net v2.8.1 does to the previous stage's labels (training values 1..labels), in its order.

    A patch is chosen with the step's probability, and in it each label with one half.
    """
    ball = {"labels": labels, "radius": [1.0, 8.0], "label_probability": 0.5}
    component = {"labels": labels, "largest_share": 0.15, "label_probability": 0.5}
    return (
        TransformPlan(name="cascade-morphology", probability=0.4, options=ball),
        TransformPlan(name="cascade-drop-components", probability=0.2, options=component),
    )


def asked_for(configurations: Mapping[str, ConfigurationPlan]) -> str:
    """The note of a plan whose cascade the user asked for."""
    full = configurations[FULL_RESOLUTION]
    share = min(1.0, prod(full.patch_size) / prod(full.median_shape))
    return (
        f"{FIRST_STAGE}, {SECOND_STAGE}: planned because a cascade was asked for; a patch of {FULL_RESOLUTION} covers "
        f"{share:.0%} of the median image, and below {LOWRES_BELOW:.0%} a cascade is planned anyway"
    )


def no_volumes(fingerprint: Fingerprint) -> PlanError:
    """The error for a cascade of images that have one slice."""
    return PlanError(
        "a cascade needs volumes",
        where=fingerprint.name,
        got="images of one slice" if fingerprint.dimension == 3 else "2D images",
        remedy="plan without a cascade",
    )
