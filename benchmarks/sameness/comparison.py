"""Two folders of results compared bit for bit: what was compared, and every value that differs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch

from benchmarks.sameness.contents import Contents, Value, is_compared, read_contents


@dataclass(frozen=True)
class Comparison:
    """What was compared and what differs.

    Attributes:
        files: compared files.
        tensors: compared tensors of checkpoints.
        voxels: compared values in arrays, of images and others.
        numbers: compared single numbers and truth values, missing ones (null) too.
        texts: compared single texts, such as names of cases and of configurations.
        differences: a line each, the file first; a file or value that one side lacks is one.
    """

    files: int = 0
    tensors: int = 0
    voxels: int = 0
    numbers: int = 0
    texts: int = 0
    differences: tuple[str, ...] = ()

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.files + other.files,
            self.tensors + other.tensors,
            self.voxels + other.voxels,
            self.numbers + other.numbers,
            self.texts + other.texts,
            (*self.differences, *other.differences),
        )

    @property
    def amount(self) -> str:
        """What was compared, in words."""
        counts = {"tensors": self.tensors, "voxels": self.voxels, "numbers": self.numbers, "texts": self.texts}
        parts = [f"{count:,} {name}" for name, count in counts.items() if count]
        return f"{', '.join(parts) or 'nothing'} in {self.files} files"


def compare_folders(old: Path, new: Path, results: tuple[Path, ...]) -> Comparison:
    """Compares all files of two folders, but those that `contents.is_compared` leaves out.

    Args:
        old, new: the folders. Where neither holds a file to compare, that is a difference.
        results: folders of all results of each version, cut away where a text names one of them.
    """
    whole = Comparison()
    for name in sorted({*_files(old), *_files(new)}):
        whole += compare_files(old / name, new / name, name, results)
    return whole if whole.files or whole.differences else Comparison(differences=("there is nothing to compare",))


def compare_files(old: Path, new: Path, name: str, results: tuple[Path, ...]) -> Comparison:
    """Compares two files.

    Args:
        old, new: the files; one that is missing or cannot be read is a difference.
        name: of both, for the differences.
        results: folders of all results of each version, cut away where a text names one of them.
    """
    if not (old.is_file() and new.is_file()):
        return Comparison(differences=(f"{name}: only the {'old' if old.is_file() else 'new'} version has the file",))
    sides: list[Contents] = []
    for path in (old, new):
        try:
            sides.append(read_contents(path, results))
        except Exception as error:  # each library has its own; whatever it says, the file cannot be compared
            return Comparison(differences=(f"{path}: cannot be read: {type(error).__name__}: {error}",))
    found = compare_contents(*sides)
    return replace(found, files=1, differences=tuple(f"{name}: {line}" for line in found.differences))


def compare_contents(old: Contents, new: Contents) -> Comparison:
    """Compares values by name; a value that one side lacks is a difference."""
    lines: list[str] = []
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            lines.append(f"{name}: only the {'old' if name in old else 'new'} version has the value")
        elif (difference := difference_of(old[name], new[name])) is not None:
            lines.append(f"{name}: {difference}")
    both = [value for name, value in old.items() if name in new]
    return Comparison(
        tensors=sum(isinstance(value, torch.Tensor) for value in both),
        voxels=sum(value.size for value in both if isinstance(value, np.ndarray)),
        numbers=sum(value is None or isinstance(value, bool | int | float) for value in both),
        texts=sum(isinstance(value, str) for value in both),
        differences=tuple(lines),
    )


def difference_of(old: Value, new: Value) -> str | None:
    """How two values differ, or None where they are the same, bit for bit.

    A whole number equals the floating-point number of the same value, as in JSON. NaN equals NaN; 0.0 is not -0.0.
    """
    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        if old.dtype != new.dtype or old.shape != new.shape:
            return f"{old.dtype} {tuple(old.shape)} and {new.dtype} {tuple(new.shape)}"
        bits = (value.contiguous().reshape(-1).view(torch.uint8) for value in (old, new))
        return None if torch.equal(*bits) else _first_of(old.double().numpy(), new.double().numpy())
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if old.dtype != new.dtype or old.shape != new.shape:
            return f"{old.dtype} {old.shape} and {new.dtype} {new.shape}"
        return None if old.tobytes() == new.tobytes() else _first_of(old, new)
    same = type(old) is type(new) and old == new
    if isinstance(old, float) or isinstance(new, float):
        same = _is_number(old) and _is_number(new) and float(old).hex() == float(new).hex()
    return None if same else f"{old!r} and {new!r}"


def _first_of(old: np.ndarray, new: np.ndarray) -> str:
    """How many values of two arrays differ, and the first of them."""
    places = np.argwhere(_differing(old, new))
    if not len(places):
        return "the same values in other bits (zeros of either sign, or kinds of NaN)"
    first = tuple(int(index) for index in places[0])
    return f"{len(places):,} of {old.size:,} values differ, the first at {first}: {old[first]!s} and {new[first]!s}"


def _differing(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    unequal: np.ndarray = old != new
    return unequal & ~((old != old) & (new != new))  # NaN, which is not itself


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _files(folder: Path) -> list[str]:
    """Names of the files to compare, relative to the folder."""
    return [
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and is_compared(path.name)
    ]
