"""Options of a command as records: a group of options is a frozen dataclass, written once and shared by commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints


def with_option_records(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are dataclasses are spread over the command line, an option for each field.

    Typer reads a function's signature; it is given one in which each record is replaced by its fields, in their order.
    A field's annotation is that of an option (`Annotated[type, typer.Option(...)]`), its default the option's.

    Args:
        command: its annotations must be there at run time, not for type checkers alone.

    Raises:
        TypeError: two options of one name.
    """
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, type] = {}
    spread: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        record = hints[name]
        if isinstance(record, type) and is_dataclass(record):
            records[name] = record
            annotations = get_type_hints(record, include_extras=True)
            spread += [_option(field, annotations[field.name]) for field in fields(record)]
        else:
            spread.append(parameter.replace(annotation=record, kind=inspect.Parameter.KEYWORD_ONLY))
    names = [parameter.name for parameter in spread]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"{command.__name__} has several options named {', '.join(sorted(twice))}")

    @functools.wraps(command)
    def run(**values: Any) -> None:
        options = {
            name: record(**{field.name: values.pop(field.name) for field in fields(record)})
            for name, record in records.items()
        }
        command(**values, **options)

    del run.__wrapped__  # signatures are read from here, not from the command inside
    run.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in spread}
    return run


def _option(field: Field[Any], annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
