"""What a planner is told beside the data: the hardware and the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoseg.plan.record import ConfigurationPlan


@dataclass(frozen=True)
class PlanContext:
    """Where and for how long the planned model will be trained.

    Attributes:
        memory_gb: accelerator memory to plan for, in GB; None means the planner's own target.
        device: kind of device: "cpu", "cuda" or "mps".
        budget_seconds: seconds one model may train; None means as long as it takes.
        seconds_per_step: measures one optimiser step of a candidate on this device, in seconds; a call costs a
            few steps of training. None means that nothing can be measured.
        file_ending: ending of the predictions' files.
        cascade: plan a cascade of two resolutions also where one patch shows enough of the image.
    """

    memory_gb: float | None = None
    device: str = "cuda"
    budget_seconds: float | None = None
    seconds_per_step: Callable[[ConfigurationPlan], float] | None = None
    file_ending: str = ".nii.gz"
    cascade: bool = False
