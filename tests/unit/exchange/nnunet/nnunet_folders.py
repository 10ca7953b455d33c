"""Folders in the form that nnU-Net v2.8.1 trains into, typed out here, with random weights of the networks here."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.networks.build import build_network
from autoseg.networks.unet import UNet
from autoseg.plan.record import ConfigurationPlan

STATISTICS = {
    "max": 5.0, "mean": 1.0, "median": 1.0, "min": -3.0, "percentile_00_5": -2.0, "percentile_99_5": 4.0, "std": 2.0,
}  # fmt: skip
LABELS = {"background": 0, "liver": 1, "tumour": 2}


def arguments(dimension: int, **changes: Any) -> dict[str, Any]:
    """`arch_kwargs` of a plain network with three stages whose first axis is halved once."""
    three, axis = [3] * dimension, [2] * (dimension - 1)
    return {
        "n_stages": 3,
        "features_per_stage": [4, 6, 8],
        "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
        "kernel_sizes": [[1, *[3] * (dimension - 1)], three, three],
        "strides": [[1] * dimension, [1, *axis], [2, *axis]],
        "n_conv_per_stage": [2, 2, 1],
        "n_conv_per_stage_decoder": [2, 1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        **changes,
    }


def residual(dimension: int) -> dict[str, Any]:
    """`arch_kwargs` of the residual-encoder network of the same shape."""
    values = arguments(dimension, n_blocks_per_stage=[1, 2, 2])
    del values["n_conv_per_stage"]
    return values


def configuration(dimension: int, network: str = "PlainConvUNet", **changes: Any) -> dict[str, Any]:
    """An entry of plans.json with one channel."""
    data = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    return {
        "data_identifier": "nnUNetPlans",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8, 16, 12][-dimension:],
        "median_image_size_in_voxels": [9.0, 20.0, 14.5][-dimension:],
        "spacing": [2.0, 1.0, 0.9][-dimension:],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": data,
        "resampling_fn_seg_kwargs": {**data, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**data, "order": 1},
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
            "arch_kwargs": arguments(dimension) if network == "PlainConvUNet" else residual(dimension),
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
        **changes,
    }


def plans(configurations: Mapping[str, Any], channels: int = 1, **changes: Any) -> dict[str, Any]:
    """The content of plans.json."""
    return {
        "dataset_name": "Dataset007_Liver",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [2.0, 1.0, 0.9],
        "original_median_shape_after_transp": [9, 20, 14],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": copy.deepcopy(dict(configurations)),
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(i): STATISTICS for i in range(channels)},
        **changes,
    }


def dataset(labels: Mapping[str, Any] = LABELS, **changes: Any) -> dict[str, Any]:
    """The content of dataset.json."""
    return {"channel_names": {"0": "CT"}, "labels": dict(labels), "numTraining": 9, "file_ending": ".nii.gz", **changes}


def random_network(plan: ConfigurationPlan, channels: int, outputs: int, seed: int) -> UNet:
    """A network here whose every tensor is random, norms and biases too."""
    network = build_network(plan, channels, outputs, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    assert isinstance(network, UNet)
    return network.eval()


def named_as_nnunet_does(network: UNet, *, residual: bool) -> dict[str, Tensor]:
    """The weights under nnU-Net's names, found by walking the modules rather than by rewriting names."""
    found: dict[str, Tensor] = {}
    for theirs, module in _modules(network, residual):
        for tensor, value in module.state_dict().items():
            found[f"{theirs}.{tensor}"] = value
            if theirs.startswith("encoder."):
                found[f"decoder.{theirs}.{tensor}"] = value
    return found


def _modules(network: UNet, residual: bool) -> Iterator[tuple[str, nn.Module]]:
    for s, stage in enumerate(network.encoder):
        blocks = list(stage)  # type: ignore[call-overload]
        if residual and s == 0:
            yield from _block("encoder.stem.convs.0", blocks.pop(0))
        for b, block in enumerate(blocks):
            if not residual:
                yield from _block(f"encoder.stages.{s}.0.convs.{b}", block)
                continue
            prefix = f"encoder.stages.{s}.blocks.{b}"
            yield from _block(f"{prefix}.conv1", block.first)
            yield from _block(f"{prefix}.conv2", block.second)
            for i, part in enumerate(block.shortcut):
                if list(part.parameters()):
                    yield from _block(f"{prefix}.skip.{i}", part)
    for i in range(len(network.decoder)):
        yield f"decoder.transpconvs.{i}", network.upsamplings[i]
        for b, block in enumerate(network.decoder[i]):  # type: ignore[arg-type]
            yield from _block(f"decoder.stages.{i}.convs.{b}", block)
        yield f"decoder.seg_layers.{i}", network.heads[i]


def _block(prefix: str, block: Any) -> Iterator[tuple[str, nn.Module]]:
    yield f"{prefix}.conv", block.conv
    yield f"{prefix}.all_modules.0", block.conv
    yield f"{prefix}.norm", block.norm
    yield f"{prefix}.all_modules.1", block.norm


def checkpoint(weights: Mapping[str, Tensor], name: str, axes: Sequence[int] | None, **changes: Any) -> dict[str, Any]:
    """What nnU-Net's trainer saves, NumPy numbers in its log included."""
    return {
        "network_weights": dict(weights),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float32(0.25), np.float64(0.5)], "lrs": [0.01]},
        "_best_ema": np.float32(0.5),
        "current_epoch": 4,
        "init_args": {"configuration": name, "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": None if axes is None else tuple(axes),
        **changes,
    }


def write_folder(
    root: Path, plans: Mapping[str, Any], dataset: Mapping[str, Any], checkpoints: Mapping[str, Mapping[str, Any]]
) -> Path:
    """A model's folder; `checkpoints` are named "0", "all" or with the file, "0/checkpoint_best"."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (root / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    for key, content in checkpoints.items():
        fold, _, file = key.partition("/")
        (root / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(dict(content), root / f"fold_{fold}" / f"{file or 'checkpoint_final'}.pth")
    return root
