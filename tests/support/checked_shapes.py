"""Checks what annotations say of arrays wherever a test calls the rooms that have them.

The package imports `jaxtyping` for readers and type checkers alone, so that it costs nothing when the program runs.
Here the modules of these rooms are compiled with that import made, and with jaxtyping's decorator on every function
and record whose annotations speak of arrays; beartype then checks arguments and results of each call in this process.
Processes that a test starts check nothing.

(jaxtyping's own import hook needs its names when the program runs, and decorates every function: a generator under
`torch.inference_mode` is then no longer seen to be one.)
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, NoReturn, get_args

import jaxtyping

ROOMS = (
    "autoseg.losses",
    "autoseg.networks",
    "autoseg.metrics",
    "autoseg.batches",
    "autoseg.inference",
    "autoseg.tasks.registration.similarities",
    "autoseg.tasks.registration.transforms",
)
"""Packages whose public functions say the shapes of their arrays."""

_ARRAY = re.compile(r"\b(Tensor|ndarray)\b")


def check_rooms() -> None:
    """Checks calls of all modules of the rooms that are imported from now on.

    Raises:
        RuntimeError: one of them is imported already, and would go unchecked.
    """
    if early := [name for name in sys.modules if name.startswith(ROOMS)]:
        raise RuntimeError(f"imported before their shapes are checked: {', '.join(early)}")
    sys.meta_path.insert(0, _Finder())


@contextmanager
def unchecked() -> Iterator[None]:
    """Within it nothing is checked: for what the program itself says of arrays that do not fit."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def checked(target: Any) -> Any:
    """A function or a record whose annotations of arrays are checked; the decorator of each that has some.

    Raises:
        NameError: one of them names what is not defined yet, and would go unchecked.
    """
    if isinstance(target, type) and not is_dataclass(target):
        return target  # a module or a named tuple, which has no fields that could be checked
    for annotation in target.__annotations__.values():
        try:
            eval(annotation, vars(sys.modules[target.__module__]))
        except NameError:
            if _ARRAY.search(annotation):
                raise
    return jaxtyping.jaxtyped(target, typechecker=_arrays_alone)


def _arrays_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    from beartype import beartype

    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if _has_arrays(hint)}
    return beartype(function)


def _has_arrays(hint: Any) -> bool:
    array = isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)
    return array or any(_has_arrays(part) for part in get_args(hint))


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith(ROOMS) else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def path_stats(self, path: str) -> NoReturn:
        raise OSError("bytecode is neither read nor written: other processes would run it too")

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:
        tree = ast.parse(data, path)
        nodes = list(ast.walk(tree))
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"]
        names = {alias.name for node in imports for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.FunctionDef) and _name_any(_signature(node), names):
                node.decorator_list.append(_decorator(node))
            elif isinstance(node, ast.ClassDef) and _name_any(_fields(node), names):
                node.decorator_list.insert(0, _decorator(node))
        place = next((i for i, node in enumerate(tree.body) if not _stands_first(node)), 0)
        tree.body[place:place] = [ast.Import([ast.alias(__name__)]), *imports]
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True, optimize=_optimize)


def _signature(function: ast.FunctionDef) -> Iterator[ast.expr | None]:
    arguments = function.args
    for one in (*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg):
        yield None if one is None else one.annotation
    yield function.returns


def _fields(record: ast.ClassDef) -> Iterator[ast.expr]:
    return (node.annotation for node in record.body if isinstance(node, ast.AnnAssign))


def _name_any(annotations: Iterator[ast.expr | None], names: set[str]) -> bool:
    parts = (part for annotation in annotations if annotation is not None for part in ast.walk(annotation))
    return any(isinstance(part, ast.Name) and part.id in names for part in parts)


def _decorator(node: ast.stmt) -> ast.expr:
    return ast.copy_location(ast.parse(f"{__name__}.{checked.__name__}", mode="eval").body, node)


def _stands_first(node: ast.stmt) -> bool:
    """Whether it is a module's docstring or an import from __future__."""
    return isinstance(node, ast.Expr) or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
