"""A planned configuration with what the user chose instead of the plan's choices."""

from __future__ import annotations

from autoseg.plan.mirroring import axis_letters, mirrored
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.training.config import TrainingConfig


def chosen_configuration(plan: Plan, name: str, config: TrainingConfig) -> ConfigurationPlan:
    """The configuration as it is trained and predicted with: fields that the config leaves None are the plan's.

    Mirroring is chosen in letters of the image axes, which a plan may have reordered; axes that the configuration
    does not have (slices of a 2D one) are passed over.
    """
    configuration = plan.configurations[name]
    changes = {
        field: value
        for field in ("batch_dice", "deep_supervision", "sampler")
        if (value := getattr(config, field)) is not None
    }
    if config.options:
        changes["options"] = {**configuration.options, **config.options}
    if changes:
        configuration = configuration.with_(**changes)
    if config.mirror_axes is not None:
        letters = axis_letters(plan, configuration)
        configuration = mirrored(
            configuration, tuple(axis for axis, letter in enumerate(letters) if letter in config.mirror_axes)
        )
    return configuration
