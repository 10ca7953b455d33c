"""How places are drawn for a batch, from the class frequencies of the data."""

from __future__ import annotations

from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.record import SamplerPlan

FOREGROUND_FRACTION = 0.33
"""Share of a batch that must hold a foreground class, as in nnU-Net."""

RARE_BELOW = 0.5
"""A class in fewer of the cases than this is rare."""

MAX_WEIGHT = 4.0
"""Largest weight of a rare class: beyond it the few cases that hold it would crowd out the others."""


def equal_classes() -> SamplerPlan:
    """nnU-Net's sampling: of the classes in a case, each is equally likely to be the one a patch must hold."""
    return SamplerPlan(foreground_fraction=FOREGROUND_FRACTION)


def rare_classes_first(fingerprint: Fingerprint) -> SamplerPlan:
    """Like `equal_classes`, but a class that few of the cases that it was looked for in have is drawn more often there.

    Over a short training a rare class would otherwise be met a few times only. Its weight is the inverse of its
    share of the cases relative to `RARE_BELOW`, at most `MAX_WEIGHT`. Without a rare class no weights are written.
    Classes that no case has get no weight above 1.
    """
    cases = fingerprint.cases
    weights: dict[str, float] = {}
    for name in sorted({name for case in cases for name in case.class_voxels}):
        voxels = [case.class_voxels[name] for case in cases if name in case.class_voxels]
        share = sum(count > 0 for count in voxels) / len(voxels)
        weights[name] = min(MAX_WEIGHT, RARE_BELOW / share) if 0 < share < RARE_BELOW else 1.0
    if max(weights.values(), default=1.0) == 1.0:
        return equal_classes()
    return SamplerPlan(foreground_fraction=FOREGROUND_FRACTION, class_weights=weights)
