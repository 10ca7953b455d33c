"""The house rules that can be read from the source: each yields one line a violation."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("autoseg", "planners", "datasets_spec")

FLOORS: Mapping[str, int] = {
    **dict.fromkeys(("autoseg.errors", "autoseg.records", "autoseg.plugins", "autoseg.log", "autoseg.version"), 0),
    **dict.fromkeys(("autoseg.plugin_calls", "autoseg.documents", "autoseg.allocation"), 0),
    **dict.fromkeys(("autoseg.workspace", "autoseg.processes", "autoseg.provenance"), 1),
    "autoseg.run_state": 1,
    **dict.fromkeys(("autoseg.data", "autoseg.plan.record", "datasets_spec"), 1),
    **dict.fromkeys(
        (
            "autoseg.fingerprint",
            "autoseg.preprocessing",
            "autoseg.batches",
            "autoseg.networks",
            "autoseg.losses",
            "autoseg.metrics",
            "autoseg.postprocessing",
            "autoseg.plan",
        ),
        2,
    ),
    **dict.fromkeys(("autoseg.training", "autoseg.inference"), 3),
    "planners": 4,
    **dict.fromkeys(("autoseg.evaluation", "autoseg.report", "autoseg.pipeline"), 5),
    **dict.fromkeys(("autoseg.cli", "autoseg.__main__", "autoseg"), 6),
    "autoseg.testing": 7,
}
"""Room of the spine -> floor; the longest name that fits decides. `autoseg` itself is the door on top of everything."""

CONTRACT_KIT = "autoseg.testing"
"""Stands beside the house: it looks at all of it, at guests' methods too, and nothing in the house looks at it."""

SIBLINGS = {
    ("autoseg.documents", "autoseg.errors"),
    ("autoseg.records", "autoseg.errors"),
    ("autoseg.records", "autoseg.documents"),
    ("autoseg.plugins", "autoseg.errors"),
    ("autoseg.plugins", "autoseg.records"),
    ("autoseg.plugins", "autoseg.plugin_calls"),
    ("autoseg.plugin_calls", "autoseg.errors"),
    ("autoseg.run_state", "autoseg.workspace"),
    ("autoseg.data", "autoseg.processes"),
    ("autoseg.plan.record", "autoseg.data"),
    ("autoseg.plan", "autoseg.networks.family"),
    ("autoseg.plan", "autoseg.networks.layers"),
    ("autoseg.inference", "autoseg.training.runtime"),
    ("autoseg.inference", "autoseg.training.checkpoint"),
    ("autoseg.inference", "autoseg.training.choices"),
    ("autoseg.inference", "autoseg.training.config"),
    ("autoseg.report", "autoseg.evaluation"),
    ("autoseg.pipeline", "autoseg.evaluation"),
    ("autoseg.pipeline", "autoseg.report"),
    ("autoseg.__main__", "autoseg.cli"),
}
"""Imports allowed between rooms of one floor: (who, what)."""

PLANNERS_REACH = 2
"""Highest floor that planners may import."""

PLANNED_RECORDS = ("autoseg.tasks.registration.learned.settings",)
"""Records of tasks that planners fill, the only modules of a guest that they import."""

GUEST_KINDS = ("autoseg.tasks", "autoseg.studies", "autoseg.exchange")
GUEST_ROOMS = ("trainer", "report", "pipeline", "commands")
"""Rooms of a guest, lowest first; its other modules, the methods, lie below them."""

MAY_PRINT = ("autoseg.cli",)
MAY_READ_ENVIRONMENT = ("autoseg.cli", "autoseg.training.distributed")
MAY_SEE_PROCESS_GROUP = ("autoseg.training.distributed",)
MAY_IMPORT_SIMPLEITK = ("autoseg.data.itk",)
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 8
MAY_HAVE_MANY_PARAMETERS = ("autoseg.cli",)
"""Options of the command line are parameters of functions: here, and in the rooms `commands` of guests."""

SAYS_NOTHING = {"utils", "helpers", "misc", "common", "whole", "cells", "stencil", "places", "boxes", "counts"}
"""Names of modules that do not say their subject."""

ABSTRACT_BASES = {"Protocol", "ABC"}
OPEN_BASES = {"autoseg.records.Record", "autoseg.errors.AutosegError"}


