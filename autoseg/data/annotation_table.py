"""Which classes were looked for in each case: a table, in dataset.json or in a CSV file beside the images."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset
from autoseg.data.labels import LabelScheme
from autoseg.documents import read_text
from autoseg.errors import ConfigurationError, DatasetError
from autoseg.log import counted
from autoseg.records import nearest

TABLE = "annotated.csv"
"""The file that is looked for in a data set's folder."""

FIELD = "annotated"
"""The field of dataset.json: the table itself, or the name of its file."""

Annotated = dict[str, tuple[str, ...]]
"""Case -> names of the foreground classes that were looked for; cases with all of them are left out."""

_FORMS = f'''"{FIELD}": {{"case_a": ["liver", "spleen"]}} in dataset.json, or a file {TABLE} with the columns
            case,classes and rows such as case_a,liver;spleen, or with a column of 0 and 1 for every class'''
_CASE_COLUMNS = ("case", "id", "identifier")
_CLASSES_COLUMN = "classes"


def read_annotated(folder: Path, field: Any, scheme: LabelScheme, cases: Collection[str] | None) -> Annotated:
    """The table of a data set: the `annotated` of its dataset.json, or the file annotated.csv in its folder.

    A CSV file has the case in the column `case` (or `id`, `identifier`), else in the first. Its other column is
    `classes`, names with semicolons between them, or there is a column for every class with 1 where it was looked for
    and 0 where not. Cases that the table does not name have all classes.

    Args:
        folder: of the data set; a file that `field` names is relative to it.
        field: what dataset.json says; None where it says nothing.
        scheme: names the classes, or regions.
        cases: identifiers that the table may name; None allows every name, as where a part of them is looked at.

    Returns:
        Case -> classes in the order of the scheme, without the cases that have all of them; empty without a table.

    Raises:
        DatasetError: no such file, a table that is not understood, and, all together: unknown cases and classes, cases
            named twice, cases without a class, and classes that are looked for in none of the `cases`.
    """
    file = folder / (field if isinstance(field, str) else TABLE)
    if field is not None and not isinstance(field, (str, Mapping)):
        raise DatasetError(
            "the table of annotated classes is not understood",
            where=f"{folder / 'dataset.json'}: {FIELD}",
            got=repr(field)[:200],
            expected=_FORMS,
        )
    if field not in (None, TABLE) and (folder / TABLE).is_file():
        raise DatasetError(
            "there are two tables of annotated classes",
            where=folder,
            got=f"{FIELD} in dataset.json, and {TABLE}",
            expected="one",
            remedy="remove one of them",
        )
    if isinstance(field, Mapping):
        where, rows = f"{folder / 'dataset.json'}: {FIELD}", [(case, _listed(row)) for case, row in field.items()]
        return _checked(where, rows, scheme, cases, [])
    if field is None and not file.is_file():
        return {}
    problems: list[str] = []
    return _checked(str(file), _rows(file, scheme, problems), scheme, cases, problems)


def annotated_as(dataset: Dataset, field: Any) -> Dataset:
    """The data set with what its table says of its training cases; `field` is the `annotated` of dataset.json.

    Raises:
        DatasetError: as `read_annotated`.
    """
    if not dataset.labels.foreground:  # one that is read for its images alone need not name labels
        return dataset
    table = read_annotated(dataset.folder, field, dataset.labels, dataset.identifiers)
    cases = tuple(case.model_copy(update={"annotated": table.get(case.id)}) for case in dataset.training)
    ignored = tuple(path for path in dataset.ignored if path != dataset.folder / TABLE)
    return dataset.model_copy(update={"training": cases, "ignored": ignored})


def annotated_of_cases(cases: Iterable[Case]) -> Annotated:
    """The table that cases of a data set make: those of which not all classes were looked for."""
    return {case.id: case.annotated for case in cases if case.annotated is not None}


def never_looked_for(cases: Sequence[Case], scheme: LabelScheme) -> tuple[str, ...]:
    """Classes that were looked for in none of the cases, so that nothing tells a network what they are."""
    return tuple(
        name for name in scheme.foreground if all(name not in (case.annotated or scheme.foreground) for case in cases)
    )


