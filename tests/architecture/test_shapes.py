"""Arrays that cross a door have a shape and a type in the signature."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from checked_shapes import ROOMS
from source_rules import Source, read_sources

ROOT = Path(__file__).parents[2]

EXCEPTIONS = {
    "autoseg.networks.transfer.transfer_weights(weights)": "a state dict, whose tensors have any shape and type",
}
"""Plain annotations of public parameters that stay, and why."""


def test_public_functions_say_the_shapes_of_their_arrays() -> None:
    found = [place for source in read_sources(ROOT) if source.inside(ROOMS) for place in plain_arrays(source)]
    assert sorted(found) == sorted(EXCEPTIONS)


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_such_functions(room: str) -> None:
    assert any(source.inside([room]) and "from jaxtyping import" in source.text for source in read_sources(ROOT))


PLAIN = {
    "a parameter": ("def f(x: Tensor): ...", "f(x)"),
    "with its module": ("def f(x: torch.Tensor): ...", "f(x)"),
    "numpy's": ("def f(x: np.ndarray | None = None): ...", "f(x)"),
    "by keyword": ("def f(*, x: Tensor): ...", "f(x)"),
    "any number": ("def f(*x: Tensor): ...", "f(x)"),
    "within a container": ("def f(x: Mapping[str, Tensor]): ...", "f(x)"),
    "beside one with a shape": (
        'from jaxtyping import Float\ndef f(x: tuple[Tensor, Float[Tensor, "..."]]): ...',
        "f(x)",
    ),
    "somebody else's brackets": ("def f(x: Float[Tensor, '...']): ...", "f(x)"),
    "a result": ("def f() -> Tensor: ...", "f(return)"),
    "a method": ("class A:\n    def f(self, x: Tensor): ...", "A.f(x)"),
    "a call": ("class A:\n    def __call__(self, x: Tensor): ...", "A.__call__(x)"),
    "a property": ("class A:\n    @property\n    def f(self) -> Tensor: ...", "A.f(return)"),
    "a field": ("class A:\n    x: Tensor", "A(x)"),
}


@pytest.mark.parametrize(("text", "place"), PLAIN.values(), ids=PLAIN.keys())
def test_a_plain_array_is_found(text: str, place: str) -> None:
    assert list(plain_arrays(Source("m", text))) == [f"m.{place}"]


FINE = {
    "a shape": 'from jaxtyping import Float\ndef f(x: Float[Tensor, "batch ..."]) -> Float[np.ndarray, ""]: ...',
    "either": 'from jaxtyping import Float\ndef f(x: Float[np.ndarray | Tensor, "batch ..."]): ...',
    "a private function": "def _f(x: Tensor): ...",
    "a private method": "class A:\n    def _f(self, x: Tensor): ...",
    "a private class": "class _A:\n    x: Tensor",
    "a private field": "class A:\n    _x: Tensor",
    "a function of a function": "def f():\n    def g(x: Tensor): ...",
    "a callable": "def f(x: Callable[[Tensor], Tensor]): ...",
    "a variable": "x: Tensor = 1",
}


@pytest.mark.parametrize("text", FINE.values(), ids=FINE.keys())
def test_nothing_else_is(text: str) -> None:
    assert not list(plain_arrays(Source("m", text)))


def plain_arrays(source: Source) -> Iterator[str]:
    """`module.function(parameter)` for each public parameter, result or field with an array of no shape."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
        for alias in node.names
    }
    for place, annotation in _doors(source.tree.body):
        if _has_plain(annotation, names):
            yield f"{source.module}.{place}"


def _doors(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and _is_public(node.name):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and _is_public(field.target.id):
                    yield f"{node.name}({field.target.id})", field.annotation
            yield from ((f"{node.name}.{place}", annotation) for place, annotation in _doors(node.body))
        elif isinstance(node, ast.FunctionDef) and _is_public(node.name):
            arguments = node.args
            every = (*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg)
            yield from (
                (f"{node.name}({one.arg})", one.annotation) for one in every if one is not None and one.annotation
            )
            if node.returns is not None:
                yield f"{node.name}(return)", node.returns


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name.endswith("__")


def _has_plain(annotation: ast.AST, names: set[str]) -> bool:
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in ("Tensor", "ndarray")
        case ast.Subscript(value=ast.Name(id=name)) if name in names | {"Callable"}:
            return False
    return any(_has_plain(part, names) for part in ast.iter_child_nodes(annotation))
