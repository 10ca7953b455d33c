"""Training patches a second of one core: read, sampled, augmented and stacked to batches by either side's default."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import log, prod, sqrt
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from autoseg.plan.record import Plan
from autoseg.workspace import Run
from benchmarks.peer.context import Context
from benchmarks.peer.layout import NAME, prepared_ours, prepared_peer
from benchmarks.peer.machine import Peaks
from benchmarks.peer.patch_statistics import NAMES
from benchmarks.peer.programs import alternate, run
from benchmarks.peer.records import Floor, Row, Section, Unit

TITLE = "Augmentation"
REQUIRED = 4.0
SECONDS = 4.0
"""Of CPU time a run."""

CHANCE = 0.001
"""With which the samples of equal distributions differ more than is allowed, a setting."""

_DECIMALS = 5
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_OURS = "benchmarks.peer.sections.augmentation_ours"


@dataclass(frozen=True)
class Setting:
    """Patches of a size from batches of a size; `labels` is the largest label."""

    patch: tuple[int, ...]
    batch: int
    labels: int = 2

    @property
    def size(self) -> str:
        """In words."""
        return "x".join(map(str, self.patch))


@dataclass(frozen=True)
class Made:
    """A setting on made-up cases of about a shape."""

    setting: Setting
    shape: tuple[int, int, int]
    words: str
    cases: int = 3


@dataclass(frozen=True)
class Work:
    """A setting with the folders of preprocessed cases of either side."""

    name: str
    setting: Setting
    ours: Path
    peer: Path


MADE = (
    Made(Setting((128, 128, 128), 2), (150, 170, 160), "large patches"),
    Made(Setting((20, 256, 256), 2), (30, 320, 320), "flat patches, turned slice by slice"),
    Made(Setting((320, 320), 12), (12, 400, 400), "slices"),
)
"""Sizes that plans of larger data sets have."""


def measure(context: Context) -> Section:
    """Every setting in a process of its own, in turns with nnU-Net's; the cases are made once."""
    works = [*_of_the_data(context), *(_of_made_cases(context, made) for made in MADE)]
    return Section(
        work="Preprocessed cases on disk (in the system's cache) become batches of the trainer's default augmentation: "
        "places are drawn, boxes read, transformed and stacked. One process on one thread, samples a second of its CPU "
        "time. nnU-Net's targets of deep supervision are not made, and it measures its blurs before it is timed.",
        rows=tuple(_row(context, work) for work in works),
        profile=tuple(f"{work.name}: {_profile(context, work)}" for work in works),
    )


def _row(context: Context, work: Work) -> Row:
    folder = context.folder("augmentation")
    statistics: dict[str, list[Path]] = {"ours": [], "peer": []}

    def rate(side: str, command: tuple[str | Path, ...], store: Path) -> float:
        out = folder / f"{side}_{len(statistics[side])}.npy"
        words = ("measure", store, json.dumps(asdict(work.setting)), "--seconds", SECONDS, "--out", out)
        done = run([*command, *map(str, words), "--seed", str(len(statistics[side]))], env=_ONE_THREAD)
        statistics[side].append(out)
        return float(done.answer()["rate"])

    ours, peer = alternate(
        lambda: rate("ours", _ours(context), work.ours),
        lambda: rate("peer", context.peer_script("augmentation"), work.peer),
        context.repeats,
    )
    agreement, agrees = compare(*(np.concatenate([np.load(path) for path in paths]) for paths in statistics.values()))
    return Row(
        setting=f"{work.name}: {work.setting.size}, batch {work.setting.batch}",
        unit=Unit.RATE,
        ours=tuple(ours),
        peer=tuple(peer),
        agreement=agreement,
        agrees=agrees,
        required=REQUIRED,
        floor=floor(work.setting, context.peaks),
    )


