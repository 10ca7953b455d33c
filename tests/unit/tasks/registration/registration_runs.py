"""Small stores and plans of registration for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoseg.data.image import Geometry, Image, IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.preprocessing.prepare import preprocess_case
from autoseg.preprocessing.store import Store, StoreInfo, claim, write_case
from autoseg.tasks.registration.learned.settings import LearnedPlan

STATISTICS = IntensityStatistics(0.0, 0.0, 1.0, -1.0, 1.0, -1.0, 1.0)
SHAPE = (16, 16, 16)


def learned(dimension: int = 3, **changes: object) -> LearnedPlan:
    """A very small network."""
    given = {
        "shape": SHAPE[:dimension], "spacing": (1.0,) * dimension, "features": (4, 4), "levels": 2, "labels": 2,
    }  # fmt: skip
    return LearnedPlan.from_mapping({**given, **changes})


def plan_of(network: LearnedPlan) -> Plan:
    """A plan with that network alone."""
    stages, dimension = len(network.features), network.dimension
    configuration = ConfigurationPlan(
        spacing=network.spacing, median_shape=network.shape, patch_size=network.shape,
        batch_size=network.batch_size, network="registration", strides=((2,) * dimension,) * stages,
        kernel_sizes=((3,) * dimension,) * stages, features_per_stage=network.features,
        blocks_per_stage=(1,) * stages, decoder_blocks_per_stage=(1,) * (stages - 1), normalization=("z-score",),
        use_mask_for_norm=(False,), batch_dice=False,
        options=network.model_dump(mode="json", exclude={"shape", "spacing", "features", "batch_size"}),
    )  # fmt: skip
    return Plan(
        dataset="phantom", planner="registration", task="registration", channels=("MRI",),
        labels=LabelScheme(names={"background": 0, "shell": 1, "core": 2}), dimension=dimension,
        transpose_forward=(0, 1, 2), intensities=(STATISTICS,), file_ending=".nii.gz",
        configurations={"registration": configuration},
    )  # fmt: skip


def ball(
    seed: int, geometry: Geometry | None = None, shape: tuple[int, int, int] = (14, 17, 18)
) -> tuple[Image, np.ndarray]:
    """A noisy ball with a core, off the middle, and its labels (Z, Y, X)."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(place - rng.normal(0, 1, 3) * (np.array(shape) > 1), axis=-1)
    labels = (distance < 6).astype(np.int16) + (distance < 3)
    array = 100.0 + 50 * labels + rng.normal(0, 4, shape)
    return Image(array.astype(np.float32)[None], geometry or Geometry()), labels


def store_of(folder: Path, plan: Plan, geometries: dict[str, Geometry]) -> Store:
    """A store with a ball a case."""
    configuration = plan.configurations["registration"]
    claim(folder, StoreInfo(digest="test"))
    for seed, (case, geometry) in enumerate(geometries.items()):
        shape = (1, 17, 18) if geometry.dimension == 2 else (14, 17, 18)
        image, labels = ball(seed, geometry, shape)
        prepared = preprocess_case(image, labels, plan, configuration)
        write_case(folder, case, prepared, {}, patch_size=configuration.patch_size, source="test")
    return Store(folder)
