"""nnU-Net's plans.json and dataset.json as a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from autoseg import plugins
from autoseg.data.description import parse_channels, parse_labels
from autoseg.data.image import PLANE_SPACING, IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ErrorGroup, PlanError
from autoseg.exchange.nnunet.architecture import read_architecture
from autoseg.exchange.nnunet.vocabulary import (
    FOREGROUND_FRACTION,
    NORMALIZATIONS,
    PLANNERS,
    READERS,
    RESAMPLING,
    RESAMPLING_OPTIONS,
)
from autoseg.log import logger
from autoseg.plan.record import ConfigurationPlan, Plan, SamplerPlan
from autoseg.records import unknown_name

_COPIED = ("spacing", "patch_size", "batch_size", "use_mask_for_norm", "batch_dice", "previous_stage")


def read_plan(
    plans: Mapping[str, Any],
    dataset: Mapping[str, Any],
    names: Sequence[str],
    mirror_axes: Mapping[str, tuple[int, ...]],
    where: object,
) -> Plan:
    """The plan of a model of nnU-Net.

    Training choices that nnU-Net's plans do not hold (sampling, augmentation) are those of its trainer.

    Args:
        plans, dataset: contents of the two files; plans of older versions of nnU-Net v2 too.
        names: configurations that must be carried over. Others are left out where they cannot be.
        mirror_axes: configuration -> patch axes that may be mirrored; all where it is not named.
        where: the folder, for messages.

    Raises:
        ErrorGroup: everything in the wanted configurations that does not exist here, or is damaged.
    """
    problems: list[AutosegError] = []
    labels = LabelScheme(names={"background": 0})
    channels: tuple[str, ...] = ()
    try:
        labels, channels = read_labels(dataset, where), parse_channels(dataset, where)
    except AutosegError as error:
        problems.append(error)
    problems += [PlanError(text) for text in _other_data_choices(plans)]
    configurations: dict[str, ConfigurationPlan] = {}
    listed = plans.get("configurations") or {}
    for name in dict.fromkeys((*listed, *names)):
        try:
            configurations[name] = _configuration(listed, name, labels, mirror_axes.get(name), where)
        except ErrorGroup as error:
            if name in names:
                problems += error.errors
            else:
                logger.info("note: %s is not carried over: %s", name, error.errors[0].subject)
        except AutosegError as error:
            problems.append(error)
    intensities = _intensities(plans, len(channels), where, problems)
    if problems:
        raise ErrorGroup(
            f"{where}: the model cannot be carried over", problems, remedy="keep using nnU-Net for this model"
        )
    return Plan(
        dataset=str(plans.get("dataset_name") or dataset.get("name") or "unnamed"),
        planner=PLANNERS.get(str(plans.get("experiment_planner_used")), str(plans.get("experiment_planner_used"))),
        channels=channels,
        labels=labels,
        dimension=_dimension(plans),
        transpose_forward=tuple(plans.get("transpose_forward", (0, 1, 2))),
        intensities=intensities,
        file_ending=str(dataset.get("file_ending", ".nii.gz")),
        configurations=_linked(configurations),
    )


def read_labels(dataset: Mapping[str, Any], where: object) -> LabelScheme:
    """The labels of nnU-Net's dataset.json.

    Lists of one value alone do not make regions there: without a list of several the labels are plain.

    Raises:
        DatasetError: no labels, or not in nnU-Net's form.
    """
    table = dataset.get("labels")
    if isinstance(table, dict) and not any(isinstance(value, list) and len(value) > 1 for value in table.values()):
        plain = {name: value[0] if isinstance(value, list) and value else value for name, value in table.items()}
        dataset = {**dataset, "labels": plain}
    return parse_labels(dataset, where)


def _configuration(
    listed: Mapping[str, Any], name: str, labels: LabelScheme, mirror_axes: tuple[int, ...] | None, where: object
) -> ConfigurationPlan:
    """One configuration; everything that does not exist here is an error of the group."""
    values = _inherited(listed, name, where)
    missing = [key for key in ("spacing", "patch_size", "batch_size", "normalization_schemes") if key not in values]
    if missing:
        raise ErrorGroup(name, [PlanError(f"{name}: {', '.join(missing)} missing in plans.json")])
    dimension = len(values["patch_size"])
    network, problems = read_architecture(values, dimension)
    problems += _other_preprocessing(values)
    if problems:
        raise ErrorGroup(name, [PlanError(f"{name}: {text}") for text in problems])
    axes = tuple(range(dimension)) if mirror_axes is None else mirror_axes
    following = values.get("next_stage")
    try:
        configuration = ConfigurationPlan.from_mapping(
            {
                **{key: values[key] for key in _COPIED if key in values},
                **network,
                "batch_dice": bool(values.get("batch_dice", False)),
                "median_shape": values.get("median_image_size_in_voxels", values["patch_size"]),
                "normalization": [NORMALIZATIONS[scheme] for scheme in values["normalization_schemes"]],
                "sampler": SamplerPlan(foreground_fraction=FOREGROUND_FRACTION).model_dump(),
                "mirror_axes": axes,
                "next_stage": following[0] if isinstance(following, list) and following else following or None,
            },
            where=name,
        )
    except ErrorGroup:
        raise
    except AutosegError as error:
        raise ErrorGroup(name, [error]) from error
    return configuration.with_(augmentation=plugins.resolve("augmentation", "nnunet")(configuration, labels))


def _inherited(listed: Mapping[str, Any], name: str, where: object) -> dict[str, Any]:
    """A configuration's fields with those of the configurations that it inherits from."""
    values: dict[str, Any] = {}
    visited: list[str] = []
    step: str | None = name
    while step is not None:
        if step in visited:
            raise PlanError("configurations inherit from each other in a circle", where=where, got=" -> ".join(visited))
        if step not in listed:
            raise unknown_name("configuration", step, listed, where=where)
        visited.append(step)
        values = {**listed[step], **values}
        step = listed[step].get("inherits_from")
    return values


