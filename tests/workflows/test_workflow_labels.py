"""Regions and an ignore label learn where plain labels cannot: the optimum of each is known in advance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.draw import disk
from skimage.io import imsave
from small_runs import small_networks

from autoseg import pipeline
from autoseg.data.files import read_labels
from autoseg.workspace import Run

CASES, SIZE = 10, 64


def _objects() -> dict[str, np.ndarray]:
    """A disc a case, (Y, X) bool."""
    rng = np.random.default_rng(1)
    found = {}
    for i in range(CASES):
        mask = np.zeros((SIZE, SIZE), bool)
        mask[disk(tuple(rng.integers(20, SIZE - 20, 2)), int(rng.integers(11, 17)))] = True
        found[f"case{i}"] = mask
    return found


def _write(folder: Path, labels: dict[str, np.ndarray], names: dict[str, Any], order: list[int] | None = None) -> Path:
    """Pictures on which the discs are bright, in nnU-Net's layout, with these label images."""
    rng = np.random.default_rng(2)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case, mask in _objects().items():
        picture = np.clip(rng.normal(80 + 80 * mask, 12), 0, 255).astype(np.uint8)
        imsave(folder / "imagesTr" / f"{case}_0000.png", picture, check_contrast=False)
        imsave(folder / "labelsTr" / f"{case}.png", labels[case].astype(np.uint8), check_contrast=False)
    description: dict[str, Any] = {
        "channel_names": {"0": "grey"},
        "labels": names,
        "numTraining": CASES,
        "file_ending": ".png",
    }
    if order is not None:
        description["regions_class_order"] = order
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def _dice_of_discs(dataset: Path, run: Run, steps: int) -> float:
    """Dice of all predicted foreground against the discs, over the validation cases of fold 0 after a short training.

    The loss is cross-entropy alone, whose optimum at each voxel is the most probable label or the region's probability.
    """
    pipeline.fingerprint_dataset(dataset, run.root, workers=1)
    pipeline.make_plan(run.root)
    small_networks(run, batch_size=8)
    pipeline.plan_and_train(
        dataset, run.root, configurations="2d", folds="0", steps=steps, loss="cross-entropy", device="cpu", workers=0,
        resume=True,
    )  # fmt: skip
    predictions = list(run.fold("2d", 0).validation.glob("*.png"))
    assert predictions
    truth = _objects()
    both = total = 0
    for path in predictions:
        predicted = read_labels(path).array[0, 0] > 0
        both += 2 * int((predicted & truth[path.stem]).sum())
        total += int(predicted.sum() + truth[path.stem].sum())
    return both / total


@pytest.mark.parametrize("as_region", [True, False])
def test_a_region_whose_parts_are_uncertain(as_region: bool, tmp_path: Path) -> None:
    """In a disc a quarter of the voxels is background and 3/16 each of four kinds, in no visible order.

    Together the kinds are three times likelier than the background, each alone is less likely.
    """
    rng = np.random.default_rng(3)
    shares = [1 / 4, *[3 / 16] * 4]
    labels = {case: mask * rng.choice(5, size=mask.shape, p=shares) for case, mask in _objects().items()}
    kinds = {"a": 1, "b": 2, "c": 3, "d": 4}
    names = {"background": 0, **({"whole": list(kinds.values())} if as_region else kinds)}
    dataset = _write(tmp_path / "data", labels, names, order=[1] if as_region else None)
    dice = _dice_of_discs(dataset, Run(tmp_path / "run"), steps=120)
    assert dice > 0.9 if as_region else dice < 0.2


@pytest.mark.parametrize("as_ignored", [True, False])
def test_sparse_annotation(as_ignored: bool, tmp_path: Path) -> None:
    """One voxel in seven is annotated. Ignored, the others do no harm; taken for background, they hide the discs."""
    rng = np.random.default_rng(4)
    labels = {}
    for case, mask in _objects().items():
        annotated = rng.random(mask.shape) < 1 / 7
        labels[case] = np.where(annotated, mask, 2 if as_ignored else 0)
    names: dict[str, Any] = {"background": 0, "disc": 1, **({"ignore": 2} if as_ignored else {})}
    dice = _dice_of_discs(_write(tmp_path / "data", labels, names), Run(tmp_path / "run"), steps=60)
    assert dice > 0.9 if as_ignored else dice < 0.2
