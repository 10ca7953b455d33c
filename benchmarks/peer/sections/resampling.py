"""Resampling of images, labels and logits: the call alone, and the memory of the process around it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.peer.context import Context
from benchmarks.peer.programs import Finished, alternate, run, with_programs
from benchmarks.peer.records import Floor, Row, Section, Unit

TITLE = "Resampling"
SAME = 1e-5
"""Largest difference that counts as rounding, of values whose deviation is 1."""

LABELS = 5
_TAPS = {1: 2, 3: 4}
"""Samples that an output value of a spline depends on once it is prefiltered."""


@dataclass(frozen=True)
class Setting:
    """What is resampled: shapes (Z, Y, X), spacings in mm, of channels or of labels."""

    name: str
    before: tuple[int, int, int]
    shape: tuple[int, int, int]
    spacing_from: tuple[float, float, float]
    spacing_to: tuple[float, float, float]
    channels: int = 1
    labels: bool = False
    order: int = 3


_VOLUME = ((120, 160, 160), (150, 200, 200), (1.25, 1.0, 1.0), (1.0, 0.8, 0.8))
_SLICES = ((40, 256, 256), (30, 320, 320), (5.0, 0.8, 0.8), (6.667, 0.64, 0.64))
SETTINGS = (
    Setting("image, cubic", *_VOLUME),
    Setting("labels", *_VOLUME, labels=True),
    Setting("image of thick slices, cubic in the plane", *_SLICES),
    Setting("labels of thick slices", *_SLICES, labels=True),
    Setting("logits of 25 classes, linear", (64, 80, 80), (80, 112, 112), *_VOLUME[2:], channels=25, order=1),
)


def measure(context: Context) -> Section:
    """Every setting in a process of its own, in turns with nnU-Net's."""
    return Section(
        work=f"Noise with a deviation of 1, and {LABELS} labels in smooth regions. The call alone is timed, on one "
        "thread as in the worker processes of a preprocessing: `resize` and `resize_labels` against "
        "`resample_data_or_seg_to_shape` as nnU-Net's default plan calls it; the memory is that of the whole process.",
        rows=tuple(_row(context, setting) for setting in SETTINGS),
    )


def _row(context: Context, setting: Setting) -> Row:
    folder = context.folder("resampling") / setting.name.replace(" ", "_").replace(",", "")
    folder.mkdir(exist_ok=True)
    np.save(folder / "array.npy", array_of(setting))
    (folder / "setting.json").write_text(json.dumps(asdict(setting)), encoding="utf-8")
    environment = {"OMP_NUM_THREADS": "1"}
    ours_command = (context.python, "-m", "benchmarks.peer.sections.resampling_ours", folder)
    peer_command = (*context.peer_script("resampling"), folder)
    peer_environment = {**context.peer_environment(context.folder("resampling") / "peer"), **environment}
    ours, peer = alternate(
        lambda: run(ours_command, env=environment), lambda: run(peer_command, env=peer_environment), context.repeats
    )
    agreement, agrees = _compare(folder, setting)
    row = Row(
        setting=f"{setting.name}, {_words(setting.before)} to {_words(setting.shape)}",
        unit=Unit.SECONDS,
        ours=(),
        peer=(),
        agreement=agreement,
        agrees=agrees,
        floor=_floor(context, setting),
    )
    return with_programs(row, [_call(one) for one in ours], [_call(one) for one in peer])


def array_of(setting: Setting) -> np.ndarray:
    """(C, Z, Y, X): noise, float32; or int8 labels in smooth regions, one channel."""
    rng = np.random.default_rng(0)
    if not setting.labels:
        return rng.standard_normal((setting.channels, *setting.before), dtype=np.float32)
    smooth = gaussian_filter(rng.standard_normal(setting.before, dtype=np.float32), 6)
    inner = np.quantile(smooth, np.linspace(0.5, 0.95, LABELS - 1))
    return np.digitize(smooth, inner).astype(np.int8)[None]


def _call(finished: Finished) -> Finished:
    return Finished(finished.answer()["seconds"], finished.peak_mb, "")


def _compare(folder: Path, setting: Setting) -> tuple[str, bool]:
    ours, peer = np.load(folder / "ours.npy"), np.load(folder / "peer.npy")
    if setting.labels:
        different = int(np.count_nonzero(ours != peer))
        return f"labels differ in {different} of {ours.size} voxels", different == 0
    largest = float(np.abs(ours - peer).max())
    return f"largest difference {largest:.1e}", largest <= SAME


def _floor(context: Context, setting: Setting) -> Floor:
    """Operations of a spline along each axis in turn, and the bytes read and written by each; the longer of both."""
    voxels, operations, size = setting.channels * prod(setting.before), 0, 1 if setting.labels else 4
    moved = 0
    taps = _TAPS[1 if setting.labels else setting.order]
    for old, new in sorted(zip(setting.before, setting.shape, strict=True), key=lambda axis: axis[1] / axis[0]):
        after = voxels * new // old
        operations += 2 * taps * after
        moved += size * (voxels + after)
        voxels = after
    computing, moving = operations / context.peaks.float32, moved / context.peaks.bandwidth
    how = (
        f"three axes, {moved / 1e6:.0f} MB moved at {context.peaks.bandwidth / 1e9:.1f} GB/s, "
        f"{operations / 1e9:.2f} G operations at {context.peaks.float32 / 1e9:.0f} G/s"
    )
    return Floor(seconds=max(computing, moving), how=how)


def _words(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))
