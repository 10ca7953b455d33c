"""What lies in a result file, as named values: tensors of checkpoints, voxels and headers of images, entries of JSON.

Nothing of the project is imported, so that both versions of it are read by the same code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import SimpleITK as sitk
import torch

Value = torch.Tensor | np.ndarray | bool | int | float | str | None
Contents = dict[str, Value]
"""Name -> value; a name is the way to it, such as `network.encoder.0.weight` or `mean.organ.dice`."""

TIMINGS = (
    "seconds", "fit_seconds", "longest_seconds", "step_seconds", "remaining", "waiting_for_data",
    "peak_gb", "fit_peak_gb", "machine",
)  # fmt: skip
"""Fields of JSON that time, memory and the machine decide."""

WORDS = (
    "command", "predict", "description", "details", "files", "findings", "judgement", "note", "sentence", "title",
    "versions", "warnings",
)  # fmt: skip
"""Fields of JSON that hold sentences for a reader, commands and versions."""

LEFT_OUT = frozenset((*TIMINGS, *WORDS))

OTHER_FILES = frozenset(("run.log", "provenance.json", "report.html", "progress.png", "picture.png", "training.json"))
"""Files that are not compared: logs, provenance, what a report draws from the other files, and the note of a fold
whether its latest training is finished, which 0.1 does not write."""

OTHER_ENDINGS = (".zip",)
"""Nor are archives: what is in them shows when a model is read from one."""


def is_compared(name: str) -> bool:
    """Whether files of this name are compared at all."""
    return name not in OTHER_FILES and not name.endswith(OTHER_ENDINGS)


def read_contents(path: Path, results: tuple[Path, ...]) -> Contents:
    """The values in a file.

    Args:
        path: the file. What has no known ending is taken as its bytes.
        results: folders that are cut away where a text names one of them.

    Raises:
        Exception: the file cannot be read, in the words of the library that reads it.
    """
    for ending, reader in READERS.items():
        if path.name.endswith(ending):
            return {name: _without(results, value) for name, value in reader(path).items()}
    return {"bytes": np.frombuffer(path.read_bytes(), np.uint8)}


def read_checkpoint(path: Path) -> Contents:
    """Every tensor of a checkpoint: weights, their average, and the optimiser's state."""
    content = flat(torch.load(path, map_location="cpu", weights_only=True))
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}


def read_json(path: Path) -> Contents:
    """Every entry of a JSON file but those in `LEFT_OUT`."""
    return flat(json.loads(path.read_text(encoding="utf-8")))


def read_json_lines(path: Path) -> Contents:
    """Every entry of a file with one JSON object per line but those in `LEFT_OUT`."""
    return flat([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])


def read_image(path: Path) -> Contents:
    """Voxels, geometry and all of the header of an image or a label file."""
    image = sitk.ReadImage(str(path))
    header = {f"header {key}": image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    geometry = {
        "spacing": np.array(image.GetSpacing()),
        "origin": np.array(image.GetOrigin()),
        "direction": np.array(image.GetDirection()),
    }
    return {"voxels": sitk.GetArrayFromImage(image), **geometry, **header}


def read_transform(path: Path) -> Contents:
    """Kind, parameters and fixed parameters of a transform and its parts."""
    whole = sitk.CompositeTransform(sitk.ReadTransform(str(path)))
    found: Contents = {}
    for index in range(whole.GetNumberOfTransforms()):
        part = whole.GetNthTransform(index)
        found[f"{index}.kind"] = part.GetName()
        found[f"{index}.parameters"] = np.array(part.GetParameters())
        found[f"{index}.fixed parameters"] = np.array(part.GetFixedParameters())
    return found


def read_store(path: Path) -> Contents:
    """The array of a blosc2 file."""
    return {"voxels": blosc2.open(str(path))[...]}


def read_arrays(path: Path) -> Contents:
    """The arrays of a .npz file."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_array(path: Path) -> Contents:
    """The array of a .npy file."""
    return {"array": np.load(path)}


READERS: Mapping[str, Callable[[Path], Contents]] = {
    ".pt": read_checkpoint,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".nii.gz": read_image,
    ".png": read_image,
    ".h5": read_transform,
    ".tfm": read_transform,
    ".b2nd": read_store,
    ".npz": read_arrays,
    ".npy": read_array,
}
"""Ending of a file -> how it is read."""


def flat(content: Any) -> Contents:
    """The entries of nested mappings and lists; an empty one is an entry itself, as is every value of another type.

    Of each list the length is an entry as well. Fields in `LEFT_OUT` are left out, wherever they stand.
    """
    return dict(_entries(content, ""))


def _entries(content: Any, name: str) -> Iterator[tuple[str, Value]]:
    if isinstance(content, Mapping):
        if not content:
            yield f"{name}{{}}", None
        for key, value in content.items():
            if key not in LEFT_OUT:
                yield from _entries(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list | tuple):
        yield f"{name}[]", len(content)
        for index, value in enumerate(content):
            yield from _entries(value, f"{name}[{index}]")
    elif isinstance(content, torch.Tensor | np.ndarray | bool | int | float | str) or content is None:
        yield name, content
    else:
        yield name, repr(content)


def _without(results: tuple[Path, ...], value: Value) -> Value:
    for folder in results:
        value = value.replace(str(folder), "") if isinstance(value, str) else value
    return value
