"""Seconds from a data set to preprocessed cases, beside nnU-Net v2's.

`python benchmarks/preprocess_vs_nnunet.py DATASET --peer-python PYTHON` runs, in turns, both command lines for the
same three stages on the same files with the same number of processes, start-up included:

    nnUNetv2_extract_fingerprint --verify_dataset_integrity    autoseg fingerprint
    nnUNetv2_plan_experiment                                   autoseg plan
    nnUNetv2_preprocess                                        autoseg preprocess

PYTHON is the interpreter of an environment in which nnU-Net v2 is installed. Everything is written to a temporary
folder. Prints a line a run and the medians with their ratios; exit code 0, or 1 if a command fails.
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
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import read_case, read_labels, write_image, write_labels
from autoseg.data.labels import LabelScheme
from autoseg.processes import usable_cores

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("fingerprint", "plan", "preprocess")
NAME = "Dataset001_Benchmark"


def convert(dataset: Dataset, raw: Path) -> None:
    """Writes the data set in nnU-Net v2's layout; files that fit as they are become links."""
    folder = raw / NAME
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for case in dataset.training:
        _convert_case(case, dataset, folder)
    scheme = dataset.labels
    description = {
        "channel_names": {str(i): name for i, name in enumerate(dataset.channels)},
        "labels": _label_table(scheme),
        "regions_class_order": [scheme.values.index(value) for value in scheme.region_order],
        "numTraining": len(dataset.training),
        "file_ending": dataset.file_ending,
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def _convert_case(case: Case, dataset: Dataset, folder: Path) -> None:
    scheme, ending = dataset.labels, dataset.file_ending
    targets = [folder / "imagesTr" / f"{case.id}_{i:04d}{ending}" for i in range(len(dataset.channels))]
    picture = ending in (".png", ".bmp", ".jpg")  # colours stay in one file
    if picture or len(case.images) == len(targets):
        for path, target in zip(case.images, targets, strict=False):
            target.symlink_to(path.resolve())
    else:
        image = read_case(case, len(targets))
        for channel, target in zip(image.array, targets, strict=True):
            write_image(target, image.with_array(channel[None]))
    if case.label is None:
        raise SystemExit(f"{case.id} has no label")
    target = folder / "labelsTr" / f"{case.id}{ending}"
    if scheme.values == tuple(range(len(scheme.values))) and case.label.name.endswith(ending):
        target.symlink_to(case.label.resolve())
    else:
        labels = read_labels(case.label)
        write_labels(target, scheme.encode(labels.array[0]), labels.geometry)


def _label_table(scheme: LabelScheme) -> dict[str, int | list[int]]:
    table: dict[str, int | list[int]] = {"background": 0}
    for name, values in scheme.training_foreground.items():
        table[name] = list(values) if scheme.regions else values[0]
    if scheme.training_ignore is not None:
        table["ignore"] = scheme.training_ignore
    return table


def run_nnunet(python: Path, work: Path, raw: Path, configuration: str, workers: int) -> dict[str, float]:
    """Seconds a stage of nnU-Net's commands."""
    scripts = python.parent
    environment = os.environ | {
        "nnUNet_raw": str(raw),
        "nnUNet_preprocessed": str(work / "preprocessed"),
        "nnUNet_results": str(work / "results"),
    }
    commands = (
        ["nnUNetv2_extract_fingerprint", "-d", "1", "-np", str(workers), "--verify_dataset_integrity"],
        ["nnUNetv2_plan_experiment", "-d", "1"],
        ["nnUNetv2_preprocess", "-d", "1", "-c", configuration, "-np", str(workers)],
    )
    return {
        stage: _seconds([str(scripts / command[0]), *command[1:]], environment)
        for stage, command in zip(STAGES, commands, strict=True)
    }


def run_autoseg(dataset: Path, work: Path, configuration: str, workers: int) -> dict[str, float]:
    """Seconds a stage of this project's commands."""
    autoseg = [sys.executable, "-m", "autoseg"]
    out = str(work / "run")
    commands = (
        [*autoseg, "fingerprint", str(dataset), "--out", out, "--workers", str(workers)],
        [*autoseg, "plan", out, "--planner", "default"],
        [*autoseg, "preprocess", out, "--configurations", configuration, "--workers", str(workers)],
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return {stage: _seconds(command, environment) for stage, command in zip(STAGES, commands, strict=True)}


def _seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--peer-python", type=Path, required=True, help="python of an environment with nnU-Net v2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes of both; one a usable core")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {"nnU-Net": [], "autoseg": []}
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary) / "raw"
        dataset = discover(options.dataset)
        convert(dataset, raw)
        print(f"{dataset.name}: {len(dataset.training)} cases, {options.workers} processes, {options.configuration}")
        for repeat in range(options.repeats):
            for side in runs:
                work = Path(temporary) / f"{side}{repeat}"
                work.mkdir()
                if side == "nnU-Net":
                    seconds = run_nnunet(options.peer_python, work, raw, options.configuration, options.workers)
                else:
                    seconds = run_autoseg(options.dataset.resolve(), work, options.configuration, options.workers)
                runs[side].append(seconds)
                parts = "  ".join(f"{stage} {value:6.2f}" for stage, value in seconds.items())
                print(f"run {repeat + 1}  {side:8}  {parts}  total {sum(seconds.values()):6.2f} s", flush=True)
    print(f"\n{'median':12}  nnU-Net  autoseg  ratio")
    for stage in (*STAGES, "total"):
        peer, own = (statistics.median(_of(run, stage) for run in runs[side]) for side in runs)
        print(f"{stage:12}  {peer:7.2f}  {own:7.2f}  {peer / own:5.1f}")


def _of(seconds: dict[str, float], stage: str) -> float:
    return sum(seconds.values()) if stage == "total" else seconds[stage]


if __name__ == "__main__":
    main()
