"""A trained run as a function from images to labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.data.dataset import Case
from autoseg.data.files import read_case, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import AutosegError, ImageError, WorkspaceError
from autoseg.inference.export import export_labels, export_probabilities
from autoseg.inference.sliding_window import Sliding, predict_logits
from autoseg.log import progress
from autoseg.networks.build import build_network
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.postprocessing.apply import apply as postprocess
from autoseg.postprocessing.choose import Decision
from autoseg.preprocessing.prepare import preprocess_case
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.store import Store
from autoseg.records import read_mapping, unknown_name, write_bytes
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.runtime import Runtime, base_runtime, find_device
from autoseg.workspace import Run


@dataclass(frozen=True)
class Prepared:
    """An image on its way through the model."""

    data: Tensor
    properties: CaseProperties


class Predictor:
    """Segments images with the networks of a run.

    Use `Predictor.load`. The networks of all folds stay loaded; their logits are averaged.

    Attributes:
        plan: the run's plan.
        configuration_name: of the networks.
    """

    def __init__(
        self,
        plan: Plan,
        configuration_name: str,
        networks: Sequence[nn.Module],
        runtime: Runtime,
        *,
        mirroring: bool = True,
        decision: Decision | None = None,
    ) -> None:
        self.plan, self.configuration_name, self.runtime = plan, configuration_name, runtime
        self._networks, self._decision = tuple(networks), decision
        plan_of = self.configuration
        axes = plan_of.mirror_axes if mirroring else ()
        at_once = 8 if runtime.device == "cpu" else max(8, 2 * plan_of.batch_size)
        self._sliding = Sliding(plan_of.patch_size, mirror_axes=axes, batch=at_once)

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
    ) -> Predictor:
        """Loads a run's networks.

        Args:
            run: run folder.
            configuration: None takes the best one of the run's summary.
            folds: names of folds; None takes all that are trained.
            device: "auto", "cpu", "cuda", "mps"; not used if `runtime` is given.
            runtime: where and how to compute; None takes the one of the training where the device allows it.
            mirroring: average over mirror copies, as in training and validation.

        Raises:
            WorkspaceError: the run has no trained fold of that configuration.
        """
        folder = Run(Path(run))
        plan = Plan.load(folder.require(folder.plan, "autoseg plan-and-train"))
        name = configuration or _best_configuration(folder, plan)
        if name not in plan.configurations:
            raise unknown_name("configuration", name, plan.configurations, where=folder.plan)
        trained = {key: fold for key, fold in folder.folds(name).items() if fold.final.exists()}
        wanted = tuple(trained) if folds is None else tuple(folds)
        missing = [key for key in wanted if key not in trained]
        if missing or not wanted:
            raise WorkspaceError(
                f"{name} has no trained fold {', '.join(missing)}".rstrip(),
                where=run,
                got=f"trained folds: {', '.join(trained) or 'none'}",
                remedy=f"run `autoseg train {run} --configuration {name} --fold {missing[0] if missing else 0}`",
            )
        checkpoints = [load_checkpoint(trained[key].final) for key in wanted]
        if runtime is None:
            runtime = _runtime_of(checkpoints[0]["runtime"], find_device(device))
        plan_of = plan.configurations[name]
        networks = []
        for checkpoint in checkpoints:
            network = build_network(plan_of, len(plan.channels), plan.labels.outputs)
            network.load_state_dict(checkpoint["network"])
            networks.append(runtime.place(network.eval(), plan_of.dimension))
        return cls(plan, name, networks, runtime, mirroring=mirroring, decision=_decision(folder, name))

    @property
    def configuration(self) -> ConfigurationPlan:
        """The plan of the networks."""
        return self.plan.configurations[self.configuration_name]

    def predict(
        self, image: np.ndarray | Image | str | Path | Sequence[str | Path], *, spacing: Sequence[float] | None = None
    ) -> np.ndarray:
        """Segments one image.

        Args:
            image: an array (C, Z, Y, X) or (Z, Y, X) or, for 2D data, (C, 1, Y, X) or (Y, X), with `spacing`;
                an `Image`; a file; or the files of the channels in order.
            spacing: mm a voxel, (z, y, x) or (y, x); only for arrays.

        Returns:
            Labels in the data set's own values, (Z, Y, X) of the image.

        Raises:
            ImageError: channels or dimensions do not fit the model, or a file cannot be read.
        """
        if isinstance(image, np.ndarray):
            image = _image_of(image, spacing, self.plan.dimension)
        elif not isinstance(image, Image):
            files = (image,) if isinstance(image, (str, Path)) else tuple(image)
            image = read_case(Case(id="image", images=tuple(Path(file) for file in files)), len(self.plan.channels))
        prepared = self._prepare(image, "image")
        return self._postprocessed(self._labels(prepared))

    def predict_files(
        self, cases: Sequence[Case], folder: str | Path, *, save_probabilities: bool = False
    ) -> list[str]:
        """Segments cases into `folder`, one label file a case named by its identifier.

        A case that cannot be read or does not fit is left out and the others go on. Reading, prediction and
        writing overlap.

        Returns:
            A message for each case that failed.
        """

        def read(case: Case) -> Prepared:
            return self._prepare(read_case(case, len(self.plan.channels)), case.id)

        return self._stream(cases, read, Path(folder), postprocessed=True, save_probabilities=save_probabilities)[1]

    def predict_stored(self, store: Store, cases: Sequence[Case], folder: str | Path) -> dict[str, Path]:
        """Segments preprocessed cases (the validation of a fold), without post-processing.

        Returns:
            Identifier -> prediction's file.
        """

        def read(case: Case) -> Prepared:
            return Prepared(torch.from_numpy(store.read(case.id)[0]), store.properties(case.id))

        files, failures = self._stream(cases, read, Path(folder), postprocessed=False, save_probabilities=False)
        if failures:
            raise ImageError("validation cases could not be predicted", got="; ".join(failures))
        return files

    def _stream(
        self,
        cases: Sequence[Case],
        read: Callable[[Case], Prepared],
        folder: Path,
        *,
        postprocessed: bool,
        save_probabilities: bool,
    ) -> tuple[dict[str, Path], list[str]]:
        """Reads one case ahead, predicts, and writes behind."""
        files: dict[str, Path] = {}
        failures: list[str] = []
        writing: list[tuple[str, Future[Path]]] = []

        def settle(most: int) -> None:
            while len(writing) > most:
                case_id, future = writing.pop(0)
                try:
                    files[case_id] = future.result()
                except AutosegError as error:
                    failures.append(_failure(case_id, error))

        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(2) as writer:
            ahead = reader.submit(read, cases[0]) if cases else None
            for i, case in progress(enumerate(cases), f"predict {self.configuration_name}", len(cases)):
                current, ahead = ahead, reader.submit(read, cases[i + 1]) if i + 1 < len(cases) else None
                assert current is not None
                try:
                    prepared = current.result()
                except AutosegError as error:
                    failures.append(_failure(case.id, error))
                    continue
                logits = self._logits(prepared)
                job = (case.id, logits, prepared.properties, folder, postprocessed, save_probabilities)
                writing.append((case.id, writer.submit(self._write, *job)))
                settle(2)
            settle(0)
        return files, failures

    def _prepare(self, image: Image, case: str) -> Prepared:
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
        case_in_plan = preprocess_case(image, None, self.plan, self.configuration)
        return Prepared(torch.from_numpy(case_in_plan.data), case_in_plan.properties)

    def _logits(self, prepared: Prepared) -> Tensor:
        return predict_logits(self._networks, prepared.data, self.plan.labels.outputs, self._sliding, self.runtime)

    def _labels(self, prepared: Prepared) -> np.ndarray:
        return export_labels(self._logits(prepared), prepared.properties, self.plan.labels)

    def _postprocessed(self, labels: np.ndarray) -> np.ndarray:
        if self._decision is None or not self._decision.steps:
            return labels
        scheme = self.plan.labels
        return scheme.decode(postprocess(scheme.encode(labels), self._decision, scheme.training_foreground))

    def _write(
        self,
        case: str,
        logits: Tensor,
        properties: CaseProperties,
        folder: Path,
        postprocessed: bool,
        save_probabilities: bool,
    ) -> Path:
        labels = export_labels(logits, properties, self.plan.labels)
        if postprocessed:
            labels = self._postprocessed(labels)
        path = folder / f"{case}{self.plan.file_ending}"
        write_labels(path, labels, properties.geometry)
        if save_probabilities:
            import io

            stream = io.BytesIO()
            np.savez_compressed(stream, probabilities=export_probabilities(logits, properties, self.plan.labels))
            write_bytes(folder / f"{case}.npz", stream.getvalue())
        return path


def _failure(case: str, error: AutosegError) -> str:
    """The error's message, with the case named once."""
    return str(error) if error.where == case else f"{case}: {error}"


