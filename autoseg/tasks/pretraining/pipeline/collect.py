"""The images of a pretraining: those of several folders, less the held-out ones and their copies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Case, Dataset
from autoseg.data.digest import case_digests
from autoseg.data.discovery import discover
from autoseg.data.image_list import read_image_list
from autoseg.data.splits import load_splits
from autoseg.errors import ConfigurationError, DatasetError
from autoseg.log import counted, logger
from autoseg.tasks.pretraining.trainer.sources import ImageSource, Sources


@dataclass(frozen=True)
class HoldOut:
    """A fold whose validation images are kept out."""

    file: Path
    fold: int

    def __str__(self) -> str:
        return f"{self.file}:{self.fold}"


@dataclass(frozen=True)
class Collected:
    """The images as one data set of unlabelled cases, and where each comes from."""

    dataset: Dataset
    sources: Sources


@dataclass(frozen=True)
class _FolderImage:
    """One image of a folder."""

    folder: int
    case: Case
    channels: int
    held_out: bool


def parse_source(text: str) -> tuple[Path, float]:
    """A folder, or a file that lists images, with its weight from FOLDER or FOLDER=WEIGHT.

    Raises:
        ConfigurationError: a weight that is no positive number.
    """
    folder, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return Path(text), 1.0
    if not re.fullmatch(r"\d+(\.\d+)?", weight) or float(weight) <= 0:
        raise ConfigurationError("is no weight", where=text, got=weight, expected="a positive number, as in FOLDER=2.0")
    return Path(folder), float(weight)


def parse_hold_out(text: str) -> HoldOut:
    """A fold of a file of splits from FILE:FOLD.

    Raises:
        ConfigurationError: another form, or no such file.
    """
    file, colon, fold = text.rpartition(":")
    if not colon or not fold.isdigit():
        raise ConfigurationError(
            "names no fold to hold out", where="--hold-out", got=text, expected="FILE:FOLD, such as splits.json:0"
        )
    if not Path(file).is_file():
        raise ConfigurationError("the splits do not exist", where=file, remedy="check the path")
    return HoldOut(Path(file).resolve(), int(fold))


def collect(folders: Sequence[tuple[Path, float]], hold_out: HoldOut | None = None, *, workers: int = 1) -> Collected:
    """All images of some folders, those for training and those for testing, without their labels.

    Of a fold that is held out every validation image stays out, and every other image with the same voxels, whatever
    its name, folder or file format. All images are read for that.

    Args:
        folders: with the weight of their images; a file lists its images instead (`read_image_list`).
        hold_out: a fold of one of these data sets.
        workers: processes.

    Raises:
        DatasetError: a folder holds no data set, folders have different numbers of channels, or nothing is left.
        ConfigurationError: a folder twice, or splits that fit none of the data sets.
    """
    datasets = _discover(folders)
    owner, validation = _held_out(datasets, hold_out)
    discovered = [
        _FolderImage(number, case, len(dataset.channels), number == owner and case.id in validation)
        for number, dataset in enumerate(datasets)
        for case in (*dataset.training, *dataset.unlabelled)
    ]
    digests = case_digests([(image.case, image.channels) for image in discovered], workers=workers)
    refused = {digest for image, digest in zip(discovered, digests, strict=True) if image.held_out}
    names = _names(discovered, datasets, one_folder=len(datasets) == 1)
    kept = [index for index, digest in enumerate(digests) if digest not in refused]
    sources = Sources(
        sources=tuple(
            ImageSource(
                name=dataset.name,
                folder=dataset.folder,
                weight=weight,
                cases=tuple(names[index] for index in kept if discovered[index].folder == number),
                held_out=tuple(image.case.id for image in discovered if image.folder == number and image.held_out),
                copies=tuple(
                    image.case.id
                    for image, digest in zip(discovered, digests, strict=True)
                    if image.folder == number and digest in refused and not image.held_out
                ),
            )
            for number, (dataset, (_, weight)) in enumerate(zip(datasets, folders, strict=True))
        ),
        digests={names[index]: digests[index] for index in kept},
        hold_out=None if hold_out is None else str(hold_out),
    )
    cases = [discovered[index].case.model_copy(update={"id": names[index], "label": None}) for index in kept]
    if not cases:
        raise DatasetError("no image is left to learn from", where=datasets[0].folder, remedy="give more images")
    _tell(sources, hold_out)
    return Collected(_merged(datasets, cases), sources)


def _discover(folders: Sequence[tuple[Path, float]]) -> tuple[Dataset, ...]:
    datasets = tuple(
        read_image_list(source) if source.is_file() else discover(source, labelled=False) for source, _ in folders
    )
    if len({dataset.folder for dataset in datasets}) < len(datasets):
        raise ConfigurationError("a folder is given twice", got=", ".join(str(path) for path, _ in folders))
    for dataset in datasets[1:]:
        if len(dataset.channels) != len(datasets[0].channels):
            raise DatasetError(
                "the folders have images with different numbers of channels",
                where=dataset.folder,
                got=f"{len(dataset.channels)} ({', '.join(dataset.channels)})",
                expected=f"{len(datasets[0].channels)} ({', '.join(datasets[0].channels)}), as in {datasets[0].folder}",
                remedy="pretrain on one kind of images at a time",
            )
        if dataset.channels != datasets[0].channels:
            logger.info("note: channels are %s in %s", ", ".join(dataset.channels), dataset.folder)
    return datasets


def _held_out(datasets: Sequence[Dataset], hold_out: HoldOut | None) -> tuple[int, frozenset[str]]:
    """Which data set a fold is of, and the identifiers of its validation images; (-1, none) if nothing is held out."""
    if hold_out is None:
        return -1, frozenset()
    problems = []
    for number, dataset in enumerate(datasets):
        try:
            splits = load_splits(hold_out.file, dataset.identifiers)
        except DatasetError as error:
            problems.append(error)
            continue
        if hold_out.fold >= len(splits):
            raise ConfigurationError(
                f"there is no fold {hold_out.fold}", where=hold_out.file, expected=f"0 to {len(splits) - 1}"
            )
        return number, frozenset(splits[hold_out.fold].validation)
    if len(problems) == 1:
        raise problems[0]
    raise ConfigurationError(
        "the splits fit none of the data sets, so that nothing can be held out",
        where=hold_out.file,
        got="; ".join(f"{dataset.folder.name}: {e.subject}" for dataset, e in zip(datasets, problems, strict=True)),
        remedy="give the splits.json of a run on one of these data sets",
    )


def _names(discovered: Sequence[_FolderImage], datasets: Sequence[Dataset], *, one_folder: bool) -> tuple[str, ...]:
    """An identifier for each image: its own where it is the only one of that name, else with the data set's name."""
    taken: set[str] = set()
    names = []
    for image in discovered:
        name = image.case.id if one_folder else f"{datasets[image.folder].folder.name}.{image.case.id}"
        number, chosen = 2, name
        while chosen in taken:
            number, chosen = number + 1, f"{name}.{number}"
        taken.add(chosen)
        names.append(chosen)
    return tuple(names)