def _listed(row: Any) -> tuple[str, ...] | None:
    """The names of a list; None for anything else."""
    if not isinstance(row, list) or not all(isinstance(name, (str, int)) for name in row):
        return None
    return tuple(str(name) for name in row)


def _checked(
    where: str,
    rows: Sequence[tuple[str, tuple[str, ...] | None]],
    scheme: LabelScheme,
    cases: Collection[str] | None,
    problems: list[str],
) -> Annotated:
    """The table without rows that say "all"; raises what is wrong with it, all together.

    Args:
        where: the table, for the message.
        rows: case and names; None for a row that is no list of names.
        scheme: names the classes.
        cases: that the table may name; None for any.
        problems: found already, in words.
    """
    classes = tuple(scheme.foreground)
    table: Annotated = {}
    for case, names in rows:
        if cases is not None and case not in cases:
            problems.append(f"{case}: there is no such case with a label{_guess(case, cases)}")
        if case in table:
            problems.append(f"{case}: the case has two rows")
        if names is None:
            problems.append(f"{case}: a list of class names is expected")
        elif not names:
            problems.append(f"{case}: no class was looked for; name one, or take the case out of the training cases")
        for name in names or ():
            if name not in classes:
                problems.append(f"{case}: there is no class {name!r}{_guess(name, classes)}")
        table[case] = tuple(name for name in classes if name in (names or ()))
    nowhere = [name for name in classes if cases and all(name not in table.get(case, classes) for case in cases)]
    if nowhere and not problems:
        problems.append(f"{', '.join(nowhere)}: looked for in no case, so that nothing can be learned of it")
    if problems:
        raise DatasetError(
            f"the table of annotated classes has {counted(len(problems), 'error')}",
            where=where,
            got="\n            ".join(problems),
            expected=f"cases of the data set with some of the classes {', '.join(classes)}",
        )
    return {case: names for case, names in table.items() if names != classes}


def _guess(name: str, names: Collection[str]) -> str:
    guess = nearest(name, names)
    return f"; did you mean {guess!r}?" if guess else ""


def _rows(path: Path, scheme: LabelScheme, problems: list[str]) -> list[tuple[str, tuple[str, ...] | None]]:
    """Case and classes of every line of a CSV file; what is wrong with single lines is added to `problems`."""
    try:
        text = read_text(path)
        first = text.partition("\n")[0]
        reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(first))
        lines = [[cell.strip() for cell in row] for row in reader]
    except (ConfigurationError, csv.Error) as error:
        reason = error.subject if isinstance(error, ConfigurationError) else str(error)
        raise DatasetError(
            f"the table of annotated classes cannot be read ({reason})",
            where=path,
            expected=_FORMS,
            remedy="check the path; it is to be UTF-8 text",
        ) from None
    names, *rows = [row for row in lines if any(row)] or [[]]
    own = next((i for i, name in enumerate(names) if name.casefold() in _CASE_COLUMNS), 0)
    others = {name: i for i, name in enumerate(names) if i != own and name}
    odd = [row[own] if own < len(row) else ",".join(row) for row in rows if len(row) != len(names)]
    problems += [f"{case}: the row has not as many fields as the first line" for case in odd]
    rows = [row for row in rows if len(row) == len(names)]
    if set(others) == {_CLASSES_COLUMN}:
        listed = others[_CLASSES_COLUMN]
        return [(row[own], tuple(filter(None, (n.strip() for n in row[listed].split(";"))))) for row in rows]
    classes = set(scheme.foreground)
    if set(others) != classes or len(set(names)) < len(names):
        raise DatasetError(
            "the columns of the table of annotated classes are not understood",
            where=path,
            got=", ".join(names) or "an empty file",
            expected=f"case and {_CLASSES_COLUMN}, or case and every one of {', '.join(scheme.foreground)}, once each",
        )
    for row in rows:
        wrong = [f"{name} {row[at]!r}" for name, at in others.items() if row[at] not in ("0", "1")]
        problems += [f"{row[own]}: 0 or 1 is expected; got {', '.join(wrong)}"] if wrong else []
    return [(row[own], tuple(name for name, at in others.items() if row[at] == "1")) for row in rows]


def _delimiter(head: str) -> str:
    """Tab, semicolon or comma, whichever the first line has most of."""
    return max("\t;,", key=head.count) if any(mark in head for mark in "\t;,") else ","
