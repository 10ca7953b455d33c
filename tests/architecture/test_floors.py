"""The house rules hold in the whole source, and each rule can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_rules import Source, floor_of, imports, read_sources, violations

from autoseg import plugins

ROOT = Path(__file__).parents[2]
SOURCES = read_sources(ROOT)


def test_the_source_keeps_every_rule() -> None:
    assert len(SOURCES) > 20, "the source was not found"
    found = violations(SOURCES)
    assert not found, "\n" + "\n".join(found)


def test_no_module_imports_a_verb() -> None:
    modules = {source.module for source in SOURCES}
    verbs = {address.partition(":")[0] for address in plugins.BUILT_IN["command"].values()}
    assert verbs <= modules
    found = {source.module: target for source in SOURCES for _, target in imports(source, modules) if target in verbs}
    assert not found, "verbs are looked up by name, never imported"


BAD = {
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
    "a lower floor": ("autoseg.cli.main", "from autoseg.errors import AutosegError"),
    "the same room": ("autoseg.batches.augment.spatial", "from autoseg.batches import sampling"),
    "the allowed door of a sibling": ("autoseg.inference.model", "from autoseg.training.runtime import Runtime"),
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
