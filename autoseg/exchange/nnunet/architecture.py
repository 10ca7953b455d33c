"""The part of nnU-Net's plans that describes a network: read, and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.exchange.nnunet.vocabulary import BLOCKS, NETWORK_MODULE, NETWORKS, fixed_arguments
from autoseg.plan.record import ConfigurationPlan

_IGNORED = {"deep_supervision", "n_stages"}
_NEEDED = ("conv_op", "conv_bias", "norm_op", "norm_op_kwargs", "nonlin")  # nnU-Net's own defaults are others
_SLOPE = {"negative_slope": 0.01}


def read_architecture(values: Mapping[str, Any], dimension: int) -> tuple[dict[str, Any], list[str]]:
    """The fields of a `ConfigurationPlan` that describe the network.

    Args:
        values: a configuration of plans.json, with `architecture` or, as older versions of nnU-Net v2 have it, with
            `UNet_class_name` and its kind beside the other fields.
        dimension: axes of the patch.

    Returns:
        The fields, and what of the network does not exist here, in words; with any of these no fields.
    """
    described = values.get("architecture") or _from_older(values, dimension)
    if described is None:
        return {}, ["the network is not described: neither architecture nor UNet_class_name"]
    name = str(described.get("network_class_name", "")).rpartition(".")[2]
    arguments = described.get("arch_kwargs", {})
    if name not in NETWORKS:
        return {}, [f"network {name or 'without a name'} (known: {', '.join(NETWORKS)})"]
    problems = _other_choices(name, arguments, dimension)
    needed = ("strides", "kernel_sizes", "features_per_stage", BLOCKS[name], "n_conv_per_stage_decoder")
    if missing := [key for key in needed if key not in arguments]:
        problems.append(f"the network's {', '.join(missing)} is not given")
    if problems:
        return {}, problems
    stages = int(arguments["n_stages"]) if "n_stages" in arguments else len(arguments["strides"])
    kernels = [_per_axis(kernel, dimension) for kernel in _per_stage(arguments["kernel_sizes"], stages)]
    if even := [list(kernel) for kernel in kernels if any(edge % 2 == 0 for edge in kernel)]:
        return {}, [f"kernels of even size {even}"]
    return {
        "network": NETWORKS[name],
        "strides": tuple(_per_axis(stride, dimension) for stride in _per_stage(arguments["strides"], stages)),
        "kernel_sizes": tuple(kernels),
        "features_per_stage": _per_stage(arguments["features_per_stage"], stages),
        "blocks_per_stage": _per_stage(arguments[BLOCKS[name]], stages),
        "decoder_blocks_per_stage": _per_stage(arguments["n_conv_per_stage_decoder"], stages - 1),
    }, []


def write_architecture(configuration: ConfigurationPlan) -> dict[str, Any]:
    """The `architecture` of plans.json; the network must be one of `vocabulary.NETWORKS`."""
    name = next(theirs for theirs, ours in NETWORKS.items() if ours == configuration.network)
    return {
        "network_class_name": f"{NETWORK_MODULE}.{name}",
        "arch_kwargs": {
            "n_stages": configuration.stages,
            "features_per_stage": list(configuration.features_per_stage),
            "kernel_sizes": [list(kernel) for kernel in configuration.kernel_sizes],
            "strides": [list(stride) for stride in configuration.strides],
            BLOCKS[name]: list(configuration.blocks_per_stage),
            "n_conv_per_stage_decoder": list(configuration.decoder_blocks_per_stage),
            **fixed_arguments(configuration.dimension),
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _from_older(values: Mapping[str, Any], dimension: int) -> dict[str, Any] | None:
    """The description in today's form; None if there is none."""
    name = values.get("UNet_class_name")
    if name is None:
        return None
    arguments: dict[str, Any] = fixed_arguments(dimension)
    for theirs, older in (
        ("strides", "pool_op_kernel_sizes"),
        ("kernel_sizes", "conv_kernel_sizes"),
        (BLOCKS.get(name, "n_conv_per_stage"), "n_conv_per_stage_encoder"),
        ("n_conv_per_stage_decoder", "n_conv_per_stage_decoder"),
    ):
        if older in values:
            arguments[theirs] = values[older]
    if {"UNet_base_num_features", "unet_max_num_features"} <= set(values) and "strides" in arguments:
        first, most = values["UNet_base_num_features"], values["unet_max_num_features"]
        arguments["features_per_stage"] = [min(first << stage, most) for stage in range(len(arguments["strides"]))]
    return {"network_class_name": name, "arch_kwargs": arguments}


def _other_choices(name: str, arguments: Mapping[str, Any], dimension: int) -> list[str]:
    """Arguments of the network that differ from what is fixed here, in words."""
    expected = fixed_arguments(dimension)
    shape = {"strides", "kernel_sizes", "features_per_stage", BLOCKS[name], "n_conv_per_stage_decoder"}
    problems = [f"{key} is not given ({expected[key]!r} here)" for key in _NEEDED if key not in arguments]
    for key, value in arguments.items():
        if key in shape | _IGNORED:
            continue
        if key in expected:
            if not _same_choice(key, value, expected[key]):
                problems.append(f"{key} {value!r} ({expected[key]!r} here)")
        elif not _without_effect(key, value, arguments):
            problems.append(f"{key} {value!r} (not known here)")
    return problems


def _without_effect(key: str, value: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether a further argument of the network is set to what it is without it."""
    if key == "stem_channels" and value == _first(arguments):
        return True
    return value in (None, False) or (key == "block" and str(value).rpartition(".")[2] == "BasicBlockD")


def _same_choice(key: str, value: Any, expected: Any) -> bool:
    if key in ("conv_op", "norm_op", "nonlin"):
        return str(value).rpartition(".")[2] == str(expected).rpartition(".")[2]
    if key == "nonlin_kwargs":
        return {**_SLOPE, **(value or {}), "inplace": True} == {**_SLOPE, "inplace": True}
    if key == "norm_op_kwargs":
        return {"eps": 1e-05, **(value or {})} == expected
    if key == "dropout_op_kwargs":
        return True  # of no effect without an operation
    return bool(value == expected)


def _first(arguments: Mapping[str, Any]) -> Any:
    features = arguments.get("features_per_stage")
    return features[0] if isinstance(features, Sequence) and features else features


def _per_stage(value: Any, stages: int) -> tuple[Any, ...]:
    """nnU-Net lets one number stand for all stages."""
    return (value,) * stages if isinstance(value, int) else tuple(value)


def _per_axis(value: Any, dimension: int) -> tuple[int, ...]:
    """nnU-Net lets one number stand for all axes."""
    return (value,) * dimension if isinstance(value, int) else tuple(value)
