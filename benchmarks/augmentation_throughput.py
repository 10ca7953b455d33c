"""Augmented samples a second of one core, beside nnU-Net v2: read from disk, sampled, augmented, stacked to a batch.

    python benchmarks/augmentation_throughput.py --peer-python PATH [--repeats 5] [--seconds 5]

PATH is the Python of an environment with nnunetv2; without it only this project is measured. Each setting is a patch
size and a set of made-up cases (one channel, background and two classes). Both sides store the cases in their own
way and run their own sampler, loader and default augmentation in one process on one thread, in turns; the median of
the repeats is printed with the ratio. Deep supervision targets are made by neither.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SETTINGS = {
    "40x56x40, small cases": {"patch": (40, 56, 40), "shape": (36, 50, 35), "cases": 12, "batch": 9},
    "40x56x40, large cases": {"patch": (40, 56, 40), "shape": (120, 160, 120), "cases": 4, "batch": 9},
    "128x128x128": {"patch": (128, 128, 128), "shape": (170, 200, 190), "cases": 3, "batch": 2},
    "28x256x256, dummy 2D": {"patch": (28, 256, 256), "shape": (40, 320, 320), "cases": 3, "batch": 2},
    "2D 512x512": {"patch": (512, 512), "shape": (20, 640, 640), "cases": 3, "batch": 12},
}


def make_cases(setting: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cases by name: image float32 (1, Z, Y, X) and labels int16 (Z, Y, X) with two ellipsoids in noise."""
    rng = np.random.default_rng(0)
    cases = {}
    for number in range(setting["cases"]):
        shape = [n + int(rng.integers(-2, 3)) for n in setting["shape"]]
        axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
        radius = np.sqrt(sum((a + rng.uniform(-0.2, 0.2)) ** 2 for a in axes))
        labels = (radius < 0.6).astype(np.int16) + (radius < 0.35)
        image = labels + 0.3 * axes[0] + rng.normal(0, 0.5, shape)
        cases[f"case_{number}"] = (image[None].astype(np.float32), labels.astype(np.int16))
    return cases


def batches_of_ours(setting: dict[str, Any], folder: Path) -> Callable[[int], Any]:
    from autoseg.batches.source import training_source
    from autoseg.data.image import Geometry
    from autoseg.data.labels import LabelScheme
    from autoseg.plan.record import ConfigurationPlan, SamplerPlan
    from autoseg.preprocessing.places import class_places
    from autoseg.preprocessing.record import CaseProperties, PreparedCase
    from autoseg.preprocessing.store import Store, StoreInfo, claim, write_case
    from planners.augmentation import policy

    scheme = LabelScheme(names={"background": 0, "shell": 1, "core": 2})
    claim(folder, StoreInfo(digest="benchmark"))
    for name, (image, labels) in make_cases(setting).items():
        shape = labels.shape
        properties = CaseProperties(
            channels=1,
            geometry=Geometry(),
            transpose=(0, 1, 2),
            shape_before_crop=shape,
            crop_box=tuple((0, n) for n in shape),
            shape=shape,
            spacing=(1, 1, 1),
        )
        prepared = PreparedCase(image, labels.astype(np.int8), properties)
        places = class_places(labels, scheme)
        write_case(folder, name, prepared, places, patch_size=setting["patch"], source="benchmark")
    patch = setting["patch"]
    configuration = ConfigurationPlan(
        spacing=(1.0,) * len(patch),
        median_shape=patch,
        patch_size=patch,
        batch_size=setting["batch"],
        strides=((1,) * len(patch),),
        kernel_sizes=((3,) * len(patch),),
        features_per_stage=(32,),
        blocks_per_stage=(2,),
        decoder_blocks_per_stage=(),
        normalization=("z-score",),
        use_mask_for_norm=(False,),
        batch_dice=False,
        sampler=SamplerPlan(foreground_fraction=0.33),
        augmentation=policy(patch),
    )
    store = Store(folder)
    return training_source(store, store.cases, configuration, scheme, seed=0).batch


def batches_of_peer(setting: dict[str, Any], folder: Path) -> Callable[[int], Any]:
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    patch = setting["patch"]
    for name, (image, labels) in make_cases(setting).items():
        rng = np.random.RandomState(1234)
        locations = {}
        for label in (1, 2):
            voxels = np.argwhere(labels[None] == label)
            locations[label] = voxels[rng.choice(len(voxels), min(10000, len(voxels)), replace=False)]
        layouts = [comp_blosc2_params(image.shape, patch, array.itemsize) for array in (image, labels)]
        (blocks, chunks), (blocks_seg, chunks_seg) = layouts
        nnUNetDatasetBlosc2.save_case(
            image,
            labels[None].astype(np.int8),
            {"class_locations": locations},
            str(folder / name),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=chunks_seg,
            blocks_seg=blocks_seg,
        )

    planar = len(patch) == 2
    dummy_2d = not planar and max(patch) / patch[0] > 3
    limit = np.pi if planar or dummy_2d else np.pi / 6
    rotation = (-limit, limit)
    window = get_patch_size(np.array(patch), rotation, rotation, rotation, (0.85, 1.25))
    if dummy_2d:
        window[0] = patch[0]
    transforms = nnUNetTrainer.get_training_transforms(
        patch, rotation, None, tuple(range(len(patch))), dummy_2d, use_mask_for_norm=[False]
    )
    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(folder)),
        setting["batch"],
        window,
        patch,
        SimpleNamespace(all_labels=[0, 1, 2], has_ignore_label=False),
        oversample_foreground_percent=0.33,
        transforms=transforms,
    )
    return lambda _: next(loader)


SIDES = {"ours": batches_of_ours, "peer": batches_of_peer}


def measure(side: str, setting_name: str, seconds: float) -> float:
    """Samples a second in this process."""
    import torch

    torch.set_num_threads(1)
    setting = SETTINGS[setting_name]
    with tempfile.TemporaryDirectory() as folder:
        make = SIDES[side](setting, Path(folder))
        warm_until, step = time.process_time() + seconds / 4, 0
        while time.process_time() < warm_until or step == 0:
            make(step)
            step += 1
        count, start = 0, time.process_time()
        while time.process_time() - start < seconds:
            make(step)
            step, count = step + 1, count + setting["batch"]
        return count / (time.process_time() - start)


def measure_in(python: str, side: str, setting: str, seconds: float) -> float:
    """The same in a process of its own, on one thread."""
    command = [python, __file__, "--measure", side, "--setting", setting, "--seconds", str(seconds)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(command, env={**os.environ, **one_thread}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="Python of an environment with nnunetv2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="time measured a repeat")
    parser.add_argument("--setting", choices=SETTINGS, help="this one only")
    parser.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.setting, options.seconds)))
        return
    pythons = {"ours": sys.executable} | ({"peer": options.peer_python} if options.peer_python else {})
    print(f"{'setting':24} {'ours /s':>9} {'peer /s':>9} {'ratio':>6}   (one core, median of {options.repeats})")
    for setting in [options.setting] if options.setting else SETTINGS:
        rates: dict[str, list[float]] = {side: [] for side in pythons}
        for _ in range(options.repeats):
            for side, python in pythons.items():
                rates[side].append(measure_in(python, side, setting, options.seconds))
        medians = {side: statistics.median(values) for side, values in rates.items()}
        peer = medians.get("peer")
        compared = f"{peer:9.1f} {medians['ours'] / peer:6.2f}" if peer else f"{'-':>9} {'-':>6}"
        print(f"{setting:24} {medians['ours']:9.1f} {compared}", flush=True)


if __name__ == "__main__":
    main()
