"""A run with random weights, for machines that have no trained model."""

from __future__ import annotations

from pathlib import Path

from autoseg.networks.build import build_network
from autoseg.plan.layers import input_channels
from autoseg.plan.record import Plan
from autoseg.training.checkpoint import save_checkpoint
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run
from benchmarks.peer.context import Context
from benchmarks.peer.layout import prepared_ours

MOST_FEATURES = 128
"""Of a stage: random weights need not be as many as a training's."""


def random_run(context: Context, out: Path) -> Path:
    """A run folder with the plan of the context's data set, narrowed, and one fold of random weights.

    Args:
        out: folder to make.
    """
    planned = Plan.load(Run(prepared_ours(context)).plan)
    name = "3d_fullres" if "3d_fullres" in planned.configurations else "2d"
    configuration = planned.configurations[name]
    features = tuple(min(MOST_FEATURES, width // 2) for width in configuration.features_per_stage)
    plan = planned.with_(configurations={name: configuration.with_(features_per_stage=features)})
    run = Run(out)
    plan.save(run.plan)
    channels = input_channels(configuration, len(plan.channels), plan.labels)
    network = build_network(plan.configurations[name], channels, plan.labels.outputs, seed=0)
    content = {"network": network.state_dict(), "runtime": Runtime(layout="channels_last").model_dump(), "step": 0}
    save_checkpoint(run.fold(name, "0").final, content)
    return out
