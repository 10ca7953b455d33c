"""The work of the section on large volumes: a body with 23 organs in an image of any size, and a network that knows it.

Everything is drawn with fixed seeds. The organs are balls of an intensity of their own in a body of another, in air,
with noise. The network is small and random but for its last layer, which is fitted to the organs, so that labels have
shapes and probabilities are as certain as the task allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.data.files import write_image
from autoseg.data.image import Geometry, Image, IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.inference.readout import without_heads
from autoseg.networks.build import build_network
from autoseg.networks.unet import UNet
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.training.checkpoint import save_checkpoint
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run

CLASSES = 25
CONFIGURATION = "3d_fullres"
PLAN_SPACING = (1.5, 1.2, 1.2)
PATCH = (128, 128, 128)
FEATURES = (6, 12, 24, 32, 32)

_VOXELS_A_LABEL, _ITERATIONS, _DECAY = 1000, 300, 1e-5
_AIR, _BODY, _NOISE = -1000, -100, 10.0
_ORGANS = np.linspace(50, 900, CLASSES - 2)  # Hounsfield units
_STATISTICS = IntensityStatistics(
    mean=100.0, median=60.0, std=350.0, min=-1000.0, max=1000.0, percentile_00_5=-950.0, percentile_99_5=950.0
)


def labels_and_intensities(shape: Sequence[int], rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of the body in an image of a shape: labels uint8 and intensities int16, both (rows, Y, X)."""
    z, y, x = np.ogrid[rows, 0 : shape[1], 0 : shape[2]]
    place = [(axis + 0.5) / length for axis, length in zip((z, y, x), shape, strict=True)]
    inside = ((place[1] - 0.5) / 0.42) ** 2 + ((place[2] - 0.5) / 0.47) ** 2 + 0 * place[0] < 1
    values = np.where(inside, float(_BODY), float(_AIR)).astype(np.float32)
    labels = inside.astype(np.uint8)
    draw = np.random.default_rng(0)
    for organ, intensity in enumerate(_ORGANS, start=2):
        centre, radius = draw.uniform((0.1, 0.25, 0.25), (0.9, 0.75, 0.75)), draw.uniform(0.05, 0.11, 3)
        ball = sum(((p - c) / r) ** 2 for p, c, r in zip(place, centre, radius, strict=True)) < 1
        labels[ball], values[ball] = organ, intensity
    noise = np.random.default_rng((1, rows.start)).normal(0, _NOISE, values.shape).astype(np.float32)
    return labels, np.rint(values + noise).astype(np.int16)


def write_volume(path: Path, shape: Sequence[int], spacing: tuple[float, float, float]) -> None:
    """Writes an int16 image of the body."""
    array = np.empty((1, *shape), np.int16)
    for start in range(0, shape[0], 16):
        rows = slice(start, min(start + 16, shape[0]))
        array[0, rows] = labels_and_intensities(shape, rows)[1]
    write_image(path, Image(array, Geometry(spacing=spacing)))


def plan_of_the_work() -> Plan:
    """A 3D plan with 25 labels and a small network."""
    stages = len(FEATURES)
    configuration = ConfigurationPlan(
        spacing=PLAN_SPACING,
        median_shape=(200.0, 300.0, 300.0),
        patch_size=PATCH,
        batch_size=2,
        strides=((1, 1, 1), *[(2, 2, 2)] * (stages - 1)),
        kernel_sizes=((3, 3, 3),) * stages,
        features_per_stage=FEATURES,
        blocks_per_stage=(2,) * stages,
        decoder_blocks_per_stage=(2,) * (stages - 1),
        normalization=("ct",),
        use_mask_for_norm=(False,),
        batch_dice=False,
    )
    return Plan(
        dataset="Dataset025_Body",
        planner="default",
        channels=("CT",),
        labels=LabelScheme(names={"background": 0, "body": 1, **{f"organ{i:02d}": i for i in range(2, CLASSES)}}),
        dimension=3,
        transpose_forward=(0, 1, 2),
        intensities=(_STATISTICS,),
        file_ending=".nii.gz",
        configurations={CONFIGURATION: configuration},
    )


def write_run(root: Path, runtime: Runtime) -> None:
    """Writes a run folder with one fold.

    Args:
        runtime: in which the run predicts.
    """
    run, plan = Run(root), plan_of_the_work()
    plan.save(run.plan)
    save_checkpoint(
        run.fold(CONFIGURATION, "0").final,
        {"network": _network(plan).state_dict(), "runtime": runtime.model_dump(), "step": 1},
    )


@torch.inference_mode()
def _network(plan: Plan) -> nn.Module:
    """A random network that lets intensities through, with a last layer that is fitted to labels."""
    network = build_network(plan.configurations[CONFIGURATION], 1, plan.labels.outputs, seed=0)
    assert isinstance(network, UNet)
    _let_through(network)
    found = without_heads([network], CLASSES)
    assert found is not None
    (body,), _ = found
    shape = (PATCH[0], 300, 300)
    labels, values = labels_and_intensities(shape, slice(0, shape[0]))
    image = torch.from_numpy(values.astype(np.float32))
    image = (image.clamp(_STATISTICS.percentile_00_5, _STATISTICS.percentile_99_5) - _STATISTICS.mean) / _STATISTICS.std
    first, middle, last = (slice(start, start + PATCH[1]) for start in (0, 86, 172))
    boxes = [(slice(None), y, x) for y in (first, last) for x in (first, last)] + [(slice(None), middle, middle)]
    features = torch.cat([body(image[box][None, None])[0].flatten(1) for box in boxes], dim=1)
    target = torch.cat([torch.from_numpy(labels[box]).flatten() for box in boxes]).long()
    weight, bias = _fitted(features, target)
    head = network.heads[-1]
    assert isinstance(head, nn.Conv3d)
    assert head.bias is not None
    head.weight.copy_(weight.reshape(head.weight.shape))
    head.bias.copy_(bias)
    return network


@torch.inference_mode(False)
def _fitted(features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, C) and bias (K,) of a logistic regression on as many voxels of each label, all that are drawn."""
    draw = np.random.default_rng(2)
    numbers = target.numpy()
    chosen = np.concatenate(
        [draw.choice(np.flatnonzero(numbers == label), _VOXELS_A_LABEL) for label in range(CLASSES)]
    )
    x, y = features[:, chosen].T.clone(), target[chosen].clone()
    mean, deviation = x.mean(0), x.std(0)
    layer = nn.Linear(x.shape[1], CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(layer((x - mean) / deviation), y) + _DECAY * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    weight = layer.weight.detach() / deviation
    return weight, layer.bias.detach() - weight @ mean


def _let_through(network: UNet) -> None:
    """Adds to the random convolutions at full resolution one that passes the image on, averaged over 3^3 voxels."""
    width, centre = FEATURES[0], (1, 1, 1)
    blocks: list[Any] = [*network.encoder[0].children(), *network.decoder[-1].children()]
    first, second, third, fourth = blocks
    for block in blocks:
        block.conv.weight *= 0.1
        block.norm.bias.fill_(3.0)  # above the activation's bend
    for channel in range(width):
        first.conv.weight[(channel, 0, *centre)] += 1 - 2 * (channel % 2)
        second.conv.weight[channel, channel] += 1 / 27
        third.conv.weight[(channel, width + channel, *centre)] += 1
        fourth.conv.weight[(channel, channel, *centre)] += 1
        fourth.norm.bias[channel] = -1.5 + 3 * channel / (width - 1)  # bends at different intensities
