"""A computed case becomes files: slab by slab, each file whole or not at all, the label file last."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.inference.export import Observer, Prediction, Slab, export_labels, export_map, labels_in_space
from autoseg.inference.probabilities import ProbabilityWriter, probability_file
from autoseg.inference.uncertainty import ExpectedDice
from autoseg.postprocessing.apply import apply as postprocess
from autoseg.postprocessing.choose import Decision
from autoseg.preprocessing.previous_stage import write_previous
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.store import Store
from autoseg.preprocessing.undo import restore_labels, restore_probabilities
from autoseg.records import write_bytes

_NO_FRACTIONS = (".png", ".bmp", ".jpg", ".jpeg")
"""Formats that cannot hold floating-point maps, which become TIFF."""


@dataclass(frozen=True)
class Computed:
    """A case on its way to its files.

    Attributes:
        predictions: one a model.
        maps: of the networks' disagreement, (Z, Y, X) in plan space, one a model; empty if they were not asked for.
    """

    predictions: tuple[Prediction, ...]
    maps: tuple[Tensor, ...] = ()

    @property
    def properties(self) -> CaseProperties:
        """What leads from the crop to the original image, which is the same for all models."""
        return self.predictions[0][1]


@dataclass(frozen=True)
class NextStage:
    """Where predictions for a cascade's second stage go.

    Attributes:
        store: its preprocessed cases, whose voxels the labels get.
        folder: a `<case>.b2nd` each (see `preprocessing.previous_stage`).
        patch_size: of the second stage, for the layout of the files.
    """

    store: Store
    folder: Path
    patch_size: tuple[int, ...]


@dataclass(frozen=True)
class CaseWriter:
    """Writes the files of new images.

    Attributes:
        folder: a label file a case, `<case><ending>`.
        ending: of label files.
        scheme: meaning of the outputs.
        decision: post-processing; None leaves the labels as they are.
        save_probabilities: `<case>.npz` as well, "probabilities" (K, Z, Y, X) float16.
    """

    folder: Path
    ending: str
    scheme: LabelScheme
    decision: Decision | None = None
    save_probabilities: bool = False

    def write(self, case: str, computed: Computed) -> tuple[Path, dict[str, float | None]]:
        """Writes a case; gives its label file and its expected Dice, which is that before post-processing."""
        scheme, properties, expected = self.scheme, computed.properties, ExpectedDice(self.scheme)
        observers: list[Observer] = [_added_to(expected)]
        shape = (scheme.outputs, *properties.shape_before_resampling)
        volume = np.zeros(shape, dtype=np.float16) if self.save_probabilities else None
        if volume is not None:
            observers.append(_copied_to(volume))
        labels = export_labels(computed.predictions, scheme, observers)
        if volume is not None:
            whole = restore_probabilities(volume, properties, regions=bool(scheme.regions))
            stream = io.BytesIO()
            np.savez_compressed(stream, probabilities=whole)
            write_bytes(self.folder / f"{case}.npz", stream.getvalue())
        if computed.maps:
            self._write_map(case, computed)
        path = self.folder / f"{case}{self.ending}"
        write_labels(path, on_image(labels, scheme, properties, self.decision), properties.geometry)
        return path, expected.result()

    def _write_map(self, case: str, computed: Computed) -> None:
        """The mean of the models' maps, on the original image."""
        pairs = zip(computed.maps, computed.predictions, strict=True)
        mean = np.mean([export_map(values, one) for values, (_, one) in pairs], axis=0)
        ending = ".tif" if self.ending in _NO_FRACTIONS else self.ending
        write_image(self.folder / f"{case}_uncertainty{ending}", Image(mean[None], computed.properties.geometry))


@dataclass(frozen=True)
class ValidationWriter:
    """Writes the files of a fold's validation, without post-processing.

    Attributes:
        folder: the fold's validation folder: a label file a case.
        ending: of label files.
        scheme: meaning of the outputs.
        keep_probabilities: `probabilities/<case>.b2nd` as well.
        next_stage: labels for it as well.
    """

    folder: Path
    ending: str
    scheme: LabelScheme
    keep_probabilities: bool = False
    next_stage: NextStage | None = None

    def write(self, case: str, computed: Computed) -> tuple[Path, dict[str, float | None]]:
        """Writes a case; gives its label file and its expected Dice."""
        scheme, properties, expected = self.scheme, computed.properties, ExpectedDice(self.scheme)
        observers: list[Observer] = [_added_to(expected)]
        kept = ProbabilityWriter(scheme.outputs, properties) if self.keep_probabilities else None
        if kept is not None:
            observers.append(kept.add)
        labels = export_labels(computed.predictions, scheme, observers)
        if kept is not None:
            kept.save(probability_file(self.folder / "probabilities", case))
        if self.next_stage is not None:
            target, ((logits, _),) = self.next_stage, computed.predictions
            there = labels_in_space(logits, target.store.properties(case).shape, properties, scheme)
            write_previous(target.folder, case, there, target.patch_size)
        path = self.folder / f"{case}{self.ending}"
        write_labels(path, on_image(labels, scheme, properties), properties.geometry)
        return path, expected.result()


def on_image(
    labels: np.ndarray, scheme: LabelScheme, properties: CaseProperties, decision: Decision | None = None
) -> np.ndarray:
    """Training values on the crop (Z, Y, X), post-processed as decided, as file values on the original image."""
    if decision is not None and decision.steps:
        labels = postprocess(labels, decision, scheme.training_foreground)
    return restore_labels(scheme.decode(labels), properties)


def _added_to(expected: ExpectedDice) -> Observer:
    return lambda slab: expected.add(slab.probabilities, slab.labels)


def _copied_to(volume: np.ndarray) -> Observer:
    def copy(slab: Slab) -> None:
        volume[:, slab.rows] = slab.probabilities.numpy()

    return copy
