"""A plan as a table: what is trained, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.plan.cost import multiply_adds, parameters, receptive_field
from autoseg.plan.layers import input_channels, tells_layers, topology_of
from autoseg.plan.memory import training_memory
from autoseg.plan.record import SEGMENTATION, Plan


@dataclass(frozen=True)
class PlanRow:
    """One configuration of a plan. Axes in plan order. What the network does not tell of itself is None.

    Attributes:
        name: configuration.
        network: plug-in name of the network.
        segments: whether the network labels voxels; the networks of other tasks are known to their trainers alone.
        spacing: mm per voxel.
        median_shape: voxels of the median image.
        patch_size: voxels.
        receptive_field: theoretical receptive field of the encoder, in voxels.
        batch_size: patches per step.
        stages: resolution stages.
        features_per_stage: feature maps per stage.
        parameters: trainable values.
        multiply_adds: of one optimiser step.
        memory: estimated bytes of training.
    """

    name: str
    network: str
    segments: bool
    spacing: tuple[float, ...]
    median_shape: tuple[float, ...]
    patch_size: tuple[int, ...]
    receptive_field: tuple[int, ...] | None
    batch_size: int
    stages: int | None
    features_per_stage: tuple[int, ...] | None
    parameters: int | None
    multiply_adds: int | None
    memory: int | None

    @property
    def sees_whole_patch(self) -> bool:
        """Whether the receptive field is at least as large as the patch along every axis."""
        if self.receptive_field is None:
            return True
        return all(field >= edge for field, edge in zip(self.receptive_field, self.patch_size, strict=True))


def describe(plan: Plan, *, mixed_precision: bool = True) -> tuple[PlanRow, ...]:
    """A row per configuration, in the plan's order; empty for a plan without configurations.

    Args:
        plan: the plan.
        mixed_precision: whether memory is estimated for training in mixed precision.
    """
    rows = []
    outputs = plan.labels.outputs
    segments = plan.task == SEGMENTATION
    for name, configuration in plan.configurations.items():
        drawable = segments and tells_layers(configuration.network)
        staged = not segments or topology_of(configuration.network) is not None
        channels = input_channels(configuration, len(plan.channels), plan.labels)
        rows.append(
            PlanRow(
                name=name,
                network=configuration.network,
                segments=segments,
                spacing=configuration.spacing,
                median_shape=configuration.median_shape,
                patch_size=configuration.patch_size,
                receptive_field=receptive_field(configuration) if drawable else None,
                batch_size=configuration.batch_size,
                stages=configuration.stages if staged else None,
                features_per_stage=configuration.features_per_stage if staged else None,
                parameters=parameters(configuration, channels, outputs) if drawable else None,
                multiply_adds=multiply_adds(configuration, channels, outputs) if drawable else None,
                memory=training_memory(configuration, channels, outputs, mixed_precision=mixed_precision)
                if drawable
                else None,
            )
        )
    return tuple(rows)
