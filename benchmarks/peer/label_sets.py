"""Predictions beside references, laid out so that the commands of both sides take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from cProfile import Profile
from dataclasses import dataclass
from pathlib import Path
from pstats import Stats
from typing import Any, TypeVar

import numpy as np

from autoseg.data.discovery import discover
from autoseg.data.files import ending_of, read_labels, stem_of, write_labels
from autoseg.data.image import Geometry
from autoseg.records import write_json
from benchmarks.peer.context import Context
from benchmarks.peer.machine import Peaks
from benchmarks.peer.records import Floor

_CASES = 52  # predictions made of labels, where none are given
_LARGE_CASES, _LARGE_SHAPE, _LARGE_LABELS = 6, (160, 256, 256), 5
_LARGE_GEOMETRY = Geometry(spacing=(1.5, 0.8, 0.8))
_ISLANDS = 4  # small false components in a made prediction

Result = TypeVar("Result")


@dataclass(frozen=True)
class LabelSet:
    """Two folders of label files with the same names.

    Attributes:
        name: what it is, a few words.
        predictions, references: the folders; nothing else lies in them.
        labels: name -> value of the foreground.
        dataset: a dataset.json in nnU-Net's form, which both sides read.
        plans: the part of a plans.json that nnU-Net's evaluation reads.
        cases: how many.
        file_bytes, voxel_bytes: size of all files, and of all their voxels as bytes.
    """

    name: str
    predictions: Path
    references: Path
    labels: dict[str, int]
    dataset: Path
    plans: Path
    cases: int
    file_bytes: int
    voxel_bytes: int

    def floor(self, peaks: Peaks) -> Floor:
        """Reading all files, and writing and reading their voxels once as bytes."""
        return Floor(
            seconds=(self.file_bytes + 2 * self.voxel_bytes) / peaks.bandwidth,
            how=f"({self.file_bytes / 1e6:.1f} MB of files + 2 x {self.voxel_bytes / 1e6:.1f} MB of voxels) / "
            f"{peaks.bandwidth / 1e9:.1f} GB/s",
        )


def validation_set(context: Context) -> LabelSet:
    """The given predictions of the data set's cases; without them its labels, shifted and with islands."""
    dataset = discover(context.data)
    references = {case.id: case.label for case in dataset.training if case.label is not None}
    folder = context.folder("label_sets") / ("given" if context.predictions else "made")
    predictions, truth = _emptied(folder / "predictions"), _emptied(folder / "references")
    files = () if context.predictions is None else sorted(context.predictions.glob(f"*{dataset.label_ending}"))
    given = {stem_of(file): file for file in files}
    for case in sorted(given.keys() & references.keys()) if given else sorted(references)[:_CASES]:
        name = f"{case}{dataset.label_ending}"
        (truth / name).symlink_to(references[case])
        if given:
            (predictions / name).symlink_to(given[case])
        else:
            image = read_labels(references[case])
            write_labels(predictions / name, _disturbed(image.array[0], len(given)), image.geometry)
    names = {name: value for name, value in dataset.labels.names.items() if value}
    return _label_set("validation cases" if given else "cases with made predictions", folder, names)


def large_set(context: Context) -> LabelSet:
    """Volumes of several organs, one of them in two parts, with predictions a little beside them; kept once made."""
    folder = context.folder("label_sets") / "large"
    names = {f"organ {value}": value for value in range(1, _LARGE_LABELS + 1)}
    if not (folder / "dataset.json").exists():
        predictions, references = _emptied(folder / "predictions"), _emptied(folder / "references")
        for case in range(_LARGE_CASES):
            labels = _organs(case)
            write_labels(references / f"case_{case}.nii.gz", labels, _LARGE_GEOMETRY)
            write_labels(predictions / f"case_{case}.nii.gz", _disturbed(labels, case), _LARGE_GEOMETRY)
    return _label_set("cases of {}x{}x{}".format(*_LARGE_SHAPE), folder, names)


