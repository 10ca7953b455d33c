"""Which configurations have the same preprocessed cases, so that they are made and kept once."""

from __future__ import annotations

from autoseg.plan.record import STORED, ConfigurationPlan, Plan


def store_of(plan: Plan, name: str) -> str:
    """The configuration under whose name the preprocessed cases of a configuration lie.

    It is the first of the plan with the same `STORED` fields, often `name` itself. A cascade's second stage shares
    the cases of the full resolution.

    Args:
        plan: the plan.
        name: one of its configurations.
    """
    stored = _stored(plan.configurations[name])
    return next(other for other, configuration in plan.configurations.items() if _stored(configuration) == stored)


def _stored(configuration: ConfigurationPlan) -> tuple[object, ...]:
    return tuple(getattr(configuration, field) for field in STORED)
