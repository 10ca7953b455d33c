"""Frozen records: nouns that are validated when made, refuse unknown fields, and live in JSON or TOML files."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from autoseg.documents import read_json, read_toml
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup

_EDITED = 1 << 18
"""Bytes of a file up to which somebody may have written in it: names that are there twice are looked for."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Record(BaseModel):
    """Base of all records: immutable, compared by value, strict about field names.

    Raises:
        pydantic.ValidationError: on construction in code with wrong values (a bug);
            `from_mapping`, `load` turn it into a `ConfigurationError` for the user.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="null")

    @classmethod
    def from_mapping(cls, values: dict[str, Any], *, where: object = None) -> Self:
        """A record from plain values (JSON or TOML), every problem reported together."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _explain(cls, error, where) from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A record from a `.json` or `.toml` file."""
        path = Path(path)
        if path.suffix != ".toml":
            try:
                content = path.read_bytes()
                if len(content) > _EDITED:
                    return cls.model_validate_json(content)  # half the time of plain values first
            except (OSError, ValidationError):
                pass  # told in the user's words by what follows
        return cls.from_mapping(read_mapping(path), where=path)

    def save(self, path: str | Path) -> None:
        """Writes the record as JSON, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again."""
        return type(self).model_validate({**self.model_dump(), **changes})


def read_mapping(path: str | Path, *, nan: bool = False) -> dict[str, Any]:
    """The mapping in a JSON or TOML file.

    Args:
        path: of the file; `.toml` is TOML, all else JSON.
        nan: whether NaN and infinities are accepted, which some programs write into JSON.

    Raises:
        ConfigurationError: missing, no mapping, or not as `documents.read_json` reads it.
    """
    path = Path(path)
    values = read_toml(path) if path.suffix == ".toml" else read_json(path, nan=nan)
    if not isinstance(values, dict):
        raise ConfigurationError(
            "does not hold a mapping", where=path, got=type(values).__name__, expected="{...} at the top level"
        )
    return values


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file beside its place and renames it, so that no half-written file is taken for whole."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes bytes beside their place, then renames; parent folders are made.

    A store has thousands of small files, so that the file system is asked no more than it must be.
    """
    path = Path(path)
    temporary = f"{path.parent}/.{path.name}.{os.urandom(4).hex()}"
    try:
        handle = os.open(temporary, _NEW_FILE, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, _NEW_FILE, 0o644)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)  # noqa: PTH105 - a tenth of a small file's time
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: str | Path, values: Any) -> None:
    """Writes indented JSON atomically; NaN and infinities, which JSON lacks, become null."""
    write_text(path, json.dumps(finite(values), indent=1, allow_nan=False) + "\n")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that looks most like a mistyped one, if any does."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, names: Iterable[str], *, where: object = None) -> ConfigurationError:
    """The error for a name that is not among the known ones, with the nearest right one.

    Args:
        kind: what is named, such as "loss".
        name: as it was given.
        names: those that there are.
        where: the file or field in which it stands, if any.
    """
    names = sorted(names)
    guess = nearest(name, names)
    return ConfigurationError(
        f"unknown {kind} {name!r}",
        where=where,
        expected="one of " + ", ".join(names) if names else "none is known",
        remedy=f"did you mean {guess!r}?" if guess else None,
    )


def finite(values: Any) -> Any:
    """Plain values with None in place of NaN and infinities, text as keys, and lists in place of tuples."""
    if isinstance(values, float) and (values != values or values in (float("inf"), float("-inf"))):
        return None
    if isinstance(values, dict):
        return {str(key): finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [finite(value) for value in values]
    return values


def _explain(cls: type[BaseModel], error: ValidationError, where: object) -> AutosegError:
    problems: list[AutosegError] = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        location = f"{where}: {path}" if where is not None else path
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a record, of a dataclass
            allowed = _fields_at(cls, item["loc"][:-1])
            problems.append(unknown_name("field", str(item["loc"][-1]), allowed, where=location))
        elif item["type"] == "missing":
            problems.append(ConfigurationError("a field is missing", where=location, remedy="add it"))
        elif item["type"] == "literal_error":
            allowed = re.findall("'([^']*)'", item["ctx"]["expected"])
            problems.append(unknown_name("value", str(item["input"]), allowed, where=location))
        else:
            problems.append(_wrong_value(item["msg"], item.get("input"), location))
    if len(problems) == 1:
        return problems[0]
    return ErrorGroup(f"{where or cls.__name__}: {len(problems)} fields are wrong", problems)


def _wrong_value(message: str, value: Any, location: str) -> ConfigurationError:
    """The error for one of pydantic's messages."""
    got = None if isinstance(value, Mapping) else repr(value)[:200]
    expected = message.removeprefix("Input should be ")
    if expected.startswith("a valid dictionary"):
        expected = "a table of fields"
    if expected != message:
        return ConfigurationError("wrong value", where=location, got=got, expected=expected)
    return ConfigurationError(message.removeprefix("Value error, "), where=location or None, got=got)


def _fields_at(cls: type, path: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the record found by following `path` from `cls`."""
    current = cls
    for part in path:
        inner = _record_in(_annotations(current).get(str(part)))
        if inner is not None:
            current = inner
    return list(_annotations(current))


def _annotations(cls: type) -> dict[str, Any]:
    """Field -> type of a record or a dataclass."""
    if issubclass(cls, BaseModel):
        return {name: field.annotation for name, field in cls.model_fields.items()}
    return get_type_hints(cls)


def _record_in(annotation: Any) -> type | None:
    """The record or dataclass that an annotation speaks of, such as `tuple[Record, ...]`."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        record = _record_in(argument)
        if record is not None:
            return record
    return None
