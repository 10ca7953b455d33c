"""A data set without labels from a file that lists its images, wherever they lie."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import stem_of, writable_ending
from autoseg.data.labels import LabelScheme
from autoseg.data.undescribed import channel_names, common_ending
from autoseg.errors import DatasetError

_FORMS = """a text file with the path of an image in each line, or
    a .csv file with a column for each channel: their names in the first line, then the paths of a case's images"""
_SHOWN = 5


def read_image_list(file: Path) -> Dataset:
    """The images that a text or CSV file lists, as cases without labels.

    A text file has the path of one image (or DICOM folder) in each line. A `.csv` file has the names of the channels in
    its first line and the paths of one case in each of the others. Paths are absolute or relative to the file's folder;
    empty lines and those that begin with # are passed over. A case is named by its first image; where several are named
    alike, by the folders above too.

    Raises:
        DatasetError: no such file, no text, nothing listed, images that do not exist, that are listed twice or whose
            paths differ in the ending alone, a line with too few or too many, or a CSV file without its first line.
    """
    file = file.resolve()
    rows = list(_rows(file))
    names, rows = (tuple(rows[0]), rows[1:]) if rows and file.suffix.lower() == ".csv" else (None, rows)
    if not rows:
        raise DatasetError("no image is listed", where=file, expected=_FORMS)
    if names is not None and any((file.parent / name).exists() for name in names):
        raise DatasetError(
            "the first line does not name the channels",
            where=file,
            got=", ".join(names),
            expected="names such as CT, or T1,T2",
            remedy="put a line with their names before the first case",
        )
    if names is not None and (odd := next((row for row in rows if len(row) != len(names) or not all(row)), None)):
        raise DatasetError(
            "a case has another number of images than there are channels",
            where=file,
            got=", ".join(odd),
            expected=f"{len(names)} ({', '.join(names)})",
        )
    cases = [tuple(Path(os.path.normpath(file.parent / name)) for name in row) for row in rows]
    listed = [path for images in cases for path in images]
    _refuse("images that do not exist are listed", file, [path for path in listed if not path.exists()])
    _refuse("images are listed twice", file, [path for path, times in Counter(listed).items() if times > 1])
    identifiers = _identifiers([images[0] for images in cases])
    alike = [images[0] for images, name in zip(cases, identifiers, strict=True) if identifiers.count(name) > 1]
    _refuse("images have the same name, but for its ending", file, alike)
    training = [Case(id=identifier, images=images) for identifier, images in zip(identifiers, cases, strict=True)]
    ending = common_ending(listed)
    return Dataset(
        name=file.stem,
        folder=file,
        layout="list",
        channels=channel_names(cases) if names is None else names,
        labels=LabelScheme(names={"background": 0}),
        file_ending=ending,
        label_ending=writable_ending(ending),
        training=tuple(sorted(training, key=lambda case: case.id)),
    )


def _rows(file: Path) -> Iterator[list[str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DatasetError(f"the list cannot be read ({reason})", where=file, expected=_FORMS) from None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if file.suffix.lower() != ".csv":
        return iter([[line] for line in lines])
    return ([cell.strip() for cell in row] for row in csv.reader(lines))


def _refuse(problem: str, file: Path, paths: Sequence[Path]) -> None:
    if paths:
        shown = ", ".join(str(path) for path in paths[:_SHOWN])
        more = f", ... ({len(paths)} in all)" if len(paths) > _SHOWN else ""
        raise DatasetError(problem, where=file, got=shown + more, remedy="mend these lines")


def _identifiers(images: Sequence[Path]) -> list[str]:
    """The name of each file without its ending, and before it as many folders as tell the images apart."""
    parts = [(*path.parts[1:-1], stem_of(path)) for path in images]
    names = [""] * len(parts)
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            break
    return names
