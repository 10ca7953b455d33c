"""nnU-Net's patches, as its trainer's default makes them: a store of made-up cases, or samples a second of CPU time.

    augmentation.py make CASES STORE SETTING
    augmentation.py measure STORE SETTING --seconds S --seed N --out STATISTICS.npy

SETTING is JSON with `patch`, `batch` and `labels` (the largest one). The window, the dummy 2D and the transforms are
what nnUNetTrainer chooses for the patch; targets of deep supervision are not made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from benchmarks.peer.patch_statistics import describe

DESCRIBED = 200  # patches a run at most, for the comparison of distributions
PLACES = 10000


def make(cases: Path, store: Path, setting: dict[str, Any]) -> None:
    """Writes cases as nnU-Net's preprocessing does."""
    store.mkdir(parents=True)
    rng = np.random.RandomState(1234)
    for path in sorted(cases.glob("*.npz")):
        with np.load(path) as arrays:
            image, labels = arrays["image"], arrays["labels"][None].astype(np.int8)
        locations = {}
        for label in range(1, setting["labels"] + 1):
            voxels = np.argwhere(labels == label)
            locations[label] = voxels[rng.choice(len(voxels), min(PLACES, len(voxels)), replace=False)]
        layouts = [
            comp_blosc2_params(image.shape, tuple(setting["patch"]), array.itemsize) for array in (image, labels)
        ]
        (blocks, chunks), (blocks_seg, chunks_seg) = layouts
        nnUNetDatasetBlosc2.save_case(
            image,
            labels,
            {"class_locations": locations},
            str(store / path.stem),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=chunks_seg,
            blocks_seg=blocks_seg,
        )


def make_loader(store: Path, setting: dict[str, Any]) -> nnUNetDataLoader:
    """The loader with the transforms of nnUNetTrainer."""
    patch = tuple(setting["patch"])
    asked = SimpleNamespace(configuration_manager=SimpleNamespace(patch_size=patch), print_to_log_file=lambda *_: None)
    rotation, dummy_2d, window, mirror_axes = nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size(
        asked
    )
    transforms = nnUNetTrainer.get_training_transforms(
        patch, rotation, None, mirror_axes, dummy_2d, use_mask_for_norm=[False]
    )
    time_blurs(transforms, patch)
    return nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(store)),
        setting["batch"],
        window,
        patch,
        SimpleNamespace(all_labels=list(range(setting["labels"] + 1)), has_ignore_label=False),
        oversample_foreground_percent=0.33,
        transforms=transforms,
    )


def time_blurs(transforms: Any, patch: tuple[int, ...]) -> None:
    """Lets the blur choose its algorithm for each kernel, which it does by measuring at the first use."""
    image = torch.rand(1, *patch)
    for transform in transforms.transforms:
        blur = getattr(transform, "transform", None)
        if isinstance(blur, GaussianBlurTransform):
            for sigma in (0.5, 0.75, 1.0):
                blur._apply_to_image(image, apply_to_channel=torch.tensor([True]), sigmas=[[sigma] * len(patch)])


def measure(store: Path, setting: dict[str, Any], seconds: float, seed: int, out: Path) -> float:
    """Samples a second of CPU time; keeps statistics of some of them."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what nnU-Net draws from
    loader = make_loader(store, setting)
    warm = time.process_time() + seconds / 2
    while time.process_time() < warm:
        next(loader)
    count, taken = 0, 0.0
    described: list[list[float]] = []
    while taken < seconds:
        start = time.process_time()
        batch = next(loader)
        taken += time.process_time() - start
        count += len(batch["data"])
        for image, target in zip(batch["data"].numpy(), batch["target"].numpy(), strict=True):
            if len(described) < DESCRIBED:
                described.append(describe(image, target[0], setting["labels"]))
    np.save(out, np.array(described))
    return count / taken


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    actions = parser.add_subparsers(dest="action", required=True)
    making = actions.add_parser("make")
    making.add_argument("cases", type=Path)
    measuring = actions.add_parser("measure")
    for action in (making, measuring):
        action.add_argument("store", type=Path)
        action.add_argument("setting", type=json.loads)
    measuring.add_argument("--seconds", type=float, required=True)
    measuring.add_argument("--seed", type=int, required=True)
    measuring.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.action == "make":
        make(options.cases, options.store, options.setting)
        print(json.dumps({}))
    else:
        rate = measure(options.store, options.setting, options.seconds, options.seed, options.out)
        print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main()
