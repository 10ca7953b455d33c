"""The house rules that can be read from all of the source together: each gives what breaks it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from source_rules import PLANNED_RECORDS, SIBLINGS, Source, class_bases, error_tree, imports, within

ENTERED_FROM_OUTSIDE = ("autoseg", "autoseg.__main__", "autoseg.cli.main", "autoseg.testing")
"""Modules that have a user outside the project; plug-ins of the table have one too."""


def circles(sources: Iterable[Source]) -> list[tuple[str, ...]]:
    """Groups of modules that import each other, whether at the top, in functions or for type checkers alone."""
    sources = list(sources)
    modules = {source.module for source in sources}
    graph = {
        source.module: {name for _, name in imports(source, modules) if name in modules and name != source.module}
        for source in sources
        if not source.package  # a package's own module only says what the package is, or hands names on
    }
    reached = {module: _reached(graph, module) for module in graph}
    groups = {
        tuple(sorted(other for other in reached[module] if module in reached.get(other, ())))
        for module in graph
        if module in reached[module]
    }
    return sorted(groups)


def repeated_names(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Names that several classes at the top of modules have -> these modules."""
    places: dict[str, list[str]] = {}
    for source in sources:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(source.module)
    return {name: modules for name, modules in sorted(places.items()) if len(modules) > 1}


def dead_errors(sources: Iterable[Source]) -> list[str]:
    """Errors of the tree that nothing raises, catches or derives another from."""
    sources = list(sources)
    modules = {source.module for source in sources}
    errors = error_tree({name: bases for source in sources for name, bases in class_bases(source, modules)})
    named = {
        node.id
        for source in sources
        for node in source.nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return sorted(error for error in errors if error.rpartition(".")[2] not in named)


def dead_exceptions(sources: Iterable[Source]) -> list[str]:
    """Exceptions from the rules that no import needs any more."""
    sources = list(sources)
    modules = {source.module for source in sources}
    pairs = {(source.module, name) for source in sources for _, name in imports(source, modules)}
    exceptions = [*SIBLINGS, *(("planners", record) for record in PLANNED_RECORDS)]
    return sorted(
        f"{who} may import {what}"
        for who, what in exceptions
        if not any(within(module, who) and within(target, what) for module, target in pairs)
    )


def modules_without_a_user(sources: Iterable[Source], plugins: Iterable[str]) -> list[str]:
    """Modules that no other imports and no row of the plug-ins' table names.

    Args:
        sources: the modules.
        plugins: "module:object" of the table, and of names that packages hand on.
    """
    sources = list(sources)
    modules = {source.module for source in sources}
    used = {name for source in sources for _, name in imports(source, modules) if name != source.module}
    used |= {address.partition(":")[0] for address in plugins} | {*ENTERED_FROM_OUTSIDE}
    return sorted(source.module for source in sources if not source.package and source.module not in used)


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Modules that lie behind a module's imports; the module itself where it lies in a circle."""
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += graph.get(module, ())
    return seen
