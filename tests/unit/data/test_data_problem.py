"""How problems are told: errors first, many of one kind as one line."""

from __future__ import annotations

from typing import Literal

from autoseg.data.problem import Problem, format_problem, format_problems, summary_line


def a_problem(severity: Literal["error", "warning", "note"], what: str, file: str, **clauses: str) -> Problem:
    return Problem(code=what.replace(" ", "-"), severity=severity, what=what, file=file, **clauses)


MANY = [
    a_problem("warning", "is odd", f"/data/labels/c{number}.nii.gz", got=str(number), expected="0", remedy="look")
    for number in range(12)
]
FEW = [a_problem("error", "is wrong", f"/data/images/c{number}.nii.gz") for number in range(3)]
NOTE = a_problem("note", "was assumed", "/data")


def test_errors_come_first_and_many_alike_are_one_line() -> None:
    lines = format_problems([NOTE, *MANY, *FEW])
    assert lines == [
        "error: /data/images/c0.nii.gz: is wrong",
        "error: /data/images/c1.nii.gz: is wrong",
        "error: /data/images/c2.nii.gz: is wrong",
        "warning: /data/labels: is odd; 12 files, such as c0.nii.gz (got 0), c1.nii.gz (got 1), c2.nii.gz (got 2); "
        "expected 0; to do: look",
        "note: /data: was assumed",
    ]


def test_each_is_a_line_when_asked() -> None:
    assert format_problems([*MANY, NOTE], each=True) == [format_problem(one) for one in (*MANY, NOTE)]


def test_several_of_one_file_and_files_of_several_folders() -> None:
    of_one = [a_problem("error", "is wrong", "/data/a.png", got=str(number)) for number in range(5)]
    assert format_problems(of_one) == [
        "error: /data: is wrong; 5 times in 1 file, such as a.png (got 0), a.png (got 1), a.png (got 2)"
    ]
    apart = [a_problem("error", "is wrong", f"/data/{number}/a.png", got="7") for number in range(4)]
    assert format_problems(apart) == ["error: /data: is wrong; 4 files, such as 0/a.png, 1/a.png, 2/a.png; got 7"]


def test_the_summary_counts_notes_only_where_there_are_some() -> None:
    assert summary_line([]) == "0 errors, 0 warnings"
    assert summary_line([*FEW, MANY[0]]) == "3 errors, 1 warning"
    assert summary_line([NOTE]) == "0 errors, 0 warnings, 1 note"
