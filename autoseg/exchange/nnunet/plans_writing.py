"""A plan as nnU-Net's plans.json and dataset.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoseg.data.image import PLANE_SPACING
from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.exchange.nnunet.architecture import write_architecture
from autoseg.exchange.nnunet.plans import write_intensities
from autoseg.exchange.nnunet.vocabulary import (
    DEFAULT_PLANS,
    NETWORKS,
    NORMALIZATIONS,
    PLANNERS,
    PLANS_NAMES,
    RESAMPLING,
    RESAMPLING_OPTIONS,
)
from autoseg.plan.record import ConfigurationPlan, Plan

_PICTURES = (".png", ".bmp", ".tif", ".tiff")
_TIFF = (".tif", ".tiff")


def unknown_to_nnunet(plan: Plan, name: str) -> list[PlanError]:
    """What nnU-Net has no counterpart for in a configuration; empty if it can hold it."""
    configuration, labels = plan.configurations[name], plan.labels
    problems = []
    if configuration.network not in NETWORKS.values():
        problems.append(f"{name}: network {configuration.network}")
    strangers = [scheme for scheme in dict.fromkeys(configuration.normalization) if not _is_known(scheme)]
    problems += [f"{name}: normalization {scheme}" for scheme in strangers]
    if labels.regions and all(len(values) == 1 for values in labels.regions.values()):
        problems.append("regions of one label each, which nnU-Net trains as labels that exclude each other")
    return [PlanError(text) for text in problems]


def write_plans(plan: Plan) -> dict[str, Any]:
    """The content of plans.json, with every configuration that nnU-Net can hold."""
    plans_name = PLANS_NAMES.get(plan.planner, DEFAULT_PLANS)
    held = {
        name: configuration for name, configuration in plan.configurations.items() if not unknown_to_nnunet(plan, name)
    }
    spacing, shape = _original(plan)
    order = plan.transpose_forward
    planner = next((theirs for theirs, ours in PLANNERS.items() if ours == plan.planner), "ExperimentPlanner")
    return {
        "dataset_name": plan.dataset,
        "plans_name": plans_name,
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": shape,
        "image_reader_writer": _reader(plan),
        "transpose_forward": list(order),
        "transpose_backward": [order.index(axis) for axis in range(3)],
        "configurations": {
            name: _configuration(configuration, f"{plans_name}_{name}") for name, configuration in held.items()
        },
        "experiment_planner_used": planner,
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": write_intensities(plan.intensities),
    }


def write_dataset(plan: Plan) -> dict[str, Any]:
    """The content of dataset.json; label values are numbered without gaps, as nnU-Net's outputs are."""
    labels = plan.labels
    table: dict[str, Any] = {"background": 0}
    for name, values in labels.training_foreground.items():
        table[name] = list(values) if len(values) > 1 else values[0]
    if labels.training_ignore is not None:
        table["ignore"] = labels.training_ignore
    dataset: dict[str, Any] = {
        "name": plan.dataset,
        "channel_names": {str(i): name for i, name in enumerate(plan.channels)},
        "labels": table,
        "numTraining": 0,
        "file_ending": plan.file_ending,
    }
    if labels.regions:
        order = labels.region_order or tuple(range(1, len(labels.regions) + 1))
        dataset["regions_class_order"] = [labels.values.index(value) for value in order]
    return dataset


def renumbered(labels: LabelScheme) -> dict[int, int]:
    """File value -> value in nnU-Net's files, for the values that differ."""
    return {value: i for i, value in enumerate(labels.values) if value != i}


def _configuration(configuration: ConfigurationPlan, identifier: str) -> dict[str, Any]:
    theirs = {ours: name for name, ours in NORMALIZATIONS.items()}
    resampling: dict[str, Any] = {}
    for what, options in RESAMPLING_OPTIONS.items():
        resampling |= {f"resampling_fn_{what}": RESAMPLING, f"resampling_fn_{what}_kwargs": options}
    written: dict[str, Any] = {
        "data_identifier": identifier,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": configuration.batch_size,
        "patch_size": list(configuration.patch_size),
        "median_image_size_in_voxels": list(configuration.median_shape),
        "spacing": list(configuration.spacing),
        "normalization_schemes": [theirs[scheme] for scheme in configuration.normalization],
        "use_mask_for_norm": list(configuration.use_mask_for_norm),
        **resampling,
        "architecture": write_architecture(configuration),
        "batch_dice": configuration.batch_dice,
    }
    stages = {"previous_stage": configuration.previous_stage, "next_stage": configuration.next_stage}
    return written | {key: name for key, name in stages.items() if name is not None}


def _is_known(scheme: str) -> bool:
    return scheme in NORMALIZATIONS.values()


def _original(plan: Plan) -> tuple[list[float], list[float]]:
    """Median spacing and shape of the data in plan order: those of the finest volume, or of the planes."""
    volumes = [configuration for configuration in plan.configurations.values() if configuration.dimension == 3]
    finest: Sequence[ConfigurationPlan] = sorted(volumes, key=lambda configuration: sum(configuration.spacing))
    if finest:
        return list(finest[0].spacing), list(finest[0].median_shape)
    plane = next(iter(plan.configurations.values()))
    across = PLANE_SPACING if plan.dimension == 2 else max(plane.spacing)
    return [across, *plane.spacing], [1.0, *plane.median_shape]


def _reader(plan: Plan) -> str:
    """nnU-Net's reader of the files' format."""
    if plan.dimension == 2 and plan.file_ending in _PICTURES:
        return "NaturalImage2DIO"
    return "Tiff3DIO" if plan.file_ending in _TIFF else "SimpleITKIO"
