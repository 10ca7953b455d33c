"""What must be done around an exported network, written down for programs without autoseg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autoseg.data.labels import LabelScheme
from autoseg.inference.model import Model
from autoseg.inference.selection import chosen_postprocessing
from autoseg.plan.record import Plan
from autoseg.version import VERSION
from autoseg.workspace import Run


def describe(run: Run, model: Model, configurations: Sequence[str], *, opset: int) -> dict[str, Any]:
    """Everything between an image file and the label file but the network, in plain values for JSON.

    Args:
        model: what is in the graph.
        configurations: the whole of which it is a part, averaged as probabilities; the previous stages of a cascade
            are not among them.
    """
    plan, configuration, name = model.plan, model.configuration, model.name
    patch = configuration.patch_size
    decision = chosen_postprocessing(run, configurations) if name in configurations else None
    return {
        "format": 1,
        "autoseg": VERSION,
        "dataset": plan.dataset,
        "opset": opset,
        "configuration": name,
        "folds": list(model.folds),
        "ensemble": list(configurations),
        "input": {
            "name": "image",
            "shape": ["N", len(_inputs(plan, name)), *patch],
            "channels": _inputs(plan, name),
        },
        "output": {
            "name": "logits",
            "shape": ["N", plan.labels.outputs, *patch],
            "activation": "sigmoid" if plan.labels.regions else "softmax",
            "channels": _outputs(plan.labels),
        },
        "preprocessing": {
            "axes": "zyx",
            "orientation": plan.orientation,
            "transpose_forward": list(plan.transpose_forward),
            "crop": "bounding box of the voxels where any channel is not zero",
            "normalization": [
                {"name": kind, "only_nonzero_voxels": masked, "statistics": asdict(statistics)}
                for kind, masked, statistics in zip(
                    configuration.normalization, configuration.use_mask_for_norm, plan.intensities, strict=True
                )
            ],
            "spacing_mm": list(configuration.spacing),
            "resampling": "cubic splines; anisotropic images slice by slice, with the nearest slice across",
            "previous_stage": configuration.previous_stage,
        },
        "tiles": {
            "shape": list(patch),
            "overlap": model.sliding.overlap,
            "weight": "Gaussian around the centre, standard deviation 1/8 of the tile",
            "mirror_axes": list(model.sliding.mirror_axes),
            "padding": "zeros, where the image is smaller than a tile",
        },
        "postprocessing": list(decision.steps) if decision is not None else [],
    }


def _inputs(plan: Plan, name: str) -> list[str]:
    """Names of the input's channels; a cascade's later stage takes the previous one's labels as well."""
    previous = plan.configurations[name].previous_stage
    labels = [f"{previous} label {value}" for value in plan.labels.values[1:]] if previous else []
    return [*plan.channels, *labels]


def _outputs(scheme: LabelScheme) -> list[dict[str, Any]]:
    """Name and file value of each output channel; of regions the value painted over the regions before it."""
    if scheme.regions:
        painted = scheme.region_order or tuple(range(1, len(scheme.regions) + 1))
        return [{"name": name, "value": value} for name, value in zip(scheme.regions, painted, strict=True)]
    names = {value: name for name, value in scheme.names.items()}
    outputs = [{"name": names.get(value, str(value)), "value": value} for value in scheme.values]
    return [{"name": "background", "value": 0}, *outputs[1:]] if scheme.zero_is_class else outputs
