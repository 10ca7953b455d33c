"""What signatures say of arrays is checked in the tests' process, in every room, and costs nothing elsewhere."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checked_shapes
import jaxtyping
import numpy as np
import pytest
import torch

from autoseg import plugins
from autoseg.batches.augment.affine import sample_affine
from autoseg.batches.augment.batched_spatial import crop
from autoseg.batches.augment.cascade import apply_ball
from autoseg.batches.augment.transform import Sample
from autoseg.batches.source import Batch
from autoseg.data.labels import LabelScheme
from autoseg.inference.probabilities import as_bytes
from autoseg.inference.readout import Readout
from autoseg.inference.reduction import probabilities_of
from autoseg.inference.rows import WholeLogits
from autoseg.inference.sliding_window import Sliding, predict_logits
from autoseg.inference.uncertainty import ExpectedDice
from autoseg.losses.deep_supervision import deep_supervision
from autoseg.losses.overlap import soft_dice
from autoseg.losses.target import Target
from autoseg.losses.weighted import weighted_losses
from autoseg.metrics.confusion import confusion
from autoseg.metrics.score import score_labels
from autoseg.metrics.shape import hole_voxels
from autoseg.metrics.surface import surface_distances
from autoseg.networks.blocks import ConvBlock, ResidualBlock
from autoseg.networks.moments import mean_and_variance
from autoseg.networks.normalization import InstanceNorm
from autoseg.networks.products import rows_are_voxels
from autoseg.tasks.registration.similarities.local_ncc import local_ncc_gradient
from autoseg.tasks.registration.similarities.mine import mine
from autoseg.tasks.registration.similarities.neighbourhoods import differences
from autoseg.tasks.registration.similarities.protocol import average
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, Displacement, compose_fields, fit_affine, matrix_of
from autoseg.training.runtime import Runtime

SCHEME = LabelScheme(names={"background": 0, "organ": 1, "tumour": 2})
PLANE = Grid(shape=(4, 5), matrix=((1.0, 0.0), (0.0, 1.0)), origin=(0.0, 0.0))


def labels(*shape: int, dtype: torch.dtype = torch.int16) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


def target() -> Target:
    return Target(labels(2, 1, 4, 4))


def image(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype)


MISFITS: dict[str, tuple[Callable[[], object], str]] = {
    "losses: labels of a float": (lambda: Target(labels(2, 1, 4, 4, dtype=torch.float32)), "labels"),
    "losses: labels without a channel": (lambda: Target.from_labels(labels(2, 4, 4)), "labels"),
    "losses: a mask of another space": (lambda: Target(labels(2, 1, 4, 4), labels(2, 1, 4, 5).bool()), "mask"),
    "losses: a mask of numbers": (lambda: target().mean(torch.zeros(2, 3), labels(2, 1)), "mask"),
    "losses: members of other classes": (
        lambda: soft_dice(torch.zeros(2, 3, 4, 4), torch.zeros(2, 2, 4, 4).bool(), target(), batch=True),
        "members",
    ),
    "losses: a sum's logits without a batch": (
        lambda: weighted_losses({"dice": 1.0}, batch_dice=True)(torch.zeros(4), target()),
        "logits",
    ),
    "losses: integer logits at a resolution": (
        lambda: deep_supervision(lambda *_: torch.zeros(()), [(1, 1)])([labels(2, 3, 4, 4)], target()),
        "logits",
    ),
    "networks: features without a batch": (lambda: ConvBlock(1, 2, (3, 3), (1, 1))(torch.zeros(4)), "features"),
    "networks: integer features": (lambda: ResidualBlock(1, 2, (3, 3), (1, 1))(labels(1, 1, 4, 4)), "features"),
    "networks: integers to normalise": (lambda: InstanceNorm(2)(labels(1, 2, 4, 4)), "features"),
    "networks: rows with an axis too many": (lambda: mean_and_variance(torch.zeros(2, 3, 4)), "rows"),
    "networks: an image as features": (lambda: rows_are_voxels(torch.zeros(4)), "features"),
    "metrics: a plane of labels": (
        lambda: score_labels(image(4, 4), image(4, 4), {}, (1, 1), dimension=2),
        "prediction",
    ),
    "metrics: labels of a float": (lambda: confusion(image(4, 4), image(4, 4, dtype=float)), "reference"),
    "metrics: masks of numbers": (lambda: surface_distances(image(4, 4), image(4, 4), (1, 1)), "prediction"),
    "metrics: labels of another shape": (lambda: hole_voxels(image(4, 4, dtype=bool), image(4, 5)), "labels"),
    "batches: an image of doubles": (lambda: Sample(torch.zeros(1, 4, 4).double(), labels(1, 4, 4)), "image"),
    "batches: labels of another space": (lambda: Sample(torch.zeros(1, 4, 4), labels(1, 4, 5)), "labels"),
    "batches: a target of two channels": (
        lambda: Batch(torch.zeros(2, 1, 4, 4), labels(2, 2, 4, 4), (), (), 0),
        "target",
    ),
    "augmentation: wide labels": (
        lambda: sample_affine(
            torch.zeros(1, 4, 4), labels(1, 4, 4, dtype=torch.int64), np.eye(2), (1.5, 1.5), (4, 4), clamp=True
        ),
        "labels",
    ),
    "augmentation: a matrix of too many axes": (
        lambda: crop(torch.zeros(1, 1, 4, 4), labels(1, 1, 4, 4), torch.zeros(1, 2, 3), torch.zeros(1, 2), (4, 4)),
        "matrices",
    ),
    "augmentation: a mask of numbers": (lambda: apply_ball(image(4, 4), "erosion", 1.0), "mask"),
    "inference: an image without channels": (
        lambda: predict_logits((), torch.zeros(4, 4, 4), 2, Sliding((4, 4, 4)), Runtime()),
        "image",
    ),
    "inference: logits of a plane": (lambda: WholeLogits(torch.zeros(2, 4, 4)), "held"),
    "inference: a readout of other features": (
        lambda: Readout(torch.zeros(3, 2), torch.zeros(3))(labels(2, 4, 4)),
        "features",
    ),
    "inference: a bias of other outputs": (lambda: Readout(torch.zeros(3, 2), torch.zeros(2)), "bias"),
    "inference: logits of doubles": (lambda: probabilities_of([torch.zeros(3, 4).double()], SCHEME), "logits"),
    "inference: predicted labels of a float": (
        lambda: ExpectedDice(SCHEME).add(torch.zeros(3, 4), torch.zeros(4)),
        "labels",
    ),
    "inference: bytes of bytes": (lambda: as_bytes(image(2, 4)), "probabilities"),
    "similarities: images of two shapes": (
        lambda: local_ncc_gradient(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5)),
        "warped",
    ),
    "similarities: a mask with a channel": (
        lambda: mine()(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), torch.ones(1, 4, 4)),
        "mask",
    ),
    "similarities: a mask of weights where one of bools is asked for": (
        lambda: differences(torch.zeros(1, 4, 4), torch.ones(4, 4)),
        "seen",
    ),
    "similarities: weights of other voxels": (lambda: average(torch.zeros(1, 4, 4), torch.ones(4, 5)), "weights"),
    "transforms: integer points": (lambda: Displacement.zeros(PLANE)(labels(7, 2)), "points"),
    "transforms: integer displacements": (lambda: Displacement(PLANE, labels(2, 4, 5)), "field"),
    "transforms: a matrix that is not square": (
        lambda: Affine(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2)),
        "matrix",
    ),
    "transforms: fields on two grids": (
        lambda: compose_fields(torch.zeros(2, 4, 5), torch.zeros(2, 5, 4), PLANE),
        "second",
    ),
    "transforms: unpaired landmarks": (lambda: fit_affine(torch.zeros(4, 2), torch.zeros(5, 2)), "points_moving"),
    "transforms: integer coefficients": (lambda: matrix_of(labels(2), "translation", 2), "coefficients"),
}
"""A call with an array that does not fit, and the parameter that it is given for."""


@pytest.mark.parametrize(("call", "parameter"), MISFITS.values(), ids=MISFITS.keys())
def test_an_array_that_does_not_fit_is_refused(call: Callable[[], object], parameter: str) -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match=rf"checking the parameters of [\s\S]*parameter '{parameter}'"):
        call()


@pytest.mark.parametrize("name", plugins.names("loss"))
@pytest.mark.parametrize("logits", [torch.zeros(2), labels(2, 3, 4, 4)], ids=["no channels", "integers"])
def test_every_loss_refuses_logits_that_are_none(name: str, logits: torch.Tensor) -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'logits'"):
        plugins.resolve("loss", name)(logits, target(), batch_dice=True)


@pytest.mark.parametrize("name", plugins.names("similarity"))
@pytest.mark.parametrize("dtype", [torch.int32, torch.bool], ids=str)
def test_every_similarity_refuses_masks_as_images(name: str, dtype: torch.dtype) -> None:
    ones = torch.ones((1, 8, 8), dtype=dtype)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'fixed'"):
        plugins.resolve("similarity", name)()(ones, ones)


def test_a_result_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "totals", lambda self, *values: [value[None] for value in values])
    with pytest.raises(jaxtyping.TypeCheckError, match=r"return value of autoseg\.losses\.target\.Target\.mean"):
        Target(labels(2, 1, 4), across=lambda values: values).mean(torch.zeros(2, 3))


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_test_can_ask_for_no_checks() -> None:
    assert Target(labels(2, 4, 4)).labels.ndim == 3


def test_rooms_that_are_imported_already_are_not_taken_for_checked() -> None:
    with pytest.raises(RuntimeError, match=r"autoseg\.losses"):
        checked_shapes.check_rooms()


IMPORT_ROOMS = f"""
import importlib, pkgutil
for room in {checked_shapes.ROOMS}:
    for module in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
        importlib.import_module(module.name)
"""


def test_the_program_does_without() -> None:
    code = f"{IMPORT_ROOMS}\nimport sys; sys.exit('jaxtyping' in sys.modules or 'beartype' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_all_signatures_are_understood() -> None:
    exec(IMPORT_ROOMS)


def test_a_signature_that_names_what_comes_later_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from __future__ import annotations\nfrom jaxtyping import Float\nfrom torch import Tensor\n"
    (tmp_path / "room_before.py").write_text(f'{text}class Kind: ...\ndef f(x: Float[Tensor, ""] | Kind): ...\n')
    (tmp_path / "room_after.py").write_text(f'{text}def f(x: Float[Tensor, ""] | Kind): ...\nclass Kind: ...\n')
    monkeypatch.setattr(checked_shapes, "ROOMS", ("room_before", "room_after"))
    monkeypatch.syspath_prepend(tmp_path)
    before = importlib.import_module("room_before")
    before.f(before.Kind())
    with pytest.raises(jaxtyping.TypeCheckError):
        before.f(torch.zeros(1))
    with pytest.raises(NameError, match="Kind"):
        importlib.import_module("room_after")
