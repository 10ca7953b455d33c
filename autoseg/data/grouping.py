"""Which cases belong together (scans of one patient, say), and so must not stand on both sides of a split."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from autoseg.errors import ConfigurationError, DatasetError
from autoseg.log import counted
from autoseg.records import unknown_name

_TABLE = re.compile(r"(?P<file>.+\.(?:csv|tsv)):(?P<column>[^:]+)", re.IGNORECASE)
_IDENTIFIER_COLUMNS = ("case", "id", "identifier")

_LIKELY = (
    r"^(sub-[^_]+)_",  # BIDS
    r"(?i)((?:patient|subject|subj|patid|pat|pid|sub)[-_ ]?\d+)(?!\d)",
    r"^(\D*\d+)[-_.]",
    r"^(\D*\d+\D+\d+)[-_.]",
    r"^(.*\d)[A-Za-z]$",
)
"""Patterns of identifiers in which something stands behind a patient's number, the likelier first."""

_MOST_SCANS = 12
"""Cases of one patient; larger groups are sites or years rather than patients."""


def group_cases(identifiers: Iterable[str], group_by: str) -> dict[str, str]:
    r"""The group of each case.

    Args:
        identifiers: of all cases.
        group_by: a regular expression with one group, searched for in every identifier (`patient(\d+)_`), or
            `FILE.csv:COLUMN`, a table with a row per case. Its identifiers stand in the column `case`, `id` or
            `identifier`, else in the first.

    Raises:
        ConfigurationError: no such file or column, or no regular expression with one group.
        DatasetError: cases without a group; all are listed.
    """
    cases = sorted(identifiers)
    table = _TABLE.fullmatch(group_by)
    if table is not None:
        groups = _from_table(Path(table["file"]), table["column"])
        where, remedy = table["file"], f"add rows with a value in the column {table['column']!r}"
    else:
        groups = _from_pattern(cases, group_by)
        where, remedy = f"--group-by {group_by}", "write a pattern that is found in every identifier"
    if missing := [case for case in cases if not groups.get(case)]:
        belong = "belongs" if len(missing) == 1 else "belong"
        raise DatasetError(
            f"{len(missing)} of {counted(len(cases), 'case')} {belong} to no group",
            where=where,
            got=", ".join(missing),
            expected="a group for every case",
            remedy=remedy,
        )
    return {case: groups[case] for case in cases}


def suspicious_groups(identifiers: Sequence[str]) -> str | None:
    """A note for the user where identifiers look as if several cases came from one patient, else None.

    It names the option and the pattern that would keep them together.
    """
    for pattern in _LIKELY:
        matches = [re.search(pattern, name) for name in identifiers]
        groups = Counter(match[1] for match in matches if match is not None)
        if sum(groups.values()) < len(identifiers) or len(groups) < 2:
            continue
        group, largest = groups.most_common(1)[0]
        if 2 <= largest <= _MOST_SCANS:
            several = sorted(match.string for match in matches if match is not None and match[1] == group)
            shared = sum(count > 1 for count in groups.values())
            return (
                f"identifiers look as if {shared} of {len(groups)} patients had several cases ({', '.join(several[:3])}"
                f"{', ...' if largest > 3 else ''}); if so, keep each patient's cases on one side of the splits with "
                f"--group-by '{pattern}'"
            )
    return None


def _from_pattern(cases: Sequence[str], pattern: str) -> dict[str, str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(
            f"is no regular expression ({error})",
            where=f"--group-by {pattern}",
            expected="a pattern such as patient(\\d+)_, or FILE.csv:COLUMN",
        ) from None
    if compiled.groups != 1:
        raise ConfigurationError(
            "the pattern does not say which part of an identifier is the group",
            where=f"--group-by {pattern}",
            got=f"{counted(compiled.groups, 'group')} in parentheses",
            expected="one, such as patient(\\d+)_, or FILE.csv:COLUMN",
        )
    matches = ((case, compiled.search(case)) for case in cases)
    return {case: match[1] for case, match in matches if match is not None and match[1] is not None}


def _from_table(path: Path, column: str) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            delimiter = max("\t;,", key=head.count)
            stream.seek(0)
            rows = list(csv.reader(stream, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(
            f"the table of groups cannot be read ({error})", where=path, remedy="check the path; it is to be UTF-8 text"
        ) from None
    names = [name.strip() for name in rows[0]] if rows else []
    if column not in names:
        raise unknown_name("column", column, names, where=path)
    position = names.index(column)
    own = next((i for i, name in enumerate(names) if name.casefold() in _IDENTIFIER_COLUMNS), 0)
    groups: dict[str, str] = {}
    for row in rows[1:]:
        if len(row) <= max(position, own):
            continue
        case, group = row[own].strip(), row[position].strip()
        if groups.setdefault(case, group) != group:
            raise DatasetError(
                "a case is in two groups", where=f"{path}: {case}", got=f"{groups[case]}, {group}", expected="one group"
            )
    return groups
