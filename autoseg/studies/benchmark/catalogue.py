"""The catalogue of challenges that come with the project, and a line about each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import datasets_spec
from autoseg.studies.benchmark.specification import Specification


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue, for people to read.

    Attributes:
        name: what `load` and the command line take.
        title: of the challenge.
        images: number of training cases, modality and dimension ("260 MRI, 3D").
        results: number of published results to compare with.
    """

    name: str
    title: str
    images: str
    results: int


def names() -> tuple[str, ...]:
    """Names of all challenges, sorted."""
    return datasets_spec.names()


def load(name: str | Path) -> Specification:
    """The specification of that name, or the one in a `.toml` file of one's own.

    Raises:
        ConfigurationError: no such name (with the nearest), no such file, or wrong fields, all of them together.
    """
    return Specification.load(name)


def entries() -> tuple[Entry, ...]:
    """A line about each challenge, sorted by name."""
    return tuple(_entry(load(name)) for name in names())


def _entry(specification: Specification) -> Entry:
    images = f"{specification.cases.training} {specification.modality}, {specification.dimension}D"
    return Entry(
        name=specification.name,
        title=specification.title,
        images=images,
        results=len(specification.results),
    )
