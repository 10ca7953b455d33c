"""Which cases belong together (scans of one patient, say), and so must not stand on both sides of a split."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import ConfigurationError, DatasetError
from autoseg.log import counted
from autoseg.records import unknown_name

_TABLE = re.compile(r"(?P<file>.+\.(?:csv|tsv)):(?P<column>[^:]+)", re.IGNORECASE)
_IDENTIFIER_COLUMNS = ("case", "id", "identifier")

_LIKELY = (
    r"^(sub-[^_]+)_",  # BIDS
    r"(?i)((?:patient|subject|subj|patid|pat|pid|sub)[-_ ]?\d+)(?!\d)",
)
"""Patterns of identifiers that name the patient."""

_NUMBERED = (
    *("slice", "sl", "frame", "fr", "phase", "echo", "view", "volume", "stack", "patch", "tile", "crop", "roi"),
    *("session", "ses", "visit", "scan", "study", "series", "timepoint", "time", "tp", "day", "week", "month", "year"),
)
"""Words that number what there is of a patient."""

_NAMED = (
    *("pre", "post", "preop", "postop", "before", "after", "baseline", "followup", "follow-up", "bl", "fu"),
    *("left", "right", "l", "r", "ed", "es", "systole", "diastole", "inspiration", "expiration", "insp", "exp"),
    *("ct", "cta", "mr", "mri", "pet", "t1", "t1c", "t1ce", "t2", "flair", "dwi", "adc", "arterial", "venous"),
)
"""Words that tell one image of a patient from another."""

_BEHIND_NUMBER = (r"^(\D*\d+)[-_.]", r"^(\D*\d+\D+\d+)[-_.]", r"^(.*\d)[A-Za-z]$")
"""Patterns of identifiers in which something stands behind a patient's number, the likelier first."""

_MOST_SCANS = 12
"""Cases of one patient that are not numbered as his; larger groups are sites or years rather than patients."""


@dataclass(frozen=True)
class LikelyGroups:
    """Cases that look as if several were of one patient.

    Attributes:
        pattern: of `group_cases`, that puts them together.
        patients: how many there would be.
        shared: how many of them would have several cases.
        example: the cases of one.
    """

    pattern: str
    patients: int
    shared: int
    example: tuple[str, ...]


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


def likely_groups(identifiers: Sequence[str]) -> LikelyGroups | None:
    """What identifiers say of several cases that came from one patient; None where they say nothing of the kind."""
    words = [
        (_words_pattern(identifiers, _NUMBERED, r"[-_. ]?\d+"), None),
        (_words_pattern(identifiers, _NAMED), _MOST_SCANS),
    ]
    patterns = [
        *((pattern, _MOST_SCANS) for pattern in _LIKELY),
        *((pattern, most) for pattern, most in words if pattern is not None),
        *((pattern, _MOST_SCANS) for pattern in _BEHIND_NUMBER),
    ]
    for pattern, most in patterns:
        matches = [re.search(pattern, name) for name in identifiers]
        groups = Counter(match[1] for match in matches if match is not None)
        if sum(groups.values()) < len(identifiers) or len(groups) < 2:
            continue
        group, largest = groups.most_common(1)[0]
        if largest >= 2 and (most is None or largest <= most):
            example = sorted(match.string for match in matches if match is not None and match[1] == group)
            shared = sum(count > 1 for count in groups.values())
            return LikelyGroups(pattern, len(groups), shared, tuple(example))
    return None


def _words_pattern(identifiers: Iterable[str], words: Iterable[str], number: str = r"[-_. ]?\d*") -> str | None:
    """A pattern of what stands before any of the words that occur; None if none does. It fits every identifier."""
    found = sorted(
        word
        for word in words
        if any(re.search(rf"(?i).[-_. ]+{word}{number}(?![A-Za-z\d])", name) for name in identifiers)
    )
    return rf"(?i)^(.+?)(?:[-_. ]+(?:{'|'.join(found)}){number}(?![A-Za-z\d]).*)?$" if found else None


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