def _other_preprocessing(values: Mapping[str, Any]) -> list[str]:
    """Choices of preprocessing that do not exist here, in words."""
    problems = [
        f"normalization {scheme} (known: {', '.join(NORMALIZATIONS)})"
        for scheme in dict.fromkeys(values["normalization_schemes"])
        if scheme not in NORMALIZATIONS
    ]
    preprocessor = values.get("preprocessor_name", "DefaultPreprocessor")
    if preprocessor != "DefaultPreprocessor":
        problems.append(f"preprocessor {preprocessor}")
    for what, usual in RESAMPLING_OPTIONS.items():
        function = values.get(f"resampling_fn_{what}", RESAMPLING)
        if function != RESAMPLING:
            problems.append(f"resampling function {function} ({RESAMPLING} here)")
            continue
        given = values.get(f"resampling_fn_{what}_kwargs") or {}
        other = {key: value for key, value in given.items() if key not in usual or usual[key] != value}
        if other:
            problems.append(f"resampling of {what} with {other}")
    return problems


def _other_data_choices(plans: Mapping[str, Any]) -> list[str]:
    """Choices for all configurations that do not exist here, in words."""
    problems = []
    if (reader := plans.get("image_reader_writer", READERS[0])) not in READERS:
        problems.append(f"image reader {reader} (images are read in the file's own axis order, like {READERS[0]})")
    if (manager := plans.get("label_manager", "LabelManager")) != "LabelManager":
        problems.append(f"label manager {manager}")
    return problems


def _intensities(
    plans: Mapping[str, Any], channels: int, where: object, problems: list[AutosegError]
) -> tuple[IntensityStatistics, ...]:
    """Statistics of each channel; one that is missing is added to the problems."""
    table = plans.get("foreground_intensity_properties_per_channel")
    if table is None:
        table = plans.get("foreground_intensity_properties_by_modality") or {}
    names = [field.name for field in fields(IntensityStatistics)]
    statistics = []
    for channel in range(channels):
        values = table.get(str(channel)) or {}
        if not set(names) <= set(values):
            problems.append(PlanError(f"the intensities of channel {channel} are missing in plans.json"))
        else:
            statistics.append(IntensityStatistics(**{name: float(values[name]) for name in names}))
    return tuple(statistics)


def write_intensities(statistics: Sequence[IntensityStatistics]) -> dict[str, dict[str, float]]:
    """The statistics as plans.json has them."""
    return {str(channel): asdict(channel_statistics) for channel, channel_statistics in enumerate(statistics)}


def _dimension(plans: Mapping[str, Any]) -> int:
    """2 for plane images, to which nnU-Net gives a spacing along z of 999, or 999 times that in the plane."""
    first, *plane = plans.get("original_median_spacing_after_transp") or (1.0,)
    return 2 if first == PLANE_SPACING or (plane and first >= 0.99 * PLANE_SPACING * max(plane)) else 3


def _linked(configurations: Mapping[str, ConfigurationPlan]) -> dict[str, ConfigurationPlan]:
    """The configurations without a next stage that is not among them, and without those whose first stage is not."""
    kept = {
        name: configuration
        for name, configuration in configurations.items()
        if configuration.previous_stage in (None, *configurations)
    }
    return {
        name: configuration if configuration.next_stage in (None, *kept) else configuration.with_(next_stage=None)
        for name, configuration in kept.items()
    }
