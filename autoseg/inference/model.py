"""One configuration's networks as a function from a preprocessed image to logits in plan space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from autoseg.data.image import Image
from autoseg.errors import WorkspaceError
from autoseg.inference.export import labels_in_space
from autoseg.inference.rows import StreamedLogits
from autoseg.inference.sliding_window import Sliding, slide
from autoseg.inference.uncertainty import disagreement
from autoseg.networks.build import build_network
from autoseg.plan.layers import input_channels, topology_of
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.preprocessing.prepare import preprocess_case
from autoseg.preprocessing.previous_stage import previous_stage_channels
from autoseg.preprocessing.record import CaseProperties
from autoseg.records import unknown_name
from autoseg.run_state import fold_state
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.choices import chosen_configuration
from autoseg.training.config import TrainingConfig
from autoseg.training.runtime import Runtime, base_runtime, find_device
from autoseg.workspace import ALL_DATA, Fold, Run

if TYPE_CHECKING:
    from jaxtyping import Float32

_KEPT_BYTES = 2**25
"""Arrays up to this size are used again by the C library's allocator (glibc's limit); larger ones it fetches from the
system and gives back each time, and fetching takes as long as some of the arithmetic done in them."""


@dataclass(frozen=True)
class Prepared:
    """An image on its way through a model.

    Attributes:
        data: (C, Z, Y, X) float32 in plan space.
        properties: the way back.
        previous: the same image for the first stage of a cascade, whose labels become further channels of `data`;
            None where `data` is complete.
    """

    data: Float32[Tensor, "channel z y x"]
    properties: CaseProperties
    previous: Prepared | None = None


@dataclass(frozen=True)
class Model:
    """The networks of one configuration, one per fold; their logits are averaged.

    Attributes:
        plan: of the run.
        name: of the configuration.
        folds: names of the networks' folds.
        networks: on the runtime's device, in evaluation mode.
        sliding: how they are slid over an image.
        runtime: where and how they compute.
        previous: first stage of a cascade; None otherwise, or where its labels are handed in.
    """

    plan: Plan
    name: str
    folds: tuple[str, ...]
    networks: tuple[nn.Module, ...]
    sliding: Sliding
    runtime: Runtime
    previous: Model | None = None

    @classmethod
    def load(
        cls,
        run: Run,
        name: str,
        folds: Sequence[str] | None = None,
        *,
        device: str = "auto",
        runtime: Runtime | None = None,
        mirroring: bool = True,
        skip_empty: bool = False,
        previous: bool = True,
    ) -> Model:
        """Loads the final weights of a configuration's folds.

        Args:
            run: run folder with a plan.
            name: of the configuration.
            folds: None takes all numbered folds that are trained, and without any the model of all data.
            device: where to compute; not used if `runtime` is given.
            runtime: None takes the one of the training where the device allows it.
            mirroring: average over the flips that all networks were trained with.
            skip_empty: leave out tiles of one value (see `Sliding`).
            previous: load a cascade's first stage as well, of the same folds where they are trained.

        Raises:
            ConfigurationError: the plan lacks the configuration.
            WorkspaceError: a fold is not trained, or a checkpoint cannot be read.
        """
        plan = Plan.load(run.require(run.plan, "autoseg plan-and-train"))
        if name not in plan.configurations:
            raise unknown_name("configuration", name, plan.configurations, where=run.plan)
        configuration = plan.configurations[name]
        chosen = _chosen_folds(run, name, folds)
        checkpoints = [load_checkpoint(fold.final) for fold in chosen.values()]
        if runtime is None:
            runtime = runtime_of(checkpoints[0]["runtime"], find_device(device))
        axes = common_mirror_axes(plan, name, [one.get("config", {}) for one in checkpoints]) if mirroring else ()
        before = None
        if previous and configuration.previous_stage is not None:
            options: dict[str, Any] = {"runtime": runtime, "mirroring": mirroring, "skip_empty": skip_empty}
            own = _same_folds(run, configuration.previous_stage, tuple(chosen))
            before = cls.load(run, configuration.previous_stage, own, **options)
        return cls(
            plan=plan,
            name=name,
            folds=tuple(chosen),
            networks=tuple(_loaded(plan, configuration, checkpoint, runtime) for checkpoint in checkpoints),
            sliding=Sliding(
                configuration.patch_size,
                mirror_axes=axes,
                batch=_copies_at_once(configuration, runtime.device),
                skip_empty=skip_empty,
                regions=bool(plan.labels.regions),
            ),
            runtime=runtime,
            previous=before,
        )

    @property
    def configuration(self) -> ConfigurationPlan:
        """The plan of the networks."""
        return self.plan.configurations[self.name]

    def prepare(self, image: Image, prepared: dict[object, Prepared] | None = None) -> Prepared:
        """Preprocesses an image.

        Args:
            image: with the plan's channels.
            prepared: what was made of this image for other models; what serves here as well is taken from it, and
                what is new is added.

        Raises:
            ImageError: channels do not fit, or a normalisation refuses the intensities.
        """
        prepared = {} if prepared is None else prepared
        configuration = self.configuration
        layout = (configuration.spacing, configuration.normalization, configuration.use_mask_for_norm)
        if layout not in prepared:
            case = preprocess_case(image, None, self.plan, configuration)
            prepared[layout] = Prepared(torch.from_numpy(case.data), case.properties)
        own = prepared[layout]
        return (
            own if self.previous is None else Prepared(own.data, own.properties, self.previous.prepare(image, prepared))
        )

    def logits(self, prepared: Prepared) -> StreamedLogits:
        """Logits in plan space, on the CPU; they are computed as their rows are taken."""
        outputs = self.plan.labels.outputs
        return slide(self.networks, self._input(prepared), outputs, self.sliding, self.runtime)

    def logits_and_map(self, prepared: Prepared) -> tuple[Float32[Tensor, "output z y x"], Float32[Tensor, "z y x"]]:
        """Logits, and the map (Z, Y, X) of the networks' disagreement in nats (see `uncertainty.disagreement`)."""
        labels = self.plan.labels
        return disagreement(
            self.networks, self._input(prepared), labels.outputs, self.sliding, self.runtime,
            regions=bool(labels.regions),
        )  # fmt: skip

    def _input(self, prepared: Prepared) -> Tensor:
        """The image, in a cascade with the labels that the first stage predicts now."""
        if self.previous is None or prepared.previous is None:
            return prepared.data
        before, scheme = prepared.previous, self.plan.labels
        labels = labels_in_space(self.previous.logits(before), prepared.data.shape[1:], before.properties, scheme)
        return torch.cat([prepared.data, torch.from_numpy(previous_stage_channels(labels, scheme))])