@dataclass(frozen=True)
class Source:
    """One module of the project: its dotted name (without `__init__`), its text, and whether it is a package."""

    module: str
    text: str
    package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Everything in the module, walked through once for all rules."""
        return tuple(ast.walk(self.tree))

    def inside(self, prefixes: Iterable[str]) -> bool:
        """Whether the module is one of these or lies in one of these packages."""
        return any(within(self.module, prefix) for prefix in prefixes)


Rule = Callable[[Source], Iterator[str]]
"""What a rule is: a module's source -> `line: violation` for each violation."""


def read_sources(root: Path) -> list[Source]:
    """Every module of the packages that ship."""
    found = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found.append(Source(name, path.read_text(encoding="utf-8"), is_package))
    return found


def violations(sources: Iterable[Source]) -> list[str]:
    """All violations of all rules, one line each: where, what, and which rule it breaks."""
    sources = list(sources)
    modules = {source.module for source in sources}
    classes = {name: bases for source in sources for name, bases in class_bases(source, modules)}
    rules = (
        _floors(modules),
        _stars,
        _prints,
        _environment,
        _process_group,
        _simpleitk,
        _length,
        _functions,
        _subject,
        _bases(classes),
    )
    return [f"{source.module}:{line}" for source in sources for rule in rules for line in rule(source)]


def imports(source: Source, modules: Iterable[str] = ()) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in a module, those inside functions and of constant names too.

    `from a import b` counts as `a.b` where that is a module or a room of the project, else as `a`.
    """
    modules = {*modules, *FLOORS}
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(source, node)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield node.lineno, name if name in modules else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from ((node.lineno, str(name.value)) for name in node.args[:1] if isinstance(name, ast.Constant))


def floor_of(module: str) -> tuple[str, int] | None:
    """The room of the spine that a module belongs to and its floor; None for a room that no floor is known of."""
    room = max((room for room in FLOORS if within(module, room)), key=len, default=None)
    if room is None or (room == "autoseg" and module != "autoseg"):
        return None
    return room, FLOORS[room]


def guest_of(module: str) -> str | None:
    """The guest that a module belongs to, such as `autoseg.tasks.registration`; None for the spine and for planners."""
    parts = module.split(".")
    return ".".join(parts[:3]) if ".".join(parts[:2]) in GUEST_KINDS and len(parts) > 2 else None


def room_of(module: str) -> int:
    """How high the room of a guest's module lies: 0 for its methods."""
    name = (*module.split("."), "", "", "")[3]
    return GUEST_ROOMS.index(name) + 1 if name in GUEST_ROOMS else 0


def _floors(modules: set[str]) -> Rule:
    """Who may import whom: floors of the spine, guests and spine, guests among each other, rooms of a guest."""

    def rule(source: Source) -> Iterator[str]:
        if source.module in GUEST_KINDS:
            return
        own = floor_of(source.module)
        if own is None and guest_of(source.module) is None:
            yield "1: stands on no floor; add its room to FLOORS"
            return
        for line, target in imports(source, modules):
            if target.partition(".")[0] in PACKAGES and (fault := _fault(source.module, target)):
                yield f"{line}: {fault}"

    return rule


def _fault(module: str, target: str) -> str | None:
    """What is wrong with a module's import of another; None if nothing is."""
    mine, theirs = guest_of(module), guest_of(target)
    if within(target, CONTRACT_KIT) and not within(module, CONTRACT_KIT):
        return f"imports {target}: the contracts are for tests, nothing stands on them"
    if within(module, CONTRACT_KIT) and theirs is not None:
        rooms = room_of(target) > 0
        return f"imports {target}: contracts know of guests their methods alone" if rooms else None
    if theirs is not None and mine == theirs:
        higher = room_of(target) > room_of(module)
        return f"imports {target}: of a guest's rooms the lower imports the higher" if higher else None
    if within(module, "planners") and target in PLANNED_RECORDS:
        return None
    if theirs is not None:
        who = "the spine" if mine is None else "a guest"
        return f"imports {target}: {who} reaches a guest by the name of a plug-in only"
    other = floor_of(target)
    if other is None:
        return f"imports {target}, which stands on no floor"
    if other[0] == "planners" and not within(module, "planners"):
        return f"imports {target}; planners are resolved by name, never imported"
    if mine is not None:
        return None
    own = floor_of(module)
    assert own is not None
    room, floor = own
    if room == "planners" and other[0] != "planners" and other[1] > PLANNERS_REACH:
        return f"imports {target} (floor {other[1]}); planners reach up to floor {PLANNERS_REACH}"
    if other[1] > floor:
        return f"imports {target}: floor {floor} imports floor {other[1]}"
    if other[1] == floor and other[0] != room and not _siblings(module, target):
        return f"imports {target}, a sibling on floor {floor}"
    return None