def _merged(datasets: Sequence[Dataset], cases: Iterable[Case]) -> Dataset:
    """One data set with these cases, none of which has a label."""
    first = datasets[0]
    return first.model_copy(
        update={
            "name": " + ".join(dict.fromkeys(dataset.name for dataset in datasets)),
            "training": tuple(sorted(cases, key=lambda case: case.id)),
            "unlabelled": (),
            "unmatched_images": (),
            "unmatched_labels": (),
            "missing_files": tuple(path for dataset in datasets for path in dataset.missing_files),
            "missing_channels": {},
            "ignored": tuple(path for dataset in datasets for path in dataset.ignored),
            "warnings": (),
        }
    )


def _tell(sources: Sources, hold_out: HoldOut | None) -> None:
    for source in sources.sources:
        weight = "" if source.weight == 1 else f", weight {source.weight:g}"
        logger.info("%s of %s%s", counted(len(source.cases), "image"), source.folder, weight)
    if hold_out is not None:
        held_out = sum(len(source.held_out) for source in sources.sources)
        copies = [copy for source in sources.sources for copy in source.copies]
        more = f", and {len(copies)} with the same voxels ({', '.join(copies[:5])})" if copies else ""
        logger.info("held out: %s of fold %d%s", counted(held_out, "image"), hold_out.fold, more)
