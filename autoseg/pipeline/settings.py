"""The user's choices from a TOML file and from KEY=VALUE pairs, checked as a whole before any work."""

from __future__ import annotations

import inspect
import re
import tomllib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from autoseg import plugins
from autoseg.data.splits import SplitRule
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup
from autoseg.records import Record, read_mapping, unknown_name
from autoseg.training.config import TrainingConfig


class Settings(Record):
    """All that a user may choose in a file.

    Attributes:
        training: how networks are trained.
        splits: how cases are divided into folds.
    """

    training: TrainingConfig = TrainingConfig()
    splits: SplitRule = SplitRule()


class SettingLine(NamedTuple):
    """One line of the settings' help: its key, the values it takes, its default, and what it means."""

    key: str
    values: str
    default: str
    meaning: str


_PLUGINS = {"training.losses": "loss", "training.sampler.name": "sampler", "training.hooks": "hook"}
"""Settings that name plug-ins, and the plug-ins' kind."""


def read_settings(
    file: Path | None = None, assignments: Sequence[str] = (), chosen: Mapping[str, object] | None = None
) -> Settings:
    """The settings of a file, with assignments over them in their order, and chosen values over both.

    Args:
        file: TOML with the tables `training` and `splits`; None for the defaults. A path in it is relative to its
            folder.
        assignments: such as `training.optimizer=adamw` or `training.optimizer.learning_rate=3e-4`: a key with dots,
            and a TOML value or else plain text.
        chosen: key -> value, as other options of a command give them; None values are passed over.

    Raises:
        ConfigurationError, ErrorGroup: all wrong keys, values and names of plug-ins together, each with the nearest
            right name; a training with both a number of steps and a time.
        PluginError: a named plug-in of a third party cannot be imported.
    """
    values = read_mapping(file) if file is not None else {}
    splits = values.get("splits")
    if file is not None and isinstance(splits, dict) and isinstance(splits.get("file"), str):
        splits["file"] = str(file.parent / splits["file"])
    problems = _assign_all(values, assignments, chosen or {})
    settings = Settings()
    try:
        settings = Settings.from_mapping(values)
    except ErrorGroup as group:
        problems += group.errors
    except ConfigurationError as error:
        problems.append(error)
    problems += _unknown_plugins(values) + _two_lengths(values)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ErrorGroup("settings are wrong", problems, remedy="see `autoseg list settings`")
    for kind, name in _named_plugins(values):
        plugins.resolve(kind, name)
    return settings


def describe_settings() -> list[SettingLine]:
    """Every key that a file or an assignment may set, in the order of the records."""
    return [*_describe(TrainingConfig, "training."), *_describe(SplitRule, "splits.")]


def _assign_all(values: dict[str, Any], assignments: Sequence[str], chosen: Mapping[str, object]) -> list[AutosegError]:
    """Sets all keys that can be set; returns what is wrong with the others."""
    problems: list[AutosegError] = []
    pairs: list[tuple[str, object]] = []
    for text in assignments:
        key, equals, written = text.partition("=")
        if equals:
            pairs.append((key.strip(), _parse(written.strip())))
        else:
            expected = "KEY=VALUE such as training.optimizer=adamw"
            problems.append(ConfigurationError("is no assignment", where=text, expected=expected))
    pairs += [(key, value) for key, value in chosen.items() if value is not None]
    for key, value in pairs:
        try:
            _assign(values, key, value)
        except ConfigurationError as error:
            problems.append(error)
    return problems


def _parse(text: str) -> object:
    """A TOML value, or else the text itself."""
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return values["value"] if len(values) == 1 else text


def _assign(values: dict[str, Any], key: str, value: object) -> None:
    """Sets a value in nested tables; a table that is a name alone so far becomes one that can be refined."""
    *path, last = key.split(".")
    table = values
    for depth, name in enumerate(path):
        inner = table.setdefault(name, {})
        if isinstance(inner, str):
            inner = {inner: 1.0} if ".".join(path[: depth + 1]) == "training.losses" else {"name": inner}
        if not isinstance(inner, dict):
            raise ConfigurationError(
                f"{'.'.join(path[: depth + 1])} is one value, without fields", where=key, got=repr(inner)
            )
        table[name] = table = inner
    table[last] = value


