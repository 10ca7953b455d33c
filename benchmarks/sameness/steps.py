"""Steps of a part: commands of the project, and what is done to its files in between."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

from benchmarks.sameness.trees import Tree

NARROWER = 4
"""Divides the features of planned networks."""

Places = Mapping[str, Path]
"""Name in braces -> the path that it stands for."""


class Step(Protocol):
    """One thing that is done with a version of the project."""

    def run(self, tree: Tree, places: Places, log: Path) -> None:
        """Does it.

        Args:
            tree: the version.
            places: what names in braces stand for.
            log: file to which the output of commands is appended.

        Raises:
            CommandFailed: a command failed.
            OSError, KeyError, TypeError, ValueError: a file is missing or has another form.
        """
        ...


@dataclass(frozen=True)
class Command:
    """A command line of the project.

    Attributes:
        line: the words behind `autoseg`, separated by spaces, with names in braces.
        ranks: processes that train together.
        exit_codes: those that are right.
    """

    line: str
    ranks: int = 1
    exit_codes: tuple[int, ...] = (0,)

    def run(self, tree: Tree, places: Places, log: Path) -> None:
        words = [word.format_map(places) for word in self.line.split()]
        tree.autoseg(words, log, ranks=self.ranks, exit_codes=self.exit_codes)


@dataclass(frozen=True)
class Narrow:
    """Makes the networks, batches and patches of a plan small: trainings take seconds, and images several patches.

    Attributes:
        plan: the plan's JSON file.
        batch_size: of every configuration.
    """

    plan: str
    batch_size: int

    def run(self, tree: Tree, places: Places, log: Path) -> None:
        path = Path(self.plan.format_map(places))
        plan = json.loads(path.read_text(encoding="utf-8"))
        for configuration in plan["configurations"].values():
            divisors = [prod(strides) for strides in zip(*configuration["strides"], strict=True)]
            sizes = zip(configuration["patch_size"], divisors, strict=True)
            configuration["patch_size"] = [edge - divisor if edge > 2 * divisor else edge for edge, divisor in sizes]
            configuration["features_per_stage"] = [n // NARROWER for n in configuration["features_per_stage"]]
            configuration["batch_size"] = self.batch_size
        path.write_text(json.dumps(plan), encoding="utf-8")


@dataclass(frozen=True)
class Copy:
    """Copies a run folder.

    Attributes:
        source, target: with names in braces.
    """

    source: str
    target: str

    def run(self, tree: Tree, places: Places, log: Path) -> None:
        shutil.copytree(self.source.format_map(places), self.target.format_map(places))
