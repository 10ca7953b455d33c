"""The unpacked folder of a challenge as a data set of this project: links where files fit, new files where not."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from autoseg.data.files import ending_of, load_reader, write_image, write_labels
from autoseg.data.splits import Split, SplitRule, make_splits, save_splits, validate_splits
from autoseg.errors import AutosegError, DatasetError, ErrorGroup
from autoseg.processes import unordered
from autoseg.records import Record, read_mapping, write_json
from autoseg.studies.benchmark.files import Layout
from autoseg.studies.benchmark.layout import SourceCase, find_cases
from autoseg.studies.benchmark.ranges import expand_all
from autoseg.studies.benchmark.reading import read_source_image, read_source_labels, to_dataset_values
from autoseg.studies.benchmark.sections import Channel, Labels, Splits
from autoseg.studies.benchmark.specification import Specification

WHOLE_FILES = (".nii.gz", ".nii", ".nrrd", ".mha", ".tif", ".tiff", ".png", ".bmp")
"""Endings of image files that need no other file beside them, so that a link to one is enough."""

SPLITS = "splits.json"
_RECORD = "conversion.json"


class Conversion(Record):
    """What a converted folder was made of, and how; stands in it as conversion.json.

    Attributes:
        name: of the specification.
        data: the unpacked folder.
        channels, labels, layout, splits: the sections that decide what is written; results may be added later.
    """

    name: str
    data: str
    channels: tuple[Channel, ...]
    labels: Labels
    layout: Layout
    splits: Splits


@dataclass(frozen=True)
class _Task:
    """One case to convert."""

    case: SourceCase
    out: Path
    ending: str


def convert(specification: Specification, data: str | Path, out: str | Path, *, workers: int = 1) -> Path:
    """Makes a data set in nnU-Net's raw layout of the unpacked folder of a challenge.

    `out` gets imagesTr, labelsTr, dataset.json (written last), splits.json (the folds of the specification's rule) and
    conversion.json (what was converted). Files that fit are linked, or copied where links cannot be made; labels get
    the values of the specification's table. A conversion that was stopped goes on where it was; one that is finished
    is looked through and left as it is. The cases are those that are there: `verify` says which are not.

    Args:
        data: the unpacked folder.
        out: a folder that is new, empty, or of the same conversion.
        workers: processes.

    Returns:
        `out`.

    Raises:
        DatasetError: no case in `data`, incomplete cases, cases that cannot be read, labels with unknown values (all
            cases together), or an `out` that holds something else.
    """
    data, out = Path(data).resolve(), Path(out)
    cases = find_cases(specification, data)
    _refuse_incomplete(specification, data, cases)
    splits = splits_of(specification, [case.id for case in cases])
    _claim(specification, data, out)
    ending = specification.layout.ending or ending_of(cases[0].images[0])
    load_reader(cases[0].images[0])
    tasks = [_Task(case, out, ending) for case in cases]
    done = unordered(partial(_convert, specification), tasks, "converting cases", workers=workers)
    if problems := [error for error in done if error is not None]:
        raise ErrorGroup(f"{specification.title} cannot be converted", problems, remedy="fetch these cases again")
    save_splits(out / SPLITS, splits)
    write_json(out / "dataset.json", specification.description(ending, len(cases)))
    return out


def split_rule(dataset: str | Path) -> SplitRule:
    """The folds of a converted folder, for a run on it."""
    return SplitRule(file=Path(dataset) / SPLITS)


def splits_of(specification: Specification, identifiers: list[str]) -> tuple[Split, ...]:
    """The folds that a specification prescribes for these cases; fixed ones leave out cases that are not there.

    Raises:
        DatasetError: too few cases, or a fold of which no case is left on one side.
    """
    rule = specification.splits
    if rule.rule == "nnunet-5-fold":
        return make_splits(identifiers, SplitRule())
    splits = []
    for texts in rule.validation:
        patterns = expand_all(texts)
        chosen = {name for name in identifiers if any(fnmatchcase(name, pattern) for pattern in patterns)}
        train = tuple(sorted(set(identifiers) - chosen))
        splits.append(Split(train=train, validation=tuple(sorted(chosen))))
    validate_splits(splits, identifiers, where=specification.name)
    return tuple(splits)


def _refuse_incomplete(specification: Specification, data: Path, cases: tuple[SourceCase, ...]) -> None:
    problems = [
        DatasetError("the case is incomplete", where=case.id, expected=", ".join(case.missing))
        for case in cases
        if case.missing
    ]
    if problems:
        raise ErrorGroup(f"{data} is not complete", problems, remedy=specification.download)


def _claim(specification: Specification, data: Path, out: Path) -> None:
    """Notes in the folder what is made there, and refuses a folder that holds anything else."""
    conversion = Conversion(
        name=specification.name,
        data=str(data),
        channels=specification.channels,
        labels=specification.labels,
        layout=specification.layout,
        splits=specification.splits,
    )
    note = out / _RECORD
    if note.is_file():
        if Conversion.from_mapping(read_mapping(note), where=note) != conversion:
            raise DatasetError(
                "the folder holds another conversion",
                where=out,
                expected=f"{specification.name} of {data}",
                remedy="choose another folder, or remove this one",
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise DatasetError("the folder is not empty", where=out, remedy="choose a new folder")
    conversion.save(note)


def _convert(specification: Specification, task: _Task) -> AutosegError | None:
    """Makes the files of one case that are not there yet; its error, if it has one, is returned."""
    try:
        for channel, path in enumerate(task.case.images):
            target = task.out / "imagesTr" / f"{task.case.id}_{channel:04d}{task.ending}"
            if specification.layout.as_they_are and _fits(path, task.ending):
                _link(path, target)
            elif not target.exists():
                write_image(target, read_source_image(path, task.case.page, specification.layout))
        _convert_label(specification, task)
    except AutosegError as error:
        return error
    return None


def _convert_label(specification: Specification, task: _Task) -> None:
    layout, labels, case = specification.layout, specification.labels, task.case
    target = task.out / "labelsTr" / f"{case.id}{task.ending}"
    unchanged = layout.as_they_are and not layout.instances and not labels.file_values
    if case.label is not None and unchanged and _fits(case.label, task.ending):
        _link(case.label, target)
        return
    if target.exists():
        return
    read = read_source_labels(case, layout)
    try:
        values = to_dataset_values(read.array[0], labels, derived=case.label is None or layout.instances)
    except DatasetError as error:
        raise DatasetError(error.subject, where=case.id, got=error.got, expected=error.expected) from None
    write_labels(target, values, read.geometry)


def _fits(path: Path, ending: str) -> bool:
    return path.name.endswith(ending) and ending in WHOLE_FILES


def _link(source: Path, target: Path) -> None:
    """A link to a file, in place of one that leads elsewhere; a copy where the file system has no links."""
    if target.is_symlink() and target.resolve() == source.resolve():
        return
    if target.exists() and not target.is_symlink():
        return
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as beside:
            Path(shutil.copyfile(source, Path(beside) / target.name)).replace(target)