def profiled(work: Callable[[], Result], parts: Mapping[str, tuple[str, str]]) -> tuple[Result, dict[str, float]]:
    """Does some work and tells the seconds in each part (its file's and function's name), and in the rest.

    The parts must not call each other.
    """
    profile = Profile()
    result = profile.runcall(work)
    stats: Any = Stats(profile)
    spent = {(Path(file).name, name): row[3] for (file, _, name), row in stats.stats.items()}
    found = {part: spent.get(function, 0.0) for part, function in parts.items()}
    return result, {**found, "the rest": stats.total_tt - sum(found.values())}


def shares(seconds: Mapping[str, float]) -> str:
    """The parts in words, e.g. "reading 31 %, distances 22 %"."""
    total = sum(seconds.values())
    return ", ".join(f"{part} {100 * value / total:.0f} %" for part, value in seconds.items())


def _label_set(what: str, folder: Path, names: dict[str, int]) -> LabelSet:
    predictions, references = folder / "predictions", folder / "references"
    files = sorted(predictions.iterdir())
    pairs = [*files, *(references / file.name for file in files)]
    ending = ending_of(files[0])
    labels = {"background": 0, **names}
    described = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": len(files), "file_ending": ending}
    write_json(folder / "plans.json", {"image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager"})
    write_json(folder / "dataset.json", described)
    return LabelSet(
        name=f"{len(files)} {what}, {len(names)} labels",
        predictions=predictions,
        references=references,
        labels=names,
        dataset=folder / "dataset.json",
        plans=folder / "plans.json",
        cases=len(files),
        file_bytes=sum(file.stat().st_size for file in pairs),
        voxel_bytes=sum(read_labels(file).array.size for file in pairs),
    )


def _emptied(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


def _organs(case: int) -> np.ndarray:
    """(Z, Y, X) uint8: ellipsoids with a wavy surface in a row; the last label is a pair of them."""
    generator = np.random.default_rng((case, 0))
    labels = np.zeros(_LARGE_SHAPE, np.uint8)
    for number in range(_LARGE_LABELS + 1):
        column, row = number % 3, number // 3
        centre = np.array([0.5, 0.3 + 0.4 * row, 0.2 + 0.3 * column]) + generator.uniform(-0.02, 0.02, 3)
        radii = generator.uniform((0.15, 0.1, 0.08), (0.35, 0.17, 0.13))
        _paint(labels, min(number + 1, _LARGE_LABELS), centre, radii, waves=generator.uniform(0, 6, 3))
    return labels


def _disturbed(labels: np.ndarray, seed: int) -> np.ndarray:
    """The labels one voxel aside, with small islands of random labels: what a prediction gets wrong."""
    generator = np.random.default_rng((seed, 1))
    predicted = np.roll(labels, 1, axis=tuple(generator.choice(3, 2, replace=False)))
    values = np.unique(labels[labels > 0])
    for _ in range(_ISLANDS):
        corner = [int(generator.integers(0, max(1, side - 4))) for side in labels.shape]
        box = tuple(slice(start, start + 3) for start in corner)
        predicted[box] = generator.choice(values)
    return predicted


def _paint(labels: np.ndarray, value: int, centre: np.ndarray, radii: np.ndarray, waves: np.ndarray) -> None:
    """Sets an ellipsoid whose radius varies by a tenth over the surface; sizes are shares of the sides."""
    z, y, x = (
        ((axis / side - middle) / radius).astype(np.float32)
        for axis, side, middle, radius in zip(_axes(labels.shape), labels.shape, centre, radii, strict=True)
    )
    bend = sum(np.sin(6 * axis + phase) for axis, phase in zip((z, y, x), waves, strict=True)) / 30
    labels[z * z + y * y + x * x < 1 + bend] = value


def _axes(shape: Sequence[int]) -> Iterator[np.ndarray]:
    for axis, side in enumerate(shape):
        yield np.arange(side).reshape([-1 if i == axis else 1 for i in range(len(shape))])
