"""This project's patches as a training gets them: a store of made-up cases, or samples a second of CPU time.

    python -m benchmarks.peer.sections.augmentation_ours make CASES STORE SETTING
    python -m benchmarks.peer.sections.augmentation_ours measure STORE SETTING --seconds S --seed N --out STATISTICS.npy
    python -m benchmarks.peer.sections.augmentation_ours profile STORE SETTING --seconds S

SETTING is JSON with `patch`, `batch` and `labels` (the largest one).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg.allocation import freed_memory_kept
from autoseg.batches.augment.policy import Policy
from autoseg.batches.sampling import ClassBalancedSampler
from autoseg.batches.source import Source, training_source
from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.plan.record import ConfigurationPlan, SamplerPlan
from autoseg.preprocessing.class_locations import class_locations
from autoseg.preprocessing.record import CaseProperties, PreparedCase
from autoseg.preprocessing.store import Store, StoreInfo, claim, write_case
from benchmarks.peer.patch_statistics import describe
from planners.augmentation import policy

DESCRIBED = 200  # patches a run at most, for the comparison of distributions


def make(cases: Path, folder: Path, setting: dict[str, Any]) -> None:
    """Writes cases as the preprocessing does."""
    claim(folder, StoreInfo(digest="benchmark"))
    for path in sorted(cases.glob("*.npz")):
        with np.load(path) as arrays:
            image, labels = arrays["image"], arrays["labels"].astype(np.int8)
        z, y, x = labels.shape
        properties = CaseProperties(
            channels=len(image),
            geometry=Geometry(),
            transpose=(0, 1, 2),
            shape_before_crop=(z, y, x),
            crop_box=((0, z), (0, y), (0, x)),
            shape=(z, y, x),
            spacing=(1, 1, 1),
        )
        prepared = PreparedCase(image, labels, properties)
        locations = class_locations(labels, scheme(setting))
        write_case(folder, path.stem, prepared, locations, patch_size=setting["patch"], source="benchmark")


def scheme(setting: dict[str, Any]) -> LabelScheme:
    """Background and that many labels."""
    return LabelScheme(names={"background": 0, **{f"label {n}": n for n in range(1, setting["labels"] + 1)}})


def make_source(folder: Path, setting: dict[str, Any], seed: int) -> Source:
    """What a training would make its batches with."""
    patch = tuple(setting["patch"])
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
    return training_source(store, store.cases, configuration, scheme(setting), seed=seed)


def measure(
    folder: Path,
    setting: dict[str, Any],
    seconds: float,
    seed: int,
    out: Path | None = None,
    begin: Callable[[], None] = lambda: None,
) -> float:
    """Samples a second of CPU time; keeps statistics of some of them. `begin` is called after the warm-up.

    Freed memory is kept, as it is in a training on a CPU and in the workers that are forked from one.
    """
    torch.set_num_threads(1)
    with freed_memory_kept():
        return _measure(folder, setting, seconds, seed, out, begin)


def _measure(
    folder: Path, setting: dict[str, Any], seconds: float, seed: int, out: Path | None, begin: Callable[[], None]
) -> float:
    source = make_source(folder, setting, seed)
    step, warm = 0, time.process_time() + seconds / 2
    while step == 0 or time.process_time() < warm:
        source.batch(step)
        step += 1
    begin()
    count, taken = 0, 0.0
    described: list[list[float]] = []
    while taken < seconds:
        start = time.process_time()
        batch = source.batch(step)
        taken += time.process_time() - start
        step, count = step + 1, count + source.batch_size
        if out is not None:
            for image, target in zip(batch.image.numpy(), batch.target.numpy(), strict=True):
                if len(described) < DESCRIBED:
                    described.append(describe(image, target[0], setting["labels"]))
    if out is not None:
        np.save(out, np.array(described))
    return count / taken


def profile(folder: Path, setting: dict[str, Any], seconds: float) -> dict[str, float]:
    """Share of the CPU time by what it is spent on."""
    spent: defaultdict[str, float] = defaultdict(float)
    transforms = {type(step.transform) for step in make_source(folder, setting, 0).policy.steps}
    parts: dict[str, list[tuple[Any, str]]] = {
        "reading": [(Store, "read_box")],
        "drawing": [(ClassBalancedSampler, "draw"), (Policy, "draw"), (Policy, "box"), (Source, "_rng")],
        "rotation and scaling": [(kind, "crop") for kind in transforms if hasattr(kind, "crop")],
        "mirroring": [(kind, "apply") for kind in transforms if kind.__name__ == "Mirror"],
        "intensities": [(k, "apply") for k in transforms if k.__name__ != "Mirror" and not hasattr(k, "crop")],
    }
    for part, places in parts.items():
        for owner, name in places:
            setattr(owner, name, _timed(getattr(owner, name), spent, part))
    total = 1 / measure(folder, setting, seconds, 0, begin=spent.clear)
    count = spent.pop("samples")
    shares = {part: spent[part] / count / total for part in parts}
    return {**shares, "the rest (stacking to batches)": 1 - sum(shares.values())}


def _timed(function: Callable[..., Any], spent: dict[str, float], part: str) -> Callable[..., Any]:
    def timed(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        result = function(*args, **options)
        spent[part] += time.process_time() - start
        spent["samples"] += function.__name__ == "read_box"
        return result

    return timed


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("make", "measure", "profile"))
    parser.add_argument("folders", type=Path, nargs="+", help="CASES STORE, or STORE")
    parser.add_argument("setting", type=json.loads)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    answer: dict[str, float] = {}
    if options.action == "make":
        cases, folder = options.folders
        make(cases, folder, options.setting)
    elif options.action == "measure":
        (folder,) = options.folders
        answer = {"rate": measure(folder, options.setting, options.seconds, options.seed, options.out)}
    else:
        (folder,) = options.folders
        answer = profile(folder, options.setting, options.seconds)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