def compare(ours: np.ndarray, peer: np.ndarray) -> tuple[str, bool]:
    """The largest Kolmogorov-Smirnov distance of both sides, and whether equal distributions have such a one.

    Args:
        ours, peer: statistics of patches, (n, len(NAMES)) each.
    """
    limit = sqrt(-log(CHANCE / len(NAMES) / 2) / 2 * (1 / len(ours) + 1 / len(peer)))
    # A patch that shows a whole normalised image has a mean of zero but for rounding, which is not compared.
    columns = zip(ours.T.round(_DECIMALS), peer.T.round(_DECIMALS), strict=True)
    distances = [float(ks_2samp(a, b).statistic) for a, b in columns]
    worst = int(np.argmax(distances))
    words = (
        f"{len(ours)} and {len(peer)} patches: of {len(NAMES)} distributions {NAMES[worst]} differs most, "
        f"by {distances[worst]:.3f} (chance: {limit:.3f})"
    )
    return words, distances[worst] <= limit


def floor(setting: Setting, peaks: Peaks) -> Floor:
    """The bytes that a patch must move through memory, over one core's share of the bandwidth.

    Each voxel is read once as it is stored (4 and 1 bytes) and written once to the batch (4 and 2 bytes). All that
    happens to it between could stay in the cache.
    """
    size = prod(setting.patch) * (4 + 1 + 4 + 2)
    bandwidth = peaks.bandwidth / peaks.cores
    how = f"{size / 1e6:.2g} MB read and written / {bandwidth / 1e9:.1f} GB/s of a core"
    return Floor(seconds=size / bandwidth, how=how)


def _of_the_data(context: Context) -> list[Work]:
    run_folder = Run(prepared_ours(context))
    plan = Plan.load(run_folder.plan)
    peer = prepared_peer(context) / "preprocessed" / NAME
    return [
        Work(
            f"{context.data.resolve().name}, {name}",
            Setting(one.patch_size, one.batch_size, len(plan.labels.values) - 1),
            run_folder.preprocessed(name),
            peer / f"nnUNetPlans_{name}",
        )
        for name, one in plan.configurations.items()
        if name in ("3d_fullres", "2d")
    ]


def _of_made_cases(context: Context, made: Made) -> Work:
    folder = context.folder("augmentation") / f"cases_{made.setting.size}"
    if not (folder / "done").exists():
        cases = folder / "cases"
        cases.mkdir(parents=True, exist_ok=True)
        write_cases(cases, made.shape, made.cases)
        setting = json.dumps(asdict(made.setting))
        run([*_ours(context), "make", cases, folder / "ours", setting])
        run([*context.peer_script("augmentation"), "make", cases, folder / "peer", setting])
        (folder / "done").touch()
    return Work(f"made-up, {made.words}", made.setting, folder / "ours", folder / "peer")


def write_cases(folder: Path, shape: tuple[int, ...], count: int) -> None:
    """Cases as `case_<n>.npz` with `image` float32 (1, Z, Y, X) and `labels` int16 (Z, Y, X): two balls in noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        sizes = [n + int(rng.integers(-2, 3)) for n in shape]
        axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in sizes), indexing="ij")
        radius = np.sqrt(sum(np.square(axis + rng.uniform(-0.2, 0.2)) for axis in axes))
        labels = (radius < 0.6).astype(np.int16) + (radius < 0.35)
        image = labels + 0.3 * axes[0] + rng.normal(0, 0.5, sizes)
        np.savez(folder / f"case_{number}.npz", image=image[None].astype(np.float32), labels=labels)


def _profile(context: Context, work: Work) -> str:
    words = ("profile", work.ours, json.dumps(asdict(work.setting)), "--seconds", SECONDS)
    shares = run([*_ours(context), *map(str, words)], env=_ONE_THREAD).answer()
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{part} {share:.0%}" for part, share in ordered)


def _ours(context: Context) -> tuple[str | Path, ...]:
    return (context.python, "-m", _OURS)
