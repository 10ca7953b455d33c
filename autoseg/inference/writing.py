"""A computed case becomes files: slab by slab, each file whole or not at all, the label file last."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.inference.export import Observer, Prediction, Slab, export_labels, export_map, labels_in_space
from autoseg.inference.probabilities import ProbabilityWriter, probability_file
from autoseg.inference.rows import computed_ahead, in_memory
from autoseg.inference.uncertainty import ExpectedDice
from autoseg.postprocessing.apply import apply as postprocess
from autoseg.postprocessing.choose import Decision
from autoseg.preprocessing.previous_stage import write_previous
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.store import Store
from autoseg.preprocessing.undo import restore_labels, restore_probabilities
from autoseg.records import write_bytes

if TYPE_CHECKING:
    from jaxtyping import Float16, Float32, Int16, Integer

_NO_FRACTIONS = (".png", ".bmp", ".jpg", ".jpeg")
"""Formats that cannot hold floating-point maps, which become TIFF."""


@dataclass(frozen=True)
class Computed:
    """A case whose logits are there, or are computed as their rows are taken.

    Attributes:
        predictions: one per model.
        maps: of the networks' disagreement, (Z, Y, X) in plan space, one per model; empty if they were not asked for.
    """

    predictions: tuple[Prediction, ...]
    maps: tuple[Float32[Tensor, "_ _ _"], ...] = ()

    @property
    def properties(self) -> CaseProperties:
        """What leads from the crop to the original image, which is the same for all models."""
        return self.predictions[0][1]

    @property
    def logit_bytes(self) -> int:
        """Memory of all logits at once."""
        return sum(4 * prod(rows.shape) for rows, _ in self.predictions)

    def in_memory(self) -> Computed:
        """The same with all logits computed now."""
        return replace(self, predictions=tuple((in_memory(rows), properties) for rows, properties in self.predictions))

    def ahead(self) -> Computed:
        """The same with rows that are computed while the ones before are reduced."""
        return replace(
            self, predictions=tuple((computed_ahead(rows), properties) for rows, properties in self.predictions)
        )


@dataclass(frozen=True)
class Reduced:
    """A case reduced to what is written.

    Attributes:
        labels: training values on the crop, (Z, Y, X).
        expected: Dice to be expected, a label.
        properties: the way back to the original image.
        probabilities: (K, Z, Y, X) float16 on the crop, if they are wanted.
        kept: the probabilities that ensembles are made from, if they are wanted.
        next_labels: labels in the voxels of a cascade's next stage, if there is one.
        map: mean of the models' maps, (Z, Y, X) float32 on the original image, if it is wanted.
    """

    labels: Integer[np.ndarray, "z y x"]
    expected: dict[str, float | None]
    properties: CaseProperties
    probabilities: Float16[np.ndarray, "output z y x"] | None = None
    kept: ProbabilityWriter | None = None
    next_labels: Int16[np.ndarray, "_ _ _"] | None = None
    map: Float32[np.ndarray, "_ _ _"] | None = None


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
    """Writes the files of predicted cases; all but the label file only where they are asked for.

    Attributes:
        folder: a label file per case, `<case><ending>`.
        ending: of label files.
        scheme: meaning of the outputs.
        decision: post-processing; None leaves the labels as they are.
        save_probabilities: for users: `<case>.npz`, "probabilities" (K, Z, Y, X) float16.
        keep_probabilities: for ensembles: `probabilities/<case>.b2nd`.
        next_stage: labels for the second stage of a cascade.
    """

    folder: Path
    ending: str
    scheme: LabelScheme
    decision: Decision | None = None
    save_probabilities: bool = False
    keep_probabilities: bool = False
    next_stage: NextStage | None = None

    def reduce(self, case: str, computed: Computed) -> Reduced:
        """Takes the logits row by row and keeps what is written; expected Dice is that before post-processing."""
        scheme, properties, expected = self.scheme, computed.properties, ExpectedDice(self.scheme)
        observers: list[Observer] = []
        shape = (scheme.outputs, *properties.shape_before_resampling)
        volume = np.zeros(shape, dtype=np.float16) if self.save_probabilities else None
        if volume is not None:
            observers.append(_copied_to(volume))
        kept = ProbabilityWriter(scheme.outputs, properties) if self.keep_probabilities else None
        if kept is not None:
            observers.append(kept.add)
        next_labels = None
        if self.next_stage is not None:
            computed = computed.in_memory()  # the logits are needed twice
            ((rows, _),) = computed.predictions
            next_labels = labels_in_space(rows, self.next_stage.store.properties(case).shape, properties, scheme)
        labels = export_labels(computed.predictions, scheme, observers, expected)
        return Reduced(
            labels,
            expected.result(),
            properties,
            probabilities=volume,
            kept=kept,
            next_labels=next_labels,
            map=_mean_map(computed) if computed.maps else None,
        )

    def write(self, case: str, reduced: Reduced) -> Path:
        """Writes a case's files, the label file last; gives its path."""
        scheme, properties = self.scheme, reduced.properties
        if reduced.probabilities is not None:
            whole = restore_probabilities(reduced.probabilities, properties, regions=bool(scheme.regions))
            stream = io.BytesIO()
            np.savez_compressed(stream, probabilities=whole)
            write_bytes(self.folder / f"{case}.npz", stream.getvalue())
        if reduced.kept is not None:
            reduced.kept.save(probability_file(self.folder / "probabilities", case))
        if self.next_stage is not None and reduced.next_labels is not None:
            write_previous(self.next_stage.folder, case, reduced.next_labels, self.next_stage.patch_size)
        if reduced.map is not None:
            ending = ".tif" if self.ending in _NO_FRACTIONS else self.ending
            write_image(self.folder / f"{case}_uncertainty{ending}", Image(reduced.map[None], properties.geometry))
        path = self.folder / f"{case}{self.ending}"
        write_labels(path, on_image(reduced.labels, scheme, properties, self.decision), properties.geometry)
        return path


def on_image(
    labels: Integer[np.ndarray, "z y x"],
    scheme: LabelScheme,
    properties: CaseProperties,
    decision: Decision | None = None,
) -> Integer[np.ndarray, "_ _ _"]:
    """Training values on the crop (Z, Y, X), post-processed as decided, as file values on the original image.

    Args:
        labels: (Z, Y, X) of the crop, at the image's own spacing, axes in the plan's order.
        scheme: translates training values to file values.
        properties: what leads back to the original image.
        decision: which post-processing is done; None does none.
    """
    if decision is not None and decision.steps:
        labels = postprocess(labels, decision, scheme.training_foreground)
    return restore_labels(scheme.decode(labels), properties)


def _copied_to(volume: np.ndarray) -> Observer:
    def copy(slab: Slab) -> None:
        volume[:, slab.rows] = slab.probabilities.numpy()

    return copy


def _mean_map(computed: Computed) -> np.ndarray:
    """The mean of the models' maps, on the original image."""
    pairs = zip(computed.maps, computed.predictions, strict=True)
    mean: np.ndarray = np.mean([export_map(values, properties) for values, (_, properties) in pairs], axis=0)
    return mean
