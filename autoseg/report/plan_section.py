"""The plan as a table, a column per configuration, with what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoseg.plan.cost import multiply_adds, parameters, receptive_field
from autoseg.plan.layers import input_channels, tells_layers, topology_of
from autoseg.plan.memory import training_memory
from autoseg.plan.record import SEGMENTATION, ConfigurationPlan, Plan, TransformPlan
from autoseg.report.network import Drawing, draw, times

NOT_KNOWN = "not known"
"""Of what a network does not tell of itself."""


@dataclass(frozen=True)
class PlanSection:
    """Section 6 of the page.

    Attributes:
        names: configurations, the columns.
        rows: (heading, a text per configuration).
        deep_supervision: whether a network that is drawn has it.
        drawings: (configurations that share it, drawing), for each different U-Net.
        augmentation: (transform, probability, options in words), of the first configuration.
        views: a sentence per configuration about what its network sees of the image.
    """

    planner: str
    deep_supervision: bool
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    drawings: tuple[tuple[str, Drawing], ...]
    augmentation: tuple[tuple[str, str, str], ...]
    views: tuple[str, ...]


def plan_section(plan: Plan) -> PlanSection:
    """Everything the plan decided, in words and numbers."""
    configurations = plan.configurations
    channels = {
        name: input_channels(configuration, len(plan.channels), plan.labels)
        for name, configuration in configurations.items()
    }
    columns = [_column(plan, configuration, channels[name]) for name, configuration in configurations.items()]
    headings = columns[0].keys() if columns else ()
    drawings: dict[Drawing, list[str]] = {}
    segments = plan.task == SEGMENTATION
    drawn = {
        name: configuration
        for name, configuration in configurations.items()
        if segments and topology_of(configuration.network) == "unet"
    }
    for name, configuration in drawn.items():
        drawings.setdefault(draw(configuration, channels[name], plan.labels.outputs), []).append(name)
    augmentation = next(iter(configurations.values())).augmentation if configurations else ()
    return PlanSection(
        planner=plan.planner,
        deep_supervision=any(configuration.deep_supervision for configuration in drawn.values()),
        names=tuple(configurations),
        rows=tuple((heading, tuple(column.get(heading, "–") for column in columns)) for heading in headings),
        drawings=tuple((", ".join(names), drawing) for drawing, names in drawings.items()),
        augmentation=tuple(_transform(step) for step in augmentation),
        views=tuple(
            _view(name, configuration, _axes(plan, configuration)) for name, configuration in configurations.items()
        )
        if segments
        else (),
    )


def _axes(plan: Plan, configuration: ConfigurationPlan) -> tuple[str, ...]:
    """Names of a configuration's axes in the files' arrays (z, y, x); a 2D plan has the last two."""
    return tuple("zyx"[axis] for axis in plan.transpose_forward)[-configuration.dimension :]


def _column(plan: Plan, configuration: ConfigurationPlan, channels: int) -> dict[str, str]:
    axes, sampler = _axes(plan, configuration), configuration.sampler
    masks = ["foreground" if masked else "whole image" for masked in configuration.use_mask_for_norm]
    common = {
        "axes": ", ".join(axes),
        "spacing [mm]": times(tuple(round(value, 4) for value in configuration.spacing)),
        "median shape [voxels]": times(configuration.median_shape),
        "patch size [voxels]": times(configuration.patch_size),
        "batch size": str(configuration.batch_size),
        "network": configuration.network,
        "normalisation per channel": _collapse(list(configuration.normalization)),
        "normalised over": _collapse(masks),
        "mirrored axes": ", ".join(axes[axis] for axis in configuration.mirror_axes) or "none",
    }
    if plan.task != SEGMENTATION:
        features = {"features per stage": " · ".join(map(str, configuration.features_per_stage))}
        options = {name.replace("_", " "): _option(value) for name, value in configuration.options.items()}
        return common | features | options
    return common | {
        **_stages(configuration),
        **_costs(configuration, channels, plan.labels.outputs),
        "Dice loss over": "the batch as one" if configuration.batch_dice else "each sample",
        "sampler": f"{sampler.name}, {sampler.foreground_fraction:.0%} forced to foreground",
        "takes the prediction of": configuration.previous_stage or "–",
    }


def _stages(configuration: ConfigurationPlan) -> dict[str, str]:
    """The planned topology, as far as the network is built of it."""
    topology = topology_of(configuration.network)
    encoder = {
        "stages": str(configuration.stages),
        "features per stage": " · ".join(map(str, configuration.features_per_stage)),
        "strides": _sequence(configuration.strides),
        "kernel sizes": _sequence(configuration.kernel_sizes),
        "encoder blocks per stage": " · ".join(map(str, configuration.blocks_per_stage)),
    }
    decoder = {
        "decoder blocks per stage, deepest first": " · ".join(map(str, configuration.decoder_blocks_per_stage)) or "–",
        "deep supervision": "yes" if configuration.deep_supervision else "no",
    }
    if topology is None:
        return dict.fromkeys((*encoder, *decoder), NOT_KNOWN)
    return encoder | (decoder if topology == "unet" else dict.fromkeys(decoder, "–"))


def _costs(configuration: ConfigurationPlan, channels: int, outputs: int) -> dict[str, str]:
    headings = (
        "receptive field [voxels]",
        "parameters",
        "multiply-adds per step",
        "training memory, estimated (mixed precision)",
    )
    if not tells_layers(configuration.network):
        return dict.fromkeys(headings, NOT_KNOWN)
    values = (
        times(receptive_field(configuration)),
        _count(parameters(configuration, channels, outputs)),
        _count(multiply_adds(configuration, channels, outputs)),
        f"{training_memory(configuration, channels, outputs) / 2**30:.2f} GiB",
    )
    return dict(zip(headings, values, strict=True))


def _sequence(stages: Sequence[tuple[int, ...]]) -> str:
    """Equal neighbours are counted: `1 × 1 × 1, then 4 of 2 × 2 × 2`."""
    runs: list[list] = []
    for value in stages:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    if len(runs) == 1:
        return f"{times(runs[0][0])} in all"
    return ", ".join(times(value) if count == 1 else f"{count} of {times(value)}" for value, count in runs)


def _collapse(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def _count(value: float) -> str:
    for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {suffix}"
    return f"{value:g}"


def _transform(step: TransformPlan) -> tuple[str, str, str]:
    options = "; ".join(f"{name.replace('_', ' ')} {_option(value)}" for name, value in step.options.items())
    return step.name, f"{step.probability:.0%}", options


def _option(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " to ".join(map(str, value)) if len(value) == 2 else ", ".join(map(str, value))
    return str(value)


def _view(name: str, configuration: ConfigurationPlan, axes: Sequence[str]) -> str:
    """Whether a voxel of the coarsest features can see the patch, and how much of the median image a patch is."""
    share = 1.0
    for patch, median in zip(configuration.patch_size, configuration.median_shape, strict=True):
        share *= min(1.0, patch / max(median, 1.0))
    cover = "the whole median image" if share >= 0.995 else f"{share:.1%} of the median image"
    if not tells_layers(configuration.network):
        return f"{name}: a patch covers {cover}."
    field = receptive_field(configuration)
    short = [axis for axis, seen, patch in zip(axes, field, configuration.patch_size, strict=True) if seen < patch]
    reach = "spans the patch on every axis" if not short else f"is smaller than the patch along {', '.join(short)}"
    return (
        f"{name}: the theoretical receptive field of {times(field)} {reach} ({times(configuration.patch_size)}); "
        f"a patch covers {cover}."
    )
