"""The catalogue of published challenges: one TOML file each. `autoseg.studies.benchmark` says what stands in them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from autoseg.records import unknown_name


def names() -> tuple[str, ...]:
    """Names of all challenges, sorted: the names of the files without their ending."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def path_of(name: str) -> Path:
    """The file of a challenge.

    Raises:
        ConfigurationError: no such challenge, with the nearest name there is.
    """
    if name not in names():
        raise unknown_name("specification", name, names())
    return _folder() / f"{name}.toml"


def _folder() -> Path:
    return Path(str(files("datasets_spec")))
