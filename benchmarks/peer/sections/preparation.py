"""From a data set to preprocessed cases: both command lines, three commands each, start-up included."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import blosc2
import numpy as np

from autoseg.data.discovery import discover
from autoseg.plan.record import Plan
from autoseg.plan.sharing import store_of
from autoseg.preprocessing.store import Store
from autoseg.workspace import Run
from benchmarks.peer.context import Context
from benchmarks.peer.layout import NAME, NUMBER, write_raw
from benchmarks.peer.programs import ROOT, Finished, alternate, run, with_programs
from benchmarks.peer.records import Floor, Row, Section, Unit

TITLE = "Fingerprint, plan and preprocessing"
STAGES = ("fingerprint", "plan", "preprocess")
REQUIRED = 8.0
SAME = 1e-5
"""Largest difference of normalised intensities that counts as rounding of single precision."""


def measure(context: Context) -> Section:
    """The three commands of either side in turns, into new folders each time."""
    folder = context.folder("preparation")
    peer = folder / "peer"
    if not (peer / "raw" / NAME / "dataset.json").exists():
        shutil.rmtree(peer, ignore_errors=True)
        write_raw(discover(context.data), peer / "raw")
    configuration = _configuration(context, folder / "run")
    single: list[Finished] = []

    def run_peer() -> list[Finished]:
        _new(peer / "preprocessed")
        single.append(_peer_at_once(context, peer, configuration))
        _new(peer / "preprocessed")
        return _peer(context, peer, configuration)

    ours, theirs = alternate(lambda: _ours(context, _new(folder / "run"), configuration), run_peer, context.repeats)
    written = Run(folder / "run")
    agreement, agrees = compare(
        Store(written.preprocessed(store_of(Plan.load(written.plan), configuration))),
        peer / "preprocessed" / NAME / f"nnUNetPlans_{configuration}",
    )
    floor = _floor(context, written.root)
    rows = [
        with_programs(_row(stage), [one[place] for one in ours], [one[place] for one in theirs])
        for place, stage in enumerate(STAGES)
    ]
    whole = _row("all three").model_copy(
        update={"required": REQUIRED, "agreement": agreement, "agrees": agrees, "floor": floor}
    )
    ours_whole = [_joined(one) for one in ours]
    rows.append(with_programs(whole, ours_whole, [_joined(one) for one in theirs]))
    rows.append(with_programs(_row("ours as above, nnU-Net's one command for all"), ours_whole, single))
    cases = len(discover(context.data).training)
    return Section(
        work=f"{context.data.name}, {cases} cases, {configuration}, {context.cores} processes each: `autoseg "
        "fingerprint` (which also checks), `plan` and `preprocess` against `nnUNetv2_extract_fingerprint "
        "--verify_dataset_integrity`, `nnUNetv2_plan_experiment` and `nnUNetv2_preprocess`; last row: "
        "`nnUNetv2_plan_and_preprocess`.",
        rows=tuple(rows),
        profile=_profile(context, configuration),
    )


def compare(ours: Store, peer: Path) -> tuple[str, bool]:
    """How the preprocessed cases of both sides compare, in words, and whether they are the same.

    Args:
        peer: nnU-Net's folder with `<case>.b2nd` (C, Z, Y, X) and `<case>_seg.b2nd` (1, Z, Y, X).
    """
    names = sorted(path.stem for path in peer.glob("*.b2nd") if not path.stem.endswith("_seg"))
    if list(ours.cases) != names:
        return f"{len(ours.cases)} cases here, {len(names)} there", False
    largest, voxels, different = 0.0, 0, 0
    for name in names:
        image, labels = ours.read(name)
        expected = blosc2.open(str(peer / f"{name}.b2nd"), mode="r")[:]
        expected_labels = blosc2.open(str(peer / f"{name}_seg.b2nd"), mode="r")[:][0]
        if image.shape != expected.shape:
            return f"{name}: shape {image.shape} here, {expected.shape} there", False
        largest = max(largest, float(np.abs(image - expected).max()))
        different += int(np.count_nonzero(labels != expected_labels))
        voxels += labels.size
    text = f"{len(names)} cases: intensities differ by at most {largest:.1e}, labels in {different} of {voxels} voxels"
    return text, largest <= SAME and not different


def _row(stage: str) -> Row:
    return Row(setting=stage, unit=Unit.SECONDS, ours=(), peer=())


def _joined(stages: Sequence[Finished]) -> Finished:
    """Commands one after the other: the sum of their times, the largest of their peaks."""
    return Finished(sum(one.seconds for one in stages), max(one.peak_mb for one in stages), "")


def _configuration(context: Context, scratch: Path) -> str:
    """The full resolution, which plane images have not."""
    _ours(context, _new(scratch), None)
    return "3d_fullres" if "3d_fullres" in Plan.load(Run(scratch).plan).configurations else "2d"


def _ours(context: Context, out: Path, configuration: str | None) -> list[Finished]:
    workers = ("--workers", str(context.cores))
    commands: list[tuple[str | Path, ...]] = [
        ("fingerprint", context.data, "--out", out, *workers),
        ("plan", out, "--planner", "default"),
    ]
    if configuration is not None:
        commands.append(("preprocess", out, "--configurations", configuration, *workers))
    return [run([*context.autoseg, *command]) for command in commands]


def _peer(context: Context, folder: Path, configuration: str) -> list[Finished]:
    processes = ("-np", str(context.cores))
    commands = (
        ("nnUNetv2_extract_fingerprint", *processes, "--verify_dataset_integrity"),
        ("nnUNetv2_plan_experiment",),
        ("nnUNetv2_preprocess", "-c", configuration, *processes),
    )
    environment = context.peer_environment(folder)
    return [run([context.peer_command(name), "-d", NUMBER, *words], env=environment) for name, *words in commands]


def _peer_at_once(context: Context, folder: Path, configuration: str) -> Finished:
    command = context.peer_command("nnUNetv2_plan_and_preprocess")
    cores = str(context.cores)
    words = ("-d", NUMBER, "-c", configuration, "-npfp", cores, "-np", cores, "--verify_dataset_integrity")
    return run([command, *words], env=context.peer_environment(folder))


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _floor(context: Context, run_folder: Path) -> Floor:
    """Bytes that must pass through memory: files twice, as both passes read them, and the store once."""
    cases = discover(context.data).training
    read = 2 * sum(
        path.stat().st_size for case in cases for path in (*case.images, *([case.label] if case.label else []))
    )
    written = sum(path.stat().st_size for path in (run_folder / "preprocessed").rglob("*") if path.is_file())
    moved = (read + written) / context.peaks.bandwidth
    how = (
        f"{read / 1e6:.0f} MB of files read (twice each) and {written / 1e6:.0f} MB written, at "
        f"{context.peaks.bandwidth / 1e9:.1f} GB/s; start-up and decompression not counted"
    )
    return Floor(seconds=moved, how=how)


def _profile(context: Context, configuration: str) -> tuple[str, ...]:
    """Shares of a pass in one process."""
    script = ROOT / "benchmarks" / "peer" / "sections" / "preparation_profile.py"
    out = _new(context.folder("preparation") / "profile")
    command: list[str | Path] = [
        context.python,
        "-m",
        f"benchmarks.peer.sections.{script.stem}",
        context.data,
        out,
        configuration,
    ]
    found = run(command).answer()
    _new(out)
    return tuple(
        f"`{stage}` in one process: "
        + ", ".join(f"{part} {100 * seconds / sum(parts.values()):.0f} %" for part, seconds in parts.items())
        + f" of {sum(parts.values()):.2f} s"
        for stage, parts in found.items()
    )
