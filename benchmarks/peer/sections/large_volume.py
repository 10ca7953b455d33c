"""A volume of 512 x 512 x 300 voxels with 25 classes through either side's command line, reading to writing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from autoseg.data.files import read_labels
from autoseg.inference.tiling import count_tiles
from autoseg.plan.cost import TRAINING_PASSES, multiply_adds
from autoseg.preprocessing.resample import resampled_shape
from autoseg.training.runtime import Runtime
from benchmarks.peer import programs
from benchmarks.peer.context import Context
from benchmarks.peer.records import Floor, Row, Section, Unit
from benchmarks.peer.sections import large_volume_work as work

TITLE = "Prediction of a large volume"
SHAPE = (300, 512, 512)
SPACING = (1.0, 0.7, 0.7)
REPEATS = 2
"""At most: nnU-Net takes minutes."""

_REQUIRED, _REQUIRED_MEMORY = 4.0, 0.25
_EQUAL = 0.99
"""Share of voxels that must be equal: nnU-Net sums logits in half precision, which decides where two are close."""


def measure(context: Context) -> Section:
    """Predicts the volume in turns; the model and the volume are made once."""
    return measure_volume(context, SHAPE)


def measure_volume(context: Context, shape: Sequence[int]) -> Section:
    """The section with a volume of any shape (Z, Y, X)."""
    folder = context.folder(f"large_volume_{'x'.join(map(str, shape))}")
    images = folder / "images"
    if not images.exists():
        _make(context, folder, images, shape)
    ours_out, peer_out = folder / "ours_labels", folder / "peer_labels"

    def ours() -> programs.Finished:
        shutil.rmtree(ours_out, ignore_errors=True)
        return programs.run(
            [*context.autoseg, "predict", folder / "imported", images, "--out", ours_out, "--no-mirroring",
             "--device", "cpu"]
        )  # fmt: skip

    def peer() -> programs.Finished:
        shutil.rmtree(peer_out, ignore_errors=True)
        return programs.run(
            [context.peer_command("nnUNetv2_predict_from_modelfolder"), "-i", images, "-o", peer_out,
             "-m", folder / "nnunet", "-f", "0", "--disable_tta", "-device", "cpu", "-npp", "1", "-nps", "1"],
            env=context.peer_environment(folder / "peer"),
        )  # fmt: skip

    taken = programs.alternate(ours, peer, min(REPEATS, context.repeats))
    equal = _share_equal(ours_out, peer_out)
    row = Row(
        setting=f"{' x '.join(map(str, reversed(shape)))} voxels, {work.CLASSES} classes, both command lines",
        unit=Unit.SECONDS,
        ours=(),
        peer=(),
        agreement=f"{100 * equal:.3f} % of voxels equal",
        agrees=equal >= _EQUAL,
        required=_REQUIRED,
        required_memory=_REQUIRED_MEMORY,
        floor=_floor(context, shape),
    )
    return Section(
        work=_described(shape), rows=(programs.with_programs(row, *taken),), profile=_profile(context, folder, images)
    )


def _make(context: Context, folder: Path, images: Path, shape: Sequence[int]) -> None:
    """The model as either side trains it: ours in this project's form, nnU-Net's from it, and the import of that."""
    shutil.rmtree(folder)
    run, nnunet, imported = folder / "run", folder / "nnunet", folder / "imported"
    work.write_run(run, Runtime())
    programs.run([*context.autoseg, "export", run, "--format", "nnunet", "--out", nnunet])
    programs.run([*context.autoseg, "import-nnunet", nnunet, "--out", imported])
    made = folder / "images.part"
    made.mkdir()
    work.write_volume(made / "body_0000.nii.gz", shape, SPACING)
    made.rename(images)


def _described(shape: Sequence[int]) -> str:
    planned = resampled_shape(shape, SPACING, work.PLAN_SPACING)
    return (
        f"From an int16 image on disk to its label file: resampled to {' x '.join(map(str, planned))} voxels, tiles of "
        f"{' x '.join(map(str, work.PATCH))} with half overlap through a U-Net of {work.FEATURES[0]} to "
        f"{work.FEATURES[-1]} features in single precision without mirroring, logits resampled to the image. The same "
        "weights on either side. nnU-Net reads and writes with one process each, which is its smallest."
    )


def _share_equal(ours: Path, peer: Path) -> float:
    """Of all voxels, how many have the same label in both folders' only file."""
    one, other = (read_labels(next(folder.glob("*.nii.gz"))).array for folder in (ours, peer))
    return float(np.mean(one == other))


def _floor(context: Context, shape: Sequence[int]) -> Floor:
    """The network's operations at the peak, and each voxel of image, logits and labels moved once."""
    plan = work.plan_of_the_work().configurations[work.CONFIGURATION]
    planned = resampled_shape(shape, SPACING, work.PLAN_SPACING)
    tiles = count_tiles(planned, work.PATCH)
    one = 2 * multiply_adds(plan, 1, work.CLASSES) / (TRAINING_PASSES * plan.batch_size)
    moved = prod(shape) * (2 + 1) + prod(planned) * 4 * (1 + work.FEATURES[0])
    peaks = context.peaks
    return Floor(
        seconds=tiles * one / peaks.float32 + moved / peaks.bandwidth,
        how=f"{tiles} tiles x {one / 1e9:.1f} GFLOP / {peaks.float32 / 1e9:.0f} GFLOP/s + image, preprocessed image, "
        f"features and labels once, {moved / 1e9:.2f} GB / {peaks.bandwidth / 1e9:.1f} GB/s",
    )


def _profile(context: Context, folder: Path, images: Path) -> tuple[str, ...]:
    """Our parts one after the other in a process of their own."""
    script = "benchmarks.peer.sections.large_volume_ours"
    found = programs.run([context.python, "-m", script, folder / "imported", next(images.iterdir())]).answer()
    total = sum(found.values())
    parts = ", ".join(f"{name} {seconds:.1f} s ({100 * seconds / total:.0f} %)" for name, seconds in found.items())
    return (f"One part after the other, {total:.1f} s: {parts}.",)
