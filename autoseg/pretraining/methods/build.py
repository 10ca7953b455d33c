"""From a name and options to a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.pretraining.protocol import Method, Setting
from autoseg.records import Record


def build_method(name: str, setting: Setting, options: Mapping[str, Any] | None = None) -> Method:
    """A method of pretraining for a setting.

    Args:
        name: plug-in of kind "pretraining": a record with a field `setting`, or a callable that takes the setting and
            the options by name.
        setting: network, patch, channels, views and batch size.
        options: of the method, by the names of its fields.

    Raises:
        ConfigurationError: an unknown method or option (with the nearest known name), or a wrong value.
    """
    plugin = plugins.resolve("pretraining", name)
    options = dict(options or {})
    if isinstance(plugin, type) and issubclass(plugin, Record):
        made: Method = plugin.from_mapping({"setting": setting, **options}, where=f"pretraining method {name}")  # type: ignore[assignment]
        return made
    try:
        made = plugin(setting, **options)
    except TypeError as error:
        raise ConfigurationError(str(error), where=f"pretraining method {name}", got=options) from error
    return made
