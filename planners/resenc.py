"""nnU-Net v2's planners for the residual-encoder U-Net (Isensee et al. 2024, "nnU-Net revisited", MICCAI)."""

from __future__ import annotations

from dataclasses import replace

from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.record import Plan
from planners.nnunet import plan_with
from planners.rules import Rules

RESENC = Rules(
    name="resenc",
    network="residual-encoder-unet",
    encoder_blocks=(1, 3, 4, 6),
    decoder_blocks=1,
    elements_2d=135_000_000,
    elements_3d=680_000_000,
)
RESENC_M = replace(RESENC, name="resenc-m", dataset_share=1.0)
RESENC_L = replace(RESENC_M, name="resenc-l", memory_gb=24, elements_2d=380_000_000, elements_3d=2_100_000_000)
RESENC_XL = replace(RESENC_M, name="resenc-xl", memory_gb=40, elements_2d=560_000_000, elements_3d=3_600_000_000)


def plan_resenc(fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """The plan of nnU-Net v2.8.1's `ResEncUNetPlanner`: 8 GB, a batch holds at most 5 % of the data."""
    return plan_with(RESENC, fingerprint, labels, context)


def plan_resenc_m(fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """The plan of nnU-Net v2.8.1's `nnUNetPlannerResEncM`: 8 GB."""
    return plan_with(RESENC_M, fingerprint, labels, context)


def plan_resenc_l(fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """The plan of nnU-Net v2.8.1's `nnUNetPlannerResEncL`: 24 GB."""
    return plan_with(RESENC_L, fingerprint, labels, context)


def plan_resenc_xl(fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """The plan of nnU-Net v2.8.1's `nnUNetPlannerResEncXL`: 40 GB."""
    return plan_with(RESENC_XL, fingerprint, labels, context)
