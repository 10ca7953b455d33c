"""Runs small enough for tests."""

from __future__ import annotations

from autoseg.plan.record import Plan
from autoseg.workspace import Run


def small_networks(run: Run, *, batch_size: int = 2) -> None:
    """Narrows the planned networks, so that tests take seconds."""
    plan = Plan.load(run.plan)
    narrow = {
        name: item.with_(
            features_per_stage=tuple(max(2, n // 8) for n in item.features_per_stage), batch_size=batch_size
        )
        for name, item in plan.configurations.items()
    }
    plan.with_(configurations=narrow).save(run.plan)
