"""A plan as a table: what is trained, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.plan.cost import multiply_adds, parameters, receptive_field
from autoseg.plan.layers import input_channels
from autoseg.plan.memory import training_memory
from autoseg.plan.record import SEGMENTATION, Plan


@dataclass(frozen=True)
class Row:
    """One configuration of a plan. Axes in plan order. What only the network's own trainer knows is None.

    Attributes:
        name: configuration.
        network: plug-in name of the network.
        spacing: mm a voxel.
        median_shape: voxels of the median image.
        patch_size: voxels.
        receptive_field: theoretical receptive field of the encoder, in voxels.
        batch_size: patches a step.
        stages: resolution stages.
        features_per_stage: feature maps a stage.
        parameters: trainable values.
        multiply_adds: of one optimiser step.
        memory: estimated bytes of training.
    """

    name: str
    network: str
    spacing: tuple[float, ...]
    median_shape: tuple[float, ...]
    patch_size: tuple[int, ...]
    receptive_field: tuple[int, ...] | None
    batch_size: int
    stages: int
    features_per_stage: tuple[int, ...]
    parameters: int | None
    multiply_adds: int | None
    memory: int | None

    @property
    def sees_whole_patch(self) -> bool:
        """Whether the receptive field is at least as large as the patch along every axis."""
        if self.receptive_field is None:
            return True
        return all(field >= edge for field, edge in zip(self.receptive_field, self.patch_size, strict=True))


def describe(plan: Plan, *, mixed_precision: bool = True) -> tuple[Row, ...]:
    """A row a configuration, in the plan's order; empty for a plan without configurations.

    Args:
        plan: the plan.
        mixed_precision: whether memory is estimated for training in mixed precision.

    Raises:
        PlanError: a configuration names a network whose layers are not known.
    """
    rows = []
    outputs = plan.labels.outputs
    known = plan.task == SEGMENTATION
    for name, configuration in plan.configurations.items():
        channels = input_channels(configuration, len(plan.channels), plan.labels)
        rows.append(
            Row(
                name=name,
                network=configuration.network,
                spacing=configuration.spacing,
                median_shape=configuration.median_shape,
                patch_size=configuration.patch_size,
                receptive_field=receptive_field(configuration) if known else None,
                batch_size=configuration.batch_size,
                stages=configuration.stages,
                features_per_stage=configuration.features_per_stage,
                parameters=parameters(configuration, channels, outputs) if known else None,
                multiply_adds=multiply_adds(configuration, channels, outputs) if known else None,
                memory=training_memory(configuration, channels, outputs, mixed_precision=mixed_precision)
                if known
                else None,
            )
        )
    return tuple(rows)
