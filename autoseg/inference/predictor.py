"""A trained run as a function from images to labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from autoseg.allocation import freed_memory_kept
from autoseg.data.dataset import Case
from autoseg.data.files import read_case
from autoseg.data.image import Geometry, Image
from autoseg.data.image_problems import ImageGate
from autoseg.errors import ImageError
from autoseg.inference.estimate import CaseEstimate, Reliability, calibrated, reliability_of
from autoseg.inference.export import Prediction, export_labels
from autoseg.inference.formats import model_folder
from autoseg.inference.model import Model, Prepared
from autoseg.inference.rows import WholeLogits
from autoseg.inference.selection import chosen_configurations, chosen_postprocessing
from autoseg.inference.stream import stream
from autoseg.inference.writing import CaseWriter, Computed, NextStage, Reduced, on_image
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.postprocessing.choose import Decision
from autoseg.preprocessing.previous_stage import previous_stage_channels
from autoseg.preprocessing.store import Store
from autoseg.records import write_json
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run

if TYPE_CHECKING:
    from jaxtyping import Integer, Real

_SMALL = 2**28
"""Bytes of a case's logits up to which they are held as a whole."""


@dataclass(frozen=True)
class Predicted:
    """What came of the prediction of some cases.

    Attributes:
        files: identifier -> label file.
        failures: a message for each case that failed.
        estimates: identifier -> how good the prediction is expected to be.
    """

    files: dict[str, Path]
    failures: list[str]
    estimates: dict[str, CaseEstimate]