def _named_plugins(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, name) of each plug-in that raw values name; values of a wrong form name none."""
    training = values.get("training")
    training = training if isinstance(training, dict) else {}
    losses, sampler = training.get("losses"), training.get("sampler")
    names = [losses] if isinstance(losses, str) else list(losses) if isinstance(losses, dict) else []
    name = sampler.get("name") if isinstance(sampler, dict) else sampler
    hooks = training.get("hooks")
    hooks = [hook for hook in hooks if isinstance(hook, str)] if isinstance(hooks, (list, tuple)) else []
    sampler_name = [("sampler", name)] if isinstance(name, str) else []
    return [*(("loss", loss) for loss in names), *sampler_name, *(("hook", hook) for hook in hooks)]


def _unknown_plugins(values: Mapping[str, Any]) -> list[AutosegError]:
    keys = {kind: key for key, kind in _PLUGINS.items()}
    return [
        unknown_name(kind, name, plugins.names(kind), where=keys[kind])
        for kind, name in _named_plugins(values)
        if name not in plugins.names(kind)
    ]


def _two_lengths(values: Mapping[str, Any]) -> list[AutosegError]:
    training = values.get("training")
    if not isinstance(training, dict) or training.get("steps") is None or training.get("seconds") is None:
        return []
    return [
        ConfigurationError(
            "a training ends after a number of steps or after a time, not both",
            where="training.steps, training.seconds",
            got=f"{training['steps']} steps and {training['seconds']} seconds",
            remedy="leave out one of them",
        )
    ]


def _describe(record: type[Record], prefix: str) -> list[SettingLine]:
    meanings = _meanings(record)
    lines: list[SettingLine] = []
    for name, field in record.model_fields.items():
        key = prefix + name
        inner = next((part for part in _alternatives(field.annotation) if _is_record(part)), None)
        values = _values(key, field) if inner is None else _values(f"{key}.name", inner.model_fields["name"])
        default = getattr(field.default, "name", field.default)
        lines.append(SettingLine(key, values, _show(default), meanings.get(name, "")))
        if inner is not None:
            lines += _describe(inner, key + ".")
    return lines


def _values(key: str, field: FieldInfo) -> str:
    """The values a setting takes, in words."""
    kind = _PLUGINS.get(key)
    if key == "training.hooks":
        return "NAMES, ...; names: " + (", ".join(plugins.names("hook")) or "none is installed")
    if key == "training.losses":
        return "NAME, or NAME = WEIGHT, ...; names: " + ", ".join(plugins.names("loss"))
    if kind is not None:
        return " | ".join(plugins.names(kind))
    words = []
    for part in _alternatives(field.annotation):
        if get_origin(part) is Literal:
            words += [str(choice) for choice in get_args(part)]
        elif get_origin(part) is dict:
            words.append("NAME = NUMBER, ...")
        elif part is not type(None):
            words.append(_WORDS.get(part, "text"))
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [(sign, getattr(limit, name, None)) for limit in field.metadata for name, sign in signs.items()]
    bounds = [f"{sign} {bound}" for sign, bound in limits if bound is not None]
    return " ".join([" | ".join(words), ", ".join(bounds)]).strip()


_WORDS = {bool: "true | false", int: "whole number", float: "number", str: "text", Path: "file"}


def _show(value: object) -> str:
    if value is None or value == {} or value == ():
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The parts of a union; another annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _is_record(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Record)


def _meanings(record: type[Record]) -> dict[str, str]:
    """Field -> its text in the Attributes section of the record's docstring; one text may be of several fields."""
    section = (inspect.getdoc(record) or "").partition("Attributes:\n")[2]
    meanings: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", section.partition("\n\n")[0]):
        names, _, text = entry.partition(":")
        for name in names.split(","):
            meanings[name.strip()] = " ".join(text.split())
    return meanings
