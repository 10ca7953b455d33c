"""Names of weights: the networks here and nnU-Net's have the same tensors under other names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from autoseg.networks.build import build_network
from autoseg.plan.record import ConfigurationPlan

_LISTED = 5
"""Names of tensors in a message."""

_COMMON = (
    (re.compile(r"decoder\.(\d+)\.(\d+)\.(conv|norm)\.(\w+)"), r"decoder.stages.\1.convs.\2.\3.\4"),
    (re.compile(r"upsamplings\.(\d+)\.(\w+)"), r"decoder.transpconvs.\1.\2"),
    (re.compile(r"heads\.(\d+)\.(\w+)"), r"decoder.seg_layers.\1.\2"),
)
_PLAIN = (re.compile(r"encoder\.(\d+)\.(\d+)\.(conv|norm)\.(\w+)"), r"encoder.stages.\1.0.convs.\2.\3.\4")
_STEM = (re.compile(r"encoder\.0\.0\.(conv|norm)\.(\w+)"), r"encoder.stem.convs.0.\1.\2")
_RESIDUAL = re.compile(r"encoder\.(\d+)\.(\d+)\.(first|second|shortcut\.\d+)\.(conv|norm)\.(\w+)")
_BRANCHES = {"first": "conv1", "second": "conv2"}


def nnunet_name(name: str, network: str) -> str:
    """nnU-Net's (canonical) name of a tensor of a network here.

    Both decoders count their stages from the deepest.

    Args:
        name: in the state dict of the network here.
        network: plug-in name of the network, one of `vocabulary.NETWORKS`.

    Raises:
        ValueError: such a network has no tensor of that name.
    """
    encoder = _PLAIN if network == "plain-unet" else _STEM
    for pattern, replacement in (*_COMMON, encoder):
        if (match := pattern.fullmatch(name)) is not None:
            return match.expand(replacement)
    match = _RESIDUAL.fullmatch(name)
    if match is None or network == "plain-unet":
        raise ValueError(f"{network} has no tensor {name}")
    stage, block, branch, part, tensor = match.groups()
    number = int(block) - (stage == "0")  # the stem is the first module of the first stage here
    branch = _BRANCHES.get(branch) or branch.replace("shortcut", "skip")
    return f"encoder.stages.{stage}.blocks.{number}.{branch}.{part}.{tensor}"


def from_nnunet(
    weights: Mapping[str, Tensor], configuration: ConfigurationPlan, channels: int, outputs: int
) -> tuple[dict[str, Tensor], list[str]]:
    """nnU-Net's weights as the state of the network here.

    Args:
        weights: nnU-Net's canonical name -> tensor.
        configuration: the network's plan.
        channels, outputs: of the network.

    Returns:
        The state (float32), and what does not fit, in words; with any of these the state is not whole.
    """
    with torch.device("meta"):
        own_weights = build_network(configuration, channels, outputs).state_dict()
    names = {name: nnunet_name(name, configuration.network) for name in own_weights}
    missing = [theirs for theirs in names.values() if theirs not in weights]
    strangers = sorted(set(weights) - set(names.values()))
    misfits = [
        f"{theirs} ({_by(weights[theirs])} in place of {_by(own_weights[name])})"
        for name, theirs in names.items()
        if theirs in weights and weights[theirs].shape != own_weights[name].shape
    ]
    faults = ((missing, "are missing"), (strangers, "have no place"), (misfits, "have another shape"))
    problems = [f"weights that {what}: {_some(listed)}" for listed, what in faults if listed]
    state = {name: weights[theirs].float() for name, theirs in names.items() if theirs in weights}
    return state, problems


def to_nnunet(state: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """The state of a network here under all the names that nnU-Net's state dict has; equal tensors share memory."""
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        theirs, tensor = nnunet_name(name, network), tensor.detach().contiguous()
        block = theirs.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.")
        for alias in dict.fromkeys((theirs, block)):
            weights[alias] = tensor
            if alias.startswith("encoder."):
                weights[f"decoder.{alias}"] = tensor
    return weights


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _by(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