def _loaded(plan: Plan, configuration: ConfigurationPlan, checkpoint: Mapping[str, Any], runtime: Runtime) -> nn.Module:
    """A checkpoint's network, ready to predict.

    Args:
        plan: of the run.
        configuration: of the network.
        checkpoint: with its weights.
        runtime: where it computes.
    """
    channels = input_channels(configuration, len(plan.channels), plan.labels)
    network = build_network(configuration, channels, plan.labels.outputs)
    network.load_state_dict(checkpoint["network"])
    return runtime.place(network.eval(), configuration.dimension)


def trained_folds(run: Run, name: str) -> dict[str, Fold]:
    """Folds of a configuration that have final weights, by name."""
    return {key: fold for key, fold in run.folds(name).items() if fold_state(fold).has_model}


def usual_folds(run: Run, name: str) -> tuple[str, ...]:
    """The trained folds to predict with if none are named: the numbered ones, else the model of all data."""
    trained = tuple(trained_folds(run, name))
    return tuple(key for key in trained if key != ALL_DATA) or trained


def runtime_of(trained: Mapping[str, Any], device: str) -> Runtime:
    """The training's own precision and layout if the device is of the same kind.

    Args:
        trained: a checkpoint's "runtime".
        device: where to compute.
    """
    base, training_runtime = base_runtime(device), Runtime.model_validate(trained)
    if training_runtime.device.partition(":")[0] != base.device.partition(":")[0]:
        return base.with_(compiled=False)
    return base.with_(precision=training_runtime.precision, layout=training_runtime.layout, compiled=False)


def _copies_at_once(configuration: ConfigurationPlan, device: str) -> int:
    """Tiles and mirror copies that go through a network together, at most.

    A GPU wants many; what it holds is found out when it is used. A CPU computes a few just as fast as many, as long
    as the widest features (the skip connection joined to what comes from below) stay in memory that the process keeps.
    One copy alone is as slow as two: PyTorch does not give small images without batch to oneDNN.
    """
    if torch.device(device).type != "cpu":
        return max(8, 2 * configuration.batch_size)
    if topology_of(configuration.network) is None:
        return 2  # how wide its features are is not known
    widest = 2 * configuration.features_per_stage[0] * prod(configuration.patch_size) * 4
    return min(8, max(2, _KEPT_BYTES // widest))


def _chosen_folds(run: Run, name: str, folds: Sequence[str] | None) -> dict[str, Fold]:
    trained = trained_folds(run, name)
    names = usual_folds(run, name) if folds is None else tuple(folds)
    missing = [key for key in names if key not in trained]
    if missing or not names:
        fold = missing[0] if missing else "0"
        raise WorkspaceError(
            f"{name} has no trained fold {', '.join(missing)}".rstrip(),
            where=run.root,
            got=f"trained folds: {', '.join(trained) or 'none'}",
            remedy=f"run `autoseg train {run.root} --configuration {name} --fold {fold}`",
        )
    return {key: trained[key] for key in names}


def _same_folds(run: Run, name: str, folds: tuple[str, ...]) -> tuple[str, ...] | None:
    """The first stage's folds for the second's: the same, or all where these are not trained.

    A model of all data learns from the first stage's predictions of every fold, so that the first stage has no fold of
    all data.
    """
    trained = trained_folds(run, name)
    return folds if all(key in trained for key in folds) else None


def common_mirror_axes(plan: Plan, name: str, configs: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """The flips that every network was trained with: others would show it images of a kind it never saw.

    Args:
        name: of the networks' configuration.
        configs: the "config" of each network's checkpoint.

    Returns:
        Axes of the patch.
    """
    trained = [
        chosen_configuration(plan, name, TrainingConfig(mirror_axes=config.get("mirror_axes"))).mirror_axes
        for config in configs
    ]
    return tuple(axis for axis in trained[0] if all(axis in axes for axes in trained))
