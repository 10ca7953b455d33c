"""nnU-Net v2's default planner: a plain U-Net that fills 8 GB."""

from __future__ import annotations

from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.record import Plan
from planners.nnunet import plan_with
from planners.rules import Rules

DEFAULT = Rules(
    name="default",
    network="plain-unet",
    encoder_blocks=(2,),
    decoder_blocks=2,
    elements_2d=85_000_000,
    elements_3d=560_000_000,
    patch_fills_smallest_batch=True,
)


def plan(fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """The plan that nnU-Net v2.8.1's `ExperimentPlanner` makes, to the digit.

    Raises:
        PlanError: nothing can be planned for the fingerprint.
    """
    return plan_with(DEFAULT, fingerprint, labels, context)
