"""One line about each plug-in, read from its source, so that a list of names imports none of their libraries."""

from __future__ import annotations

import ast
import inspect
from importlib.util import find_spec
from pathlib import Path

from autoseg import plugins
from autoseg.errors import PluginError

_FIELDS = ("description", "definition")
"""Of a record that is a plug-in, what says in a line what it is."""


def describe(kind: str) -> dict[str, str]:
    """Name -> one line about each plug-in of a kind, without its full stop.

    It is the first of the docstring of a function or class, or the `description` or `definition` that a record is made
    with, or the string below a constant; empty where it cannot be told. The order is that of `plugins.addresses`.
    """
    return {name: _first_line(kind, name, address) for name, address in plugins.addresses(kind).items()}


def _first_line(kind: str, name: str, address: str | None) -> str:
    """Of a plug-in at "module:object"; None for one that a file has registered, which is imported already."""
    try:
        text = _own_description(plugins.resolve(kind, name)) if address is None else _read_description(address)
    except PluginError as error:
        return f"cannot be used: {error.subject}"
    return (text or "").strip().partition("\n")[0].rstrip(". ")


def _own_description(plugin: object) -> str | None:
    """The docstring of a function or class, of a network family that of what builds it; the description of a record."""
    described = next((getattr(plugin, field) for field in _FIELDS if hasattr(plugin, field)), None)
    return described if isinstance(described, str) else inspect.getdoc(getattr(plugin, "build", plugin))


def _read_description(address: str) -> str | None:
    """The same of "module:name", from the module's source."""
    module, _, name = address.partition(":")
    try:
        spec = find_spec(module)
    except Exception:  # finding a module imports the packages around it, those of others too
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    body = ast.parse(Path(spec.origin).read_bytes()).body  # the parser finds the file's encoding
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return ast.get_docstring(node)
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets) and isinstance(node.value, ast.Call):
            below = [after.value] if isinstance(after, ast.Expr) else []
            texts = [*(one.value for one in node.value.keywords if one.arg in _FIELDS), *below]
            return next((str(text.value) for text in texts if isinstance(text, ast.Constant)), None)
    return None
