"""The house rules hold in the whole source, and each rule can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from package_rules import circles, dead_errors, dead_exceptions, modules_without_a_user, repeated_names
from source_rules import PLANNED_RECORDS, SIBLINGS, Source, floor_of, imports, read_sources, violations

import autoseg
from autoseg import pipeline, plugins

ROOT = Path(__file__).parents[2]
SOURCES = read_sources(ROOT)


def test_the_source_keeps_every_rule() -> None:
    assert len(SOURCES) > 20, "the source was not found"
    found = violations(SOURCES)
    assert not found, "\n" + "\n".join(found)


def test_no_modules_import_each_other() -> None:
    assert circles(SOURCES) == []
    there = Source("autoseg.a.x", "def f():\n    from autoseg.a import y")
    back = Source("autoseg.a.y", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from autoseg.a.x import X")
    assert circles([there, back, Source("autoseg.a.z", "from autoseg.a import x")]) == [("autoseg.a.x", "autoseg.a.y")]


def test_a_record_has_a_name_of_its_own() -> None:
    assert repeated_names(SOURCES) == {}
    twice = [Source("autoseg.a", "class Pair: ..."), Source("autoseg.b", "class Pair: ...\nclass Box: ...")]
    assert repeated_names(twice) == {"Pair": ["autoseg.a", "autoseg.b"]}


def test_no_error_is_dead() -> None:
    assert dead_errors(SOURCES) == []
    tree = Source("autoseg.errors", "class AutosegError(Exception): ...\nclass LostError(AutosegError): ...")
    assert dead_errors([tree]) == ["autoseg.errors.LostError"]


def test_no_exception_from_the_rules_is_dead() -> None:
    assert dead_exceptions(SOURCES) == []
    assert len(dead_exceptions([])) == len(SIBLINGS) + len(PLANNED_RECORDS)


def test_every_module_has_a_user() -> None:
    addresses = [address for kind in plugins.BUILT_IN.values() for address in kind.values()]
    addresses += [f"autoseg.pipeline.{module}" for module in pipeline._HOMES.values()]
    addresses += [*autoseg._PUBLIC.values()]
    assert modules_without_a_user(SOURCES, addresses) == []
    lost = Source("autoseg.data.attic", "import autoseg.data.attic")
    assert modules_without_a_user([lost], []) == ["autoseg.data.attic"]


def test_no_module_imports_a_verb() -> None:
    modules = {source.module for source in SOURCES}
    verbs = {address.partition(":")[0] for address in plugins.BUILT_IN["command"].values()}
    assert verbs <= modules
    found = {source.module: target for source in SOURCES for _, target in imports(source, modules) if target in verbs}
    assert not found, "verbs are looked up by name, never imported"


BAD = {
    "the spine imports a guest": (
        "autoseg.report.build",
        "from autoseg.tasks.registration import warp",
        "the spine reaches a guest by the name of a plug-in only",
    ),
    "a guest imports another": (
        "autoseg.studies.raters.agreement",
        "def f():\n    from autoseg.tasks.registration import warp",
        "a guest reaches a guest by the name of a plug-in only",
    ),
    "a trainer imports a pipeline": (
        "autoseg.tasks.registration.trainer.task",
        "from autoseg.tasks.registration.pipeline import pair",
        "of a guest's rooms the lower imports the higher",
    ),
    "methods import a trainer": (
        "autoseg.tasks.registration.warp",
        "import autoseg.tasks.registration.trainer.task",
        "of a guest's rooms the lower imports the higher",
    ),
    "a planner imports a task": ("planners.default", "import autoseg.tasks.registration.warp", "a guest"),
    "a long function": ("autoseg.log", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines, more than 60"),
    "many parameters": ("autoseg.log", "def f(a, b, c, d, e, *, f, g, h, i): ...", "f has 9 parameters, more than 8"),
    "a name that says nothing": ("autoseg.data.utils", "", "does not say its subject"),
    "a lower floor imports a higher one": ("autoseg.data.files", "import autoseg.training.loop", "floor 1 imports"),
    "inside a function": ("autoseg.records", "def f():\n    from autoseg.data import image", "floor 0 imports floor 1"),
    "under TYPE_CHECKING": (
        "autoseg.networks.unet",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from autoseg.training import x",
        "floor 2 imports floor 3",
    ),
    "by a relative import": ("autoseg.losses.compound", "from ..training import loop", "floor 2 imports floor 3"),
    "by import_module": ("autoseg.log", "import importlib\nimportlib.import_module('autoseg.cli.main')", "floor 6"),
    "the package itself": ("autoseg.pipeline", "import autoseg", "floor 5 imports floor 6"),
    "siblings on floor 2": ("autoseg.losses.overlap", "from autoseg.metrics import counts", "a sibling on floor 2"),
    "more of a sibling than its door": ("autoseg.batches.x", "import autoseg.preprocessing.prepare", "a sibling"),
    "planners imported": ("autoseg.pipeline", "from planners.default import plan", "never imported"),
    "planners reaching too high": ("planners.budget", "import autoseg.training.loop", "planners reach up to floor 2"),
    "contracts imported": ("autoseg.cli.check", "import autoseg.testing", "nothing stands on them"),
    "contracts imported by a guest": ("autoseg.tasks.x.y", "from autoseg.testing import subject", "nothing stands on"),
    "contracts reaching too far": (
        "autoseg.testing.x",
        "from autoseg.tasks.registration.trainer import task",
        "contracts know of guests their methods alone",
    ),
    "a room without a floor": ("autoseg.attic.x", "", "stands on no floor"),
    "star import": ("autoseg.log", "from pathlib import *", "star import"),
    "print": ("autoseg.report.build", "def f():\n    print(1)", "print outside"),
    "os.environ": ("autoseg.pipeline", "import os\nx = os.environ['HOME']", "uses os.environ"),
    "getenv by name": ("planners.default", "from os import getenv", "uses os.getenv"),
    "torch.distributed imported": ("autoseg.training.loop", "import torch.distributed as dist", "torch.distributed"),
    "from torch import distributed": ("autoseg.training.loop", "from torch import distributed", "torch.distributed"),
    "torch.distributed by attribute": ("autoseg.training.loop", "torch.distributed.get_rank()", "torch.distributed"),
    "SimpleITK": ("autoseg.data.files", "def f():\n    import SimpleITK as sitk", "imports SimpleITK"),
    "a long file": ("autoseg.log", "\n" * 401, "longer than 400 lines"),
    "a concrete base": ("autoseg.log", "class A: ...\nclass B(A): ...", "log.B subclasses the concrete class"),
    "a record as base": (
        "autoseg.plan.record",
        "from autoseg.records import Record\nclass A(Record): ...\nclass B(A): ...",
        "record.B subclasses the concrete class autoseg.plan.record.A",
    ),
    "a module as base": (
        "autoseg.networks.unet",
        "from torch import nn\nclass A(nn.Module): ...\nclass B(A): ...",
        "unet.B subclasses the concrete class",
    ),
}


@pytest.mark.parametrize(("module", "text", "message"), BAD.values(), ids=BAD.keys())
def test_a_violation_is_found(module: str, text: str, message: str) -> None:
    found = violations([Source(module, text)])
    assert [line for line in found if message in line], found


GOOD = {
    "a guest imports the spine": ("autoseg.tasks.registration.commands.register", "from autoseg.cli import options"),
    "a higher room of a guest": (
        "autoseg.tasks.registration.pipeline.pair",
        "from autoseg.tasks.registration.report import page",
    ),
    "a record that planners fill": ("planners.registration", f"import {PLANNED_RECORDS[0]}"),
    "many options of a command": ("autoseg.studies.a.commands.b", "def f(a, b, c, d, e, f, g, h, i): ..."),
    "methods have self": ("autoseg.log", "class A:\n    def f(self, a, b, c, d, e, f, g, h): ..."),
    "a lower floor": ("autoseg.cli.main", "from autoseg.errors import AutosegError"),
    "the same room": ("autoseg.batches.augment.spatial", "from autoseg.batches import sampling"),
    "the allowed door of a sibling": ("autoseg.inference.model", "from autoseg.training.runtime import Runtime"),
    "contracts": ("autoseg.testing.x", "from autoseg.cli import verbs\nfrom autoseg.tasks.registration import pair"),
    "planners on floor 2": ("planners.default", "from autoseg.plan.record import Plan\nimport planners.resenc"),
    "print in the command line": ("autoseg.cli.check", "print(1)"),
    "a rank": ("autoseg.training.distributed", "import os, torch.distributed\nos.environ['RANK']"),
    "an error": ("autoseg.errors", "class AutosegError(Exception): ...\nclass A(AutosegError): ...\nclass B(A): ..."),
    "a protocol": ("autoseg.plan.x", "from typing import Protocol\nclass A(Protocol): ...\nclass B(A): ..."),
    "a generic protocol": ("autoseg.plan.x", "import typing\nclass A(typing.Protocol[T]): ...\nclass B(A): ..."),
    "an abstract class": ("autoseg.plan.x", "import abc\nclass A(metaclass=abc.ABCMeta): ...\nclass B(A): ..."),
    "a record": ("autoseg.data.x", "from autoseg.records import Record\nclass A(Record): ..."),
}


@pytest.mark.parametrize(("module", "text"), GOOD.values(), ids=GOOD.keys())
def test_what_is_allowed_passes(module: str, text: str) -> None:
    assert violations([Source("autoseg.records", "class Record: ..."), Source(module, text)]) == []


def test_errors_of_another_module_stay_open() -> None:
    tree = Source("autoseg.errors", "class AutosegError(Exception): ...\nclass ImageError(AutosegError): ...")
    leaf = Source("autoseg.data.x", "from autoseg.errors import ImageError\nclass Y(ImageError): ...")
    assert violations([tree, leaf]) == []


def test_imports_resolve_packages_and_names() -> None:
    package = Source("autoseg.data", "from .image import Image\nfrom . import labels\nimport numpy as np", package=True)
    known = {"autoseg.data.image", "autoseg.data.labels"}
    assert {name for _, name in imports(package, known)} == {"autoseg.data.image", "autoseg.data.labels", "numpy"}


def test_the_longest_room_decides_the_floor() -> None:
    assert floor_of("autoseg.plan.record") == ("autoseg.plan.record", 1)
    assert floor_of("autoseg.plan.cost") == ("autoseg.plan", 2)
    assert floor_of("autoseg.nowhere") is None