def _best_configuration(run: Run, plan: Plan) -> str:
    """The configuration chosen by cross-validation, else the only trained one."""
    if run.summary.exists():
        chosen = read_mapping(run.summary).get("best", {}).get("configurations")
        if chosen:
            return str(chosen[0])
    trained = [name for name in plan.configurations if any(fold.final.exists() for fold in run.folds(name).values())]
    if len(trained) == 1:
        return trained[0]
    raise WorkspaceError(
        "the run has not chosen a configuration yet" if trained else "the run has no trained model",
        where=run.root,
        got=f"trained: {', '.join(trained) or 'none'}",
        remedy="name one with --configuration" if trained else "run `autoseg plan-and-train` first",
    )


def _decision(run: Run, configuration: str) -> Decision | None:
    """The run's post-processing, if it was chosen for this configuration."""
    if not run.postprocessing.exists():
        return None
    content = read_mapping(run.postprocessing)
    if content.pop("configuration", configuration) != configuration:
        return None
    return Decision.from_mapping(content, where=run.postprocessing)


def _runtime_of(trained: dict, device: str) -> Runtime:
    """The training's own precision and layout if the device is of the same kind."""
    base, known = base_runtime(device), Runtime.model_validate(trained)
    if known.device.partition(":")[0] != base.device.partition(":")[0]:
        return base.with_(compiled=False)
    return base.with_(precision=known.precision, layout=known.layout, compiled=False)


def _image_of(array: np.ndarray, spacing: Sequence[float] | None, dimension: int) -> Image:
    if spacing is None:
        raise ImageError("an array needs its spacing", expected="spacing=(z, y, x) in mm", remedy="give `spacing`")
    if dimension == 2:
        plane = array.reshape((-1, 1, *array.shape[-2:]))
        return Image(plane, Geometry.plane((float(spacing[-2]), float(spacing[-1]))))
    z, y, x = (float(value) for value in spacing)
    return Image(array if array.ndim == 4 else array[None], Geometry(spacing=(z, y, x)))