class Predictor:
    """Segments images with the networks of a run: one configuration's, or the ensemble of several.

    Use `Predictor.load`. The networks stay loaded. Those of a configuration's folds average their logits,
    configurations average their probabilities on the original voxels, as in nnU-Net.

    Attributes:
        models: one per configuration.
        plan: the run's plan.
        runtime: of the first model.
        reliability: what validation showed about expected Dice; None if that is not known for this model.
    """

    def __init__(
        self, models: Sequence[Model], *, decision: Decision | None = None, reliability: Reliability | None = None
    ) -> None:
        self.models = tuple(models)
        self.plan: Plan = self.models[0].plan
        self.runtime: Runtime = self.models[0].runtime
        self.reliability = reliability
        self._decision = decision

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        configuration: str | None = None,
        folds: Sequence[str] | None = None,
        device: str = "auto",
        runtime: Runtime | None = None,
        mirroring: bool = True,
        skip_empty: bool = False,
        previous: bool = True,
    ) -> Predictor:
        """Loads a run's networks.

        Args:
            run: run folder, or a file in a model format that can be read, such as a zip of `autoseg export`.
            configuration: a name, or names joined by "+" for their ensemble; None takes the best of the run.
            folds: names of folds; None takes all numbered ones that are trained, else the model of all data ("all").
            device: "auto", "cpu", "cuda", "mps"; not used if `runtime` is given.
            runtime: where and how to compute; None takes the one of the training where the device allows it.
            mirroring: average over mirror copies, as in training and validation.
            skip_empty: leave out tiles in which each channel has one value only, such as the air around a patient;
                what no other tile reaches is background.
            previous: load a cascade's first stage as well; without, its labels are handed to `predict_stored`.

        Raises:
            ConfigurationError: the run has no such configuration.
            WorkspaceError: the run has no trained fold of that configuration, or the file is damaged or no model.
        """
        folder = Run(model_folder(Path(run)))
        plan = Plan.load(folder.require(folder.plan, "autoseg plan-and-train"))
        names = chosen_configurations(folder, plan, configuration)
        options: dict[str, Any] = {"device": device, "runtime": runtime, "previous": previous}
        models = [
            Model.load(folder, name, folds, mirroring=mirroring, skip_empty=skip_empty, **options) for name in names
        ]
        return cls(models, decision=chosen_postprocessing(folder, names), reliability=reliability_of(folder, names))

    @property
    def configurations(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(model.name for model in self.models)

    @property
    def configuration_name(self) -> str:
        """Names of the models, joined by "+"."""
        return "+".join(self.configurations)

    @property
    def configuration(self) -> ConfigurationPlan:
        """The plan of the (first) model's networks."""
        return self.models[0].configuration

    def predict(
        self,
        image: Real[np.ndarray, " ..."] | Image | str | Path | Sequence[str | Path],
        *,
        spacing: Sequence[float] | None = None,
    ) -> Integer[np.ndarray, "z y x"]:
        """Segments one image.

        Args:
            image: an array (C, Z, Y, X) or (Z, Y, X) or, for 2D data, (C, 1, Y, X) or (Y, X), with `spacing`;
                an `Image`; a file; or the files of the channels in order.
            spacing: mm per voxel, (z, y, x) or (y, x); only for arrays.

        Returns:
            Labels in the data set's own values, (Z, Y, X) of the image.

        Raises:
            ImageError: channels or dimensions do not fit the model, values are not finite, or a file cannot be read.
        """
        files: tuple[str | Path, ...] = ("image",)
        if isinstance(image, np.ndarray):
            image = _image_of(image, spacing, self.plan.dimension)
        elif not isinstance(image, Image):
            files = (image,) if isinstance(image, (str, Path)) else tuple(image)
            image = read_case(Case(id="image", images=tuple(Path(file) for file in files)), len(self.plan.channels))
        gate = ImageGate(self.plan.channels)
        image = gate.admit(image, tuple(Path(file) for file in files))
        computed = _bounded(self._compute(self._prepare(image, "image")))
        labels = export_labels(computed.predictions, self.plan.labels)
        return on_image(labels, self.plan.labels, computed.properties, self._decision)

    def predict_files(
        self, cases: Sequence[Case], folder: str | Path, *, save_probabilities: bool = False, uncertainty: bool = False
    ) -> Predicted:
        """Segments cases into `folder`, one label file per case named by its identifier.

        A case that cannot be read, does not fit or holds values that are not finite is left out and the others go on;
        what is odd about an image is logged. Reading, prediction and
        writing overlap. A case's label file is written last, and whole or not at all.

        Args:
            save_probabilities: write `<case>.npz` as well, "probabilities" (K, Z, Y, X) float16.
            uncertainty: write `<case>_uncertainty<ending>` as well: where the networks contradict each other (nats,
                float32; for an ensemble the mean over its configurations).
        """
        plan = self.plan
        gate = ImageGate(plan.channels)
        writer = CaseWriter(Path(folder), plan.file_ending, plan.labels, self._decision, save_probabilities)

        def read(case: Case) -> tuple[Prepared, ...]:
            image = gate.admit(read_case(case, len(plan.channels)), case.images)
            return self._prepare(image, case.id)

        title = f"predict {self.configuration_name}"
        written, failures = self._stream(cases, title, read, writer, uncertainty=uncertainty)
        gate.conclude()
        return Predicted(
            files={case: path for case, (path, _) in written.items()},
            failures=failures,
            estimates={case: calibrated(self.reliability, expected) for case, (_, expected) in written.items()},
        )

    def predict_stored(
        self,
        store: Store,
        cases: Sequence[Case],
        folder: str | Path,
        *,
        previous: Callable[[str], np.ndarray] | None = None,
        keep_probabilities: bool = False,
        next_stage: NextStage | None = None,
    ) -> dict[str, Path]:
        """Segments preprocessed cases (the validation of a fold), without post-processing.

        Writes a label file per case, `expected_dice.json` (case -> label -> value) and, if asked, the probabilities
        (`probabilities/<case>.b2nd`), into the folder.

        Args:
            store: the configuration's preprocessed cases.
            folder: a fold's validation folder.
            previous: for a cascade's second stage: identifier -> labels (Z, Y, X) of the first, training values in the
                voxels of `store`.
            keep_probabilities: write what ensembles are made from.
            next_stage: for a cascade's first stage: where its labels for the second go.

        Returns:
            Identifier -> prediction's file.

        Raises:
            ImageError: a case could not be predicted.
        """
        (model,) = self.models
        out, scheme = Path(folder), self.plan.labels
        writer = CaseWriter(
            out, self.plan.file_ending, scheme, keep_probabilities=keep_probabilities, next_stage=next_stage
        )

        def read(case: Case) -> tuple[Prepared, ...]:
            data = torch.from_numpy(store.read(case.id)[0])
            if previous is not None:
                channels = previous_stage_channels(previous(case.id), scheme)
                data = torch.cat([data, torch.from_numpy(channels)])
            return (Prepared(data, store.properties(case.id)),)

        written, failures = self._stream(cases, f"predict {model.name}", read, writer)
        if failures:
            raise ImageError("validation cases could not be predicted", got="; ".join(failures))
        write_json(out / "expected_dice.json", {case: expected for case, (_, expected) in written.items()})
        return {case: path for case, (path, _) in written.items()}

    def _stream(
        self,
        cases: Sequence[Case],
        title: str,
        read: Callable[[Case], tuple[Prepared, ...]],
        writer: CaseWriter,
        *,
        uncertainty: bool = False,
    ) -> tuple[dict[str, tuple[Path, dict[str, float | None]]], list[str]]:
        """Reads, predicts and writes cases, each while others are at the next step.

        Args:
            cases: in their order.
            title: of the progress.
            read: prepares a case for the models.
            writer: of its files.
            uncertainty: compute the maps of disagreement.

        Returns:
            Identifier -> label file and Dice to be expected of each label, and a message for each case that failed.
        """

        def compute(case: Case, prepared: tuple[Prepared, ...]) -> Computed | Reduced:
            return _in_bounds(writer, case, self._compute(prepared, uncertainty=uncertainty))

        def write(case: Case, done: Computed | Reduced) -> tuple[Path, dict[str, float | None]]:
            reduced = done if isinstance(done, Reduced) else writer.reduce(case.id, done)
            return writer.write(case.id, reduced), reduced.expected

        with freed_memory_kept(self.runtime.device):
            return stream(cases, title, read=read, compute=compute, write=write)

    def _prepare(self, image: Image, case: str) -> tuple[Prepared, ...]:
        """The image as each model needs it."""
        expected = len(self.plan.channels)
        if image.array.shape[0] != expected:
            raise ImageError(
                "the number of channels does not fit the model",
                where=case,
                got=image.array.shape[0],
                expected=f"{expected} ({', '.join(self.plan.channels)})",
                remedy="give the channels in this order, as x_0000, x_0001, ... or in one file",
            )
        if image.geometry.dimension != self.plan.dimension:
            raise ImageError(
                "the image's dimensionality does not fit the model",
                where=case,
                got=f"{image.geometry.dimension}D",
                expected=f"{self.plan.dimension}D",
            )
        prepared: dict[object, Prepared] = {}
        return tuple(model.prepare(image, prepared) for model in self.models)

    def _compute(self, prepared: Sequence[Prepared], *, uncertainty: bool = False) -> Computed:
        predictions: list[Prediction] = []
        maps: list[Tensor] = []
        for model, case in zip(self.models, prepared, strict=True):
            if uncertainty:
                logits, disagreement = model.logits_and_map(case)
                maps.append(disagreement)
                predictions.append((WholeLogits(logits), case.properties))
            else:
                predictions.append((model.logits(case), case.properties))
        return Computed(tuple(predictions), tuple(maps))


def _in_bounds(writer: CaseWriter, case: Case, computed: Computed) -> Computed | Reduced:
    """Small logits as a whole, which are reduced while the next case is computed; large ones reduced as they come."""
    bounded = _bounded(computed)
    return bounded if bounded.logit_bytes <= _SMALL else writer.reduce(case.id, bounded)


def _bounded(computed: Computed) -> Computed:
    """Small logits as a whole; large ones computed ahead of their reduction."""
    return computed.in_memory() if computed.logit_bytes <= _SMALL else computed.ahead()


def _image_of(array: np.ndarray, spacing: Sequence[float] | None, dimension: int) -> Image:
    if spacing is None:
        raise ImageError("an array needs its spacing", expected="spacing=(z, y, x) in mm", remedy="give `spacing`")
    if dimension == 2:
        plane = array.reshape((-1, 1, *array.shape[-2:]))
        return Image(plane, Geometry.plane((float(spacing[-2]), float(spacing[-1]))))
    z, y, x = (float(value) for value in spacing)
    return Image(array if array.ndim == 4 else array[None], Geometry(spacing=(z, y, x)))
