"""One data set prepared for both sides: nnU-Net's raw folder and its preprocessed one, and a run of this project."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import read_case, read_labels, write_image, write_labels
from autoseg.data.labels import LabelScheme
from autoseg.data.raster import PICTURE_ENDINGS
from benchmarks.peer.context import Context
from benchmarks.peer.programs import run

NAME = "Dataset001_Benchmark"
"""nnU-Net's name of the data set; its commands take the number in it."""

NUMBER = "1"


def write_raw(dataset: Dataset, raw: Path, name: str = NAME) -> Path:
    """Writes the training cases in nnU-Net v2's raw layout; files that fit as they are become links.

    Args:
        dataset: with a label for each training case.
        raw: nnU-Net's folder of raw data sets; made if it is not there.
        name: of the new folder below it, "Dataset" and three digits first.

    Returns:
        The new folder: imagesTr, labelsTr and dataset.json.

    Raises:
        FileExistsError: it is there already.
        ValueError: a case without label.
    """
    folder = raw / name
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for case in dataset.training:
        _write_case(case, dataset, folder)
    scheme = dataset.labels
    description = {
        "channel_names": {str(i): channel for i, channel in enumerate(dataset.channels)},
        "labels": _label_table(scheme),
        "regions_class_order": [scheme.values.index(value) for value in scheme.region_order],
        "numTraining": len(dataset.training),
        "file_ending": dataset.file_ending,
    }
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def prepared_peer(context: Context) -> Path:
    """nnU-Net's folders of the context's data set, made by nnU-Net's commands at the first call.

    Returns:
        The folder for `Context.peer_environment`: `raw`, and `preprocessed` with the fingerprint, the default plan
        (nnUNetPlans) and the cases of 3d_fullres and 2d. The data set is `NAME`.
    """

    def fill(folder: Path) -> None:
        environment = context.peer_environment(folder)
        write_raw(discover(context.data), folder / "raw")
        processes = ("-np", str(context.cores))
        for name, *words in (
            ("nnUNetv2_extract_fingerprint", *processes),
            ("nnUNetv2_plan_experiment",),
            ("nnUNetv2_preprocess", "-c", "3d_fullres", "2d", *processes),
        ):
            run([context.peer_command(name), "-d", NUMBER, *words], env=environment)

    return _made_once(context.work / "peer", fill)


def prepared_ours(context: Context) -> Path:
    """A run of the context's data set with the default planner's plan and all its cases, made at the first call."""

    def fill(folder: Path) -> None:
        workers = ("--workers", str(context.cores))
        run([*context.autoseg, "fingerprint", context.data.resolve(), "--out", folder, *workers])
        run([*context.autoseg, "plan", folder, "--planner", "default"])
        run([*context.autoseg, "preprocess", folder, *workers])

    return _made_once(context.work / "ours", fill)


def _made_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """The folder, filled beside its place and renamed, so that an interrupted call leaves nothing half done."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part").resolve()
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        fill(part)
        part.rename(folder)
    return folder


def _write_case(case: Case, dataset: Dataset, folder: Path) -> None:
    scheme, ending = dataset.labels, dataset.file_ending
    targets = [folder / "imagesTr" / f"{case.id}_{i:04d}{ending}" for i in range(len(dataset.channels))]
    if ending in PICTURE_ENDINGS:  # colours stay in one file
        targets = targets[: len(case.images)]
    if len(case.images) == len(targets):
        for path, target in zip(case.images, targets, strict=True):
            target.symlink_to(path.resolve())
    else:
        image = read_case(case, len(targets))
        for channel, target in zip(image.array, targets, strict=True):
            write_image(target, image.with_array(channel[None]))
    if case.label is None:
        raise ValueError(f"{case.id} has no label")
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