def _stars(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{node.lineno}: star import"


def _prints(source: Source) -> Iterator[str]:
    if not source.inside(MAY_PRINT):
        for node in source.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"{node.lineno}: print outside the command line"


def _environment(source: Source) -> Iterator[str]:
    if not source.inside(MAY_READ_ENVIRONMENT):
        for line, name in _mentions(source, "os"):
            if name in ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"):
                yield f"{line}: uses {name}"


def _process_group(source: Source) -> Iterator[str]:
    if not source.inside(MAY_SEE_PROCESS_GROUP):
        for line, name in _mentions(source, "torch"):
            if within(name, "torch.distributed"):
                yield f"{line}: uses torch.distributed"


def _simpleitk(source: Source) -> Iterator[str]:
    if not source.inside(MAY_IMPORT_SIMPLEITK):
        for line, name in imports(source):
            if within(name, "SimpleITK"):
                yield f"{line}: imports SimpleITK, whose (x, y, z) order exists in one room"


def _length(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{lines}: longer than {LONGEST_FILE} lines"


def _functions(source: Source) -> Iterator[str]:
    """Functions that one cannot take in at a glance."""
    many = source.inside(MAY_HAVE_MANY_PARAMETERS) or ".commands" in source.module
    for node in source.nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield f"{node.lineno}: {node.name} has {lines} lines, more than {LONGEST_FUNCTION}"
        arguments = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in arguments if name not in ("self", "cls")])
        if count > MOST_PARAMETERS and not many:
            yield f"{node.lineno}: {node.name} has {count} parameters, more than {MOST_PARAMETERS}"


def _subject(source: Source) -> Iterator[str]:
    """A module's name says its subject."""
    if source.module.rpartition(".")[2] in SAYS_NOTHING:
        yield "1: the name of the module does not say its subject"


def _bases(classes: Mapping[str, tuple[str, ...]]) -> Rule:
    """A project's class may be a base only if it is abstract, the root of the records, or an error."""

    def is_open(name: str) -> bool:
        bases = classes[name]
        return (
            name in OPEN_BASES
            or any(base.rpartition(".")[2] in ABSTRACT_BASES or base == "metaclass=ABCMeta" for base in bases)
            or any(base in classes and base in error_tree(classes) for base in bases)
        )

    def rule(source: Source) -> Iterator[str]:
        for name, bases in classes.items():
            if name.rpartition(".")[0] == source.module:
                for base in bases:
                    if base in classes and not is_open(base):
                        yield f"1: {name} subclasses the concrete class {base}"

    return rule


def error_tree(classes: Mapping[str, tuple[str, ...]]) -> set[str]:
    """All classes of the tree under `AutosegError`."""
    found = {"autoseg.errors.AutosegError"}
    while True:
        more = {name for name, bases in classes.items() if found.intersection(bases)} - found
        if not more:
            return found
        found |= more


def class_bases(source: Source, modules: set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(qualified name, qualified bases) of each class at the top of a module."""
    names: dict[str, str] = {}
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom):
            base = _absolute(source, node)
            names.update({alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            names.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ClassDef):
            names[node.name] = f"{source.module}.{node.name}"
    for node in source.nodes:
        if isinstance(node, ast.ClassDef):
            bases = []
            for expression in node.bases:
                if isinstance(expression, ast.Subscript):  # Generic[T], Protocol[T]
                    expression = expression.value
                head, dot, rest = ast.unparse(expression).partition(".")
                bases.append(names.get(head, head) + dot + rest)
            bases += [f"metaclass={ast.unparse(k.value).rpartition('.')[2]}" for k in node.keywords]
            yield f"{source.module}.{node.name}", tuple(bases)


def _mentions(source: Source, library: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import from a library and each attribute of it, `library.x.y`."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.startswith(f"{library}."):
                yield node.lineno, name


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    """The module that an import names, a relative one resolved."""
    if not node.level:
        return node.module or ""
    parts = source.module.split(".")
    kept = parts[: len(parts) - node.level + source.package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _siblings(module: str, target: str) -> bool:
    return any(within(module, who) and within(target, what) for who, what in SIBLINGS)


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")
