"""One line about each plug-in, read from its source, so that a list of names imports none of their libraries."""

from __future__ import annotations

import ast
import inspect
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from autoseg import plugins


def describe(kind: str, name: str) -> str:
    """The first line of a plug-in's docstring, without its full stop; empty where it cannot be told.

    Args:
        kind: of plug-in.
        name: one of `plugins.names(kind)`.
    """
    place = plugins.BUILT_IN[kind].get(name) or _entry_point(kind, name)
    text = _of_object(plugins.resolve(kind, name)) if place is None else _docstring(place)
    return (text or "").strip().partition("\n")[0].rstrip(". ")


def _entry_point(kind: str, name: str) -> str | None:
    """Where another package's plug-in stands; None for one that a file has registered, which is imported already."""
    return next((point.value for point in entry_points(group=f"autoseg.{kind}") if point.name == name), None)


def _of_object(plugin: object) -> str | None:
    """The docstring of an imported plug-in; of a `NetworkFamily` that of the function that builds it."""
    return inspect.getdoc(getattr(plugin, "build", plugin))


def _docstring(place: str) -> str | None:
    """The docstring of a function or class at "module:name", or the string below a constant."""
    module, _, name = place.partition(":")
    try:
        spec = find_spec(module)
    except ImportError:
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    body = ast.parse(Path(spec.origin).read_bytes()).body  # the parser finds the file's encoding
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return ast.get_docstring(node)
        constant = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
        if constant and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            return str(after.value.value)
    return None
