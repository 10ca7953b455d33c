"""Numbers with their nouns, and how far a work has come."""

from __future__ import annotations

import pytest

from autoseg.log import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "case", "0 cases"),
        (1, "case", "1 case"),
        (2, "case", "2 cases"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
        (2, "patch", "2 patches"),
        (2, "similarity", "2 similarities"),
        (2, "array", "2 arrays"),
        (2, "training case", "2 training cases"),
    ],
)
def test_a_number_has_its_noun_in_the_right_form(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
