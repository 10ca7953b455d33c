"""One line about each plug-in, read from its source, so that a list of names imports none of their libraries."""

from __future__ import annotations

import ast
import inspect
from importlib.util import find_spec
from pathlib import Path

from autoseg import plugins


def describe(kind: str) -> dict[str, str]:
    """Name -> first line of the docstring of each plug-in of a kind, without its full stop.

    The line is empty where it cannot be told. The order is that of `plugins.addresses`.
    """
    return {name: _first_line(kind, name, address) for name, address in plugins.addresses(kind).items()}


def _first_line(kind: str, name: str, address: str | None) -> str:
    """Of a plug-in at "module:object"; None for one that a file has registered, which is imported already."""
    text = inspect.getdoc(plugins.resolve(kind, name)) if address is None else _docstring(address)
    return (text or "").strip().partition("\n")[0].rstrip(". ")


def _docstring(address: str) -> str | None:
    """The docstring of a function or class at "module:name"."""
    module, _, name = address.partition(":")
    try:
        spec = find_spec(module)
    except Exception:  # finding a module imports the packages around it, those of others too
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    for node in ast.parse(Path(spec.origin).read_bytes()).body:  # the parser finds the file's encoding
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return ast.get_docstring(node)
    return None
