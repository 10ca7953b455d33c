"""What a user chooses about a pretraining, and the method that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from autoseg.plan.record import PRETRAINING, ConfigurationPlan
from autoseg.records import Record
from autoseg.tasks.pretraining.methods.build import build_method, planned_images
from autoseg.tasks.pretraining.presets import kind_of_image, preset
from autoseg.tasks.pretraining.protocol import PretrainingMethod, PretrainingSetting

TASK = PRETRAINING


class PretrainingOptions(Record):
    """Choices about a pretraining, `training.options` in the settings.

    Attributes:
        method: plug-in of kind "pretraining".
        views: kind of image whose preset says how views may differ; None takes what the channels' names speak for.
        batch_size: images per step; None as planned, more for a method that compares them.
        parameters: of the method, by the names of its fields.
    """

    method: str = "masked-autoencoder"
    views: str | None = None
    batch_size: int | None = Field(default=None, ge=1)
    parameters: dict[str, Any] = {}


def options_of(configuration: ConfigurationPlan) -> PretrainingOptions:
    """The options in a configuration's plan.

    Raises:
        ConfigurationError, ErrorGroup: unknown options or wrong values.
    """
    return PretrainingOptions.from_mapping(configuration.options, where="training.options")


def chosen_method(
    configuration: ConfigurationPlan, channels: Sequence[str]
) -> tuple[PretrainingSetting, PretrainingMethod]:
    """The method for a configuration with its options, and the setting that it is made for.

    Args:
        configuration: with the options.
        channels: names of the image's channels.

    Raises:
        ConfigurationError, ErrorGroup: an unknown method, kind of image, option or parameter.
    """
    options = options_of(configuration)
    setting = PretrainingSetting(
        configuration=configuration,
        channels=len(channels),
        views=preset(options.views or kind_of_image(channels)),
    )
    method = build_method(options.method, setting, options.parameters)
    samples = options.batch_size or planned_images(method, configuration)
    setting = setting.model_copy(update={"batch_size": samples})
    return setting, build_method(options.method, setting, options.parameters)
