"""One table of plug-ins: a kind and a name lead to an object, imported only when it is asked for.

Built-in plug-ins stand in `BUILT_IN` as "module:object". A third party adds its own either through an
entry point of the group `autoseg.<kind>` (a kind of two words with an underscore: `autoseg.report_section`) or, in one
file, with `@register(kind, name)` and `--plugin FILE`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from autoseg.errors import ConfigurationError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Plugin = TypeVar("Plugin")

BUILT_IN: dict[str, dict[str, str]] = {
    "planner": {
        "default": "planners.default:plan",
        "resenc": "planners.resenc:plan_resenc",
        "resenc-m": "planners.resenc:plan_resenc_m",
        "resenc-l": "planners.resenc:plan_resenc_l",
        "resenc-xl": "planners.resenc:plan_resenc_xl",
        "budget": "planners.budget:plan",
        "registration": "planners.registration:plan",
    },
    "trainer": {
        "segmentation": "autoseg.tasks.segmentation.trainer.trainer:SegmentationTrainer",
        "registration": "autoseg.tasks.registration.trainer.trainer:RegistrationTrainer",
        "pretraining": "autoseg.tasks.pretraining.trainer.trainer:PretrainingTrainer",
    },
    "network": {
        "plain-unet": "autoseg.networks.families:PLAIN_UNET",
        "residual-encoder-unet": "autoseg.networks.families:RESIDUAL_ENCODER_UNET",
        "linear-readout": "autoseg.networks.families:LINEAR_READOUT",
    },
    "loss": {
        "dice-cross-entropy": "autoseg.losses.compound:dice_cross_entropy",
        "dice-binary-cross-entropy": "autoseg.losses.compound:dice_binary_cross_entropy",
        "dice-top-k-cross-entropy": "autoseg.losses.top_k:dice_top_k_cross_entropy",
        "dice": "autoseg.losses.overlap:dice",
        "cross-entropy": "autoseg.losses.cross_entropy:cross_entropy",
        "focal": "autoseg.losses.focal:focal",
        "tversky": "autoseg.losses.tversky:tversky",
    },
    "sampler": {
        "class-balanced": "autoseg.batches.sampling:ClassBalancedSampler",
        "hard-location": "autoseg.batches.sampling:HardLocationSampler",
    },
    "transform": {
        "spatial": "autoseg.batches.augment.spatial:Spatial",
        "gaussian-noise": "autoseg.batches.augment.intensity:GaussianNoise",
        "gaussian-blur": "autoseg.batches.augment.intensity:GaussianBlur",
        "brightness": "autoseg.batches.augment.intensity:Brightness",
        "contrast": "autoseg.batches.augment.intensity:Contrast",
        "low-resolution": "autoseg.batches.augment.intensity:LowResolution",
        "gamma": "autoseg.batches.augment.intensity:Gamma",
        "mirror": "autoseg.batches.augment.spatial:Mirror",
        "cascade-morphology": "autoseg.batches.augment.cascade:CascadeMorphology",
        "cascade-drop-components": "autoseg.batches.augment.cascade:CascadeDropComponents",
    },
    "augmentation": {"nnunet": "planners.augmentation:nnunet"},
    "normalization": {
        "ct": "autoseg.preprocessing.normalize:ct",
        "z-score": "autoseg.preprocessing.normalize:z_score",
        "rescale": "autoseg.preprocessing.normalize:rescale",
        "rgb": "autoseg.preprocessing.normalize:rgb",
        "none": "autoseg.preprocessing.normalize:none",
    },
    "baseline": {
        "empty": "autoseg.studies.comparison.baselines.floors:empty",
        "most-frequent": "autoseg.studies.comparison.baselines.floors:most_frequent",
        "otsu": "autoseg.studies.comparison.baselines.thresholding:otsu",
        "multi-otsu": "autoseg.studies.comparison.baselines.thresholding:multi_otsu",
        "region-growing": "autoseg.studies.comparison.baselines.region_growing:region_growing",
        "k-means": "autoseg.studies.comparison.baselines.clustering:k_means",
        "logistic-regression": "autoseg.studies.comparison.baselines.voxel_classifiers:logistic_regression",
        "random-forest": "autoseg.studies.comparison.baselines.voxel_classifiers:random_forest",
        "single-atlas": "autoseg.studies.comparison.baselines.atlas:single_atlas",
        "multi-atlas": "autoseg.studies.comparison.baselines.atlas:multi_atlas",
        "patch-classifier": "autoseg.studies.comparison.baselines.patch_classifier:patch_classifier",
        "plain-unet": "autoseg.studies.comparison.baselines.plain_unet:plain_unet",
        "folder": "autoseg.studies.comparison.baselines.folder:folder",
        "nnunetv2": "autoseg.studies.comparison.baselines.peer:nnunetv2",
    },
    "similarity": {
        "ssd": "autoseg.tasks.registration.similarities.intensity:ssd",
        "sad": "autoseg.tasks.registration.similarities.intensity:sad",
        "ncc": "autoseg.tasks.registration.similarities.intensity:ncc",
        "local-ncc": "autoseg.tasks.registration.similarities.local_ncc:local_ncc",
        "correlation-ratio": "autoseg.tasks.registration.similarities.correlation_ratio:correlation_ratio",
        "gradient-fields": "autoseg.tasks.registration.similarities.gradient_fields:gradient_fields",
        "mutual-information": "autoseg.tasks.registration.similarities.mutual_information:mutual_information",
        "normalized-mutual-information": (
            "autoseg.tasks.registration.similarities.mutual_information:normalized_mutual_information"
        ),
        "mind": "autoseg.tasks.registration.similarities.mind:mind",
        "mind-ssc": "autoseg.tasks.registration.similarities.mind:mind_ssc",
        "mine": "autoseg.tasks.registration.similarities.mine:mine",
    },
    "regularizer": {
        "diffusion": "autoseg.tasks.registration.regularizers:diffusion",
        "bending-energy": "autoseg.tasks.registration.regularizers:bending_energy",
        "total-variation": "autoseg.tasks.registration.regularizers:total_variation",
        "folding": "autoseg.tasks.registration.regularizers:folding",
    },
    "registration": {
        "multi-stage": "autoseg.tasks.registration.multi_stage:multi_stage",
        "drmime": "autoseg.tasks.registration.drmime:drmime",
    },
    "pretraining": {
        "masked-autoencoder": "autoseg.tasks.pretraining.methods.masked_autoencoder:MaskedAutoencoder",
        "restoration": "autoseg.tasks.pretraining.methods.restoration:Restoration",
        "simclr": "autoseg.tasks.pretraining.methods.simclr:SimCLR",
        "triplet": "autoseg.tasks.pretraining.methods.triplet:Triplet",
        "byol": "autoseg.tasks.pretraining.methods.byol:BYOL",
        "dino": "autoseg.tasks.pretraining.methods.dino:DINO",
        "jepa": "autoseg.tasks.pretraining.methods.jepa:JEPA",
        "volume-contrast": "autoseg.tasks.pretraining.methods.volume_contrast:VolumeContrast",
        "rotation": "autoseg.tasks.pretraining.methods.rotation:Rotation",
    },
    "hook": {},
    "command": {
        "demo": "autoseg.cli.demo:demo",
        "check": "autoseg.cli.check:check",
        "plan-and-train": "autoseg.cli.plan_and_train:plan_and_train",
        "fingerprint": "autoseg.cli.fingerprint:fingerprint",
        "plan": "autoseg.cli.plan:plan",
        "preprocess": "autoseg.cli.preprocess:preprocess",
        "train": "autoseg.cli.train:train",
        "choose": "autoseg.cli.choose:choose",
        "predict": "autoseg.cli.predict:predict",
        "evaluate": "autoseg.cli.evaluate:evaluate",
        "raters": "autoseg.studies.raters.commands.raters:raters",
        "compare": "autoseg.studies.comparison.commands.compare:compare",
        "reproduce": "autoseg.studies.benchmark.commands.reproduce:reproduce",
        "pretrain": "autoseg.tasks.pretraining.commands.pretrain:pretrain",
        "probe": "autoseg.tasks.pretraining.commands.probe:probe",
        "register": "autoseg.tasks.registration.commands.register:register",
        "propagate-labels": "autoseg.tasks.registration.commands.propagate_labels:propagate_labels",
        "build-atlas": "autoseg.tasks.registration.commands.build_atlas:build_atlas",
        "report": "autoseg.cli.report:report",
        "export": "autoseg.cli.export:export",
        "import-nnunet": "autoseg.exchange.nnunet.commands.import_nnunet:import_nnunet",
        "list": "autoseg.cli.list:list_names",
    },
    "model format": {
        "zip": "autoseg.exchange.archive.format:ZIP",
        "onnx": "autoseg.exchange.onnx.format:ONNX",
        "nnunet": "autoseg.exchange.nnunet.pipeline.format:NNUNET",
    },
    "listing": {
        "metrics": "autoseg.cli.listings:metrics",
        "settings": "autoseg.cli.listings:settings",
        "specs": "autoseg.studies.benchmark.commands.specs:specs",
    },
    "label transfer": {"registration": "autoseg.tasks.registration.subjects:transfer_labels"},
    "image format": {
        "nifti": "autoseg.data.formats:NIFTI",
        "nifti-pair": "autoseg.data.formats:NIFTI_PAIR",
        "nrrd": "autoseg.data.formats:NRRD",
        "metaimage": "autoseg.data.formats:METAIMAGE",
        "segmentation": "autoseg.data.formats:SEGMENTATION",
        "gipl": "autoseg.data.formats:GIPL",
        "tiff": "autoseg.data.formats:TIFF",
        "picture": "autoseg.data.formats:PICTURE",
        "jpeg": "autoseg.data.formats:JPEG",
        "dicom": "autoseg.data.formats:DICOM",
    },
    "metric": {
        "dice": "autoseg.metrics.table:DICE",
        "iou": "autoseg.metrics.table:IOU",
        "precision": "autoseg.metrics.table:PRECISION",
        "sensitivity": "autoseg.metrics.table:SENSITIVITY",
        "specificity": "autoseg.metrics.table:SPECIFICITY",
        "f_beta": "autoseg.metrics.table:F_BETA",
        "volume_similarity": "autoseg.metrics.table:VOLUME_SIMILARITY",
        "hausdorff": "autoseg.metrics.table:HAUSDORFF",
        "hd95": "autoseg.metrics.table:HD95",
        "assd": "autoseg.metrics.table:ASSD",
        "nsd": "autoseg.metrics.table:NSD",
    },
    "report section": {
        "pairs": "autoseg.tasks.registration.report.section:pairs_section",
        "pretraining": "autoseg.tasks.pretraining.report.section:pretraining_section",
        "reproduction": "autoseg.studies.benchmark.report.section:reproduction_section",
    },
}

_registered: dict[str, dict[str, Any]] = {}

_files: dict[tuple[str, str], Path] = {}
"""Kind and name of what a file has registered -> the file."""


def register(kind: str, name: str) -> Callable[[Plugin], Plugin]:
    """Decorator that adds a plug-in under a kind and a name; a name that is taken is an error."""

    def add(plugin: Plugin) -> Plugin:
        if name in names(kind):
            raise PluginError(f"a {kind} named {name!r} exists already", remedy="choose another name")
        _registered.setdefault(kind, {})[name] = plugin
        return plugin

    _check_kind(kind)
    return add


def names(kind: str) -> list[str]:
    """Sorted names of all plug-ins of a kind, without importing any."""
    return sorted(addresses(kind))


def addresses(kind: str) -> dict[str, str | None]:
    """Where each plug-in of a kind is, "module:object"; None for one that is registered in this process.

    Built-in ones come first, in the order of the table, then the others by name. None is imported.
    """
    _check_kind(kind)
    others: dict[str, str | None] = {point.name: point.value for point in _entry_points(kind)}
    others |= dict.fromkeys(_registered.get(kind, ()))
    built_in = BUILT_IN[kind]
    return {**built_in, **{name: others[name] for name in sorted(others) if name not in built_in}}


def registered(kind: str) -> tuple[tuple[str, Any], ...]:
    """Names and objects of the plug-ins that are registered in this process, without looking for installed ones."""
    _check_kind(kind)
    return tuple(_registered.get(kind, {}).items())


def registering_files() -> tuple[Path, ...]:
    """Files whose plug-ins are registered in this process, for processes that it starts."""
    found = (_files.get((kind, name)) for kind, plugins in _registered.items() for name in plugins)
    return tuple(dict.fromkeys(file for file in found if file is not None))


def resolve(kind: str, name: str) -> Any:
    """The plug-in of that kind and name, imported now.

    Raises:
        ConfigurationError: the name is not known (with the nearest known one, and how to load a third party's).
        PluginError: its module cannot be imported, or it cannot be called as its kind is (`plugin_calls.CALLS`).
    """
    _check_kind(kind)
    if name in _registered.get(kind, {}):
        return _checked(kind, name, _registered[kind][name])
    if name in BUILT_IN[kind]:
        module, _, attribute = BUILT_IN[kind][name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    for point in _entry_points(kind):
        if point.name == name:
            try:
                plugin = point.load()
            except Exception as error:
                raise PluginError(f"the {kind} {name!r} cannot be imported: {error}", where=point.value) from error
            return _checked(kind, name, plugin)
    raise _unknown(
        kind,
        name,
        names(kind),
        hint=f"A {kind} that a file registers is there with `autoseg --plugin FILE COMMAND ...`",
    )


def load_file(path: str | Path) -> None:
    """Runs a Python file of the user's so that its `@register` lines take effect."""
    path = Path(path).resolve()
    spec = importlib.util.spec_from_file_location(f"autoseg_plugin_{path.stem}", path)
    if not path.exists():
        raise PluginError("the plug-in file does not exist", where=path, remedy="check the path given to --plugin")
    if not path.is_file() or spec is None or spec.loader is None:
        raise PluginError("is not a Python file", where=path, remedy="give --plugin the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    before = {(kind, name) for kind, plugins in _registered.items() for name in plugins}
    try:
        spec.loader.exec_module(module)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"the plug-in file fails: {type(error).__name__}: {error}", where=path) from error
    after = {(kind, name) for kind, plugins in _registered.items() for name in plugins}
    _files.update(dict.fromkeys(after - before, path))


def _checked(kind: str, name: str, plugin: Any) -> Any:
    """A third party's plug-in, whose signature is looked at; those of this project are by their tests."""
    from autoseg.plugin_calls import check_call

    check_call(kind, name, plugin)
    return plugin


def _check_kind(kind: str) -> None:
    if kind not in BUILT_IN:
        raise _unknown("kind of plug-in", kind, BUILT_IN)


def _entry_points(kind: str) -> Iterable[EntryPoint]:
    """Those of other packages. Looking through all that is installed takes as long as a command's whole help."""
    from importlib.metadata import entry_points

    return entry_points(group=f"autoseg.{kind.replace(' ', '_')}")


def _unknown(what: str, name: str, registered: Iterable[str], *, hint: str | None = None) -> ConfigurationError:
    """The error that names the nearest known name."""
    from autoseg.records import nearest  # with pydantic, which a command's help does without

    registered = sorted(registered)
    guess = nearest(name, registered)
    remedy = " ".join(part for part in (f"did you mean {guess!r}?" if guess else None, hint) if part)
    return ConfigurationError(
        f"unknown {what} {name!r}",
        expected="one of " + ", ".join(registered) if registered else "none is known",
        remedy=remedy or None,
    )
