"""JSON and TOML files as people write them: what is accepted, and how mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoseg.documents import parse_json, read_json, read_toml
from autoseg.errors import ConfigurationError
from autoseg.records import Record, read_mapping

CONTENT = {"labels": {"background": 0, "Kopf-Hals-Tumor \N{LATIN SMALL LETTER U WITH DIAERESIS}": 1}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_are_recognised(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(json.dumps(CONTENT, ensure_ascii=False).encode(encoding))
    assert read_json(path) == CONTENT
    path.with_suffix(".toml").write_bytes('name = "\N{LATIN SMALL LETTER U WITH DIAERESIS}"'.encode(encoding))
    assert read_toml(path.with_suffix(".toml")) == {"name": "\N{LATIN SMALL LETTER U WITH DIAERESIS}"}


def test_another_encoding_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes('{\n "name": "M\N{LATIN SMALL LETTER U WITH DIAERESIS}ller"}'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="UTF-8") as caught:
        read_mapping(path)
    assert str(path) + ", line 2" in str(caught.value)
    assert "0xfc" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{\n "a": 1,\n}', 3, 1, "a comma after the last entry"),
        ('{\n "a": [1, 2,]\n}', 2, 13, "a comma after the last entry"),
        ("{\n 'a': 1}", 2, 2, "single quotes"),
        ('{\n "a": 1 // one\n}', 2, 9, "a comment"),
        ('{\n "a": 1,\n # two\n "b": 2}', 3, 2, "a comment"),
        ('{\n "a": NaN}', 2, 7, "NaN, which JSON does not have"),
        ('{\n "a": "NaN",\n "b": -Infinity}', 3, 7, "-Infinity, which JSON does not have"),
        ('{"a": 1,\n "b": {"a": 2},\n "a": 3}', 3, 2, '"a" is here a second time'),
        ('{"a": [{"b": 1, "b": 2}]}', 1, 17, '"b" is here a second time'),
        ('{"a": 1\n "b": 2}', 2, 2, "a comma is missing before this"),
        ('{"a" 1}', 1, 6, "a colon is missing"),
        ('{"a": True}', 1, 7, "true in small letters"),
        ('{"a": None}', 1, 7, "null"),
        ('{"a": 1}\n}', 2, 1, "text after the end"),
        ('{"a": [1, 2', 1, 12, "the file ends too early"),
        ("", 1, 1, "the file is empty"),
        ('{"a": "b\n}', 1, 9, "a line break"),
        ('{"p": "C:\\data"}', 1, 10, "a backslash"),
    ],
)
def test_mistakes_are_told_with_line_and_column(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_json(text, "dataset.json")
    error = caught.value
    assert error.where == f"dataset.json, line {line}, column {column}"
    assert words in error.subject
    assert error.got == (text.split("\n")[line - 1].strip() or None)


def test_a_long_line_is_shown_around_the_mistake() -> None:
    entries = ", ".join(f'"case_{number}": {number}' for number in range(1000))
    with pytest.raises(ConfigurationError) as caught:
        parse_json("{" + entries + ', "x": 1.}', "x.json")
    assert caught.value.got is not None
    assert len(caught.value.got) < 150
    assert '"x": 1.}' in caught.value.got


def test_not_a_number_is_accepted_where_other_programs_write_it(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"a": NaN, "b": 1}')
    assert read_mapping(tmp_path / "summary.json", nan=True)["b"] == 1
    with pytest.raises(ConfigurationError, match="second time"):
        parse_json('{"a": NaN, "a": NaN}', "x.json", nan=True)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_an_error_of_the_file(tmp_path: Path, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    path = tmp_path / "plan.json"
    path.write_text(opening * 5000 + "1" + closing * 5000)
    with pytest.raises(ConfigurationError, match="nested too deep") as caught:
        read_mapping(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigurationError, match="nested too deep"):
        Record.load(path)
    path.with_suffix(".toml").write_text("a = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigurationError, match=str(path.with_suffix(".toml"))):
        read_mapping(path.with_suffix(".toml"))


@pytest.mark.parametrize(
    ("text", "line", "column"), [("a = 1\nb = [1,\n", 3, 1), ("a = 1\nb = x\n", 2, 5), ("a = 1\na = 2\n", 2, 6)]
)
def test_mistakes_in_toml_are_told_with_line_and_column(tmp_path: Path, text: str, line: int, column: int) -> None:
    path = tmp_path / "choices.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is not valid TOML") as caught:
        read_toml(path)
    assert caught.value.where == f"{path}, line {line}, column {column}"


def test_names_that_are_there_twice_are_found_in_records(tmp_path: Path) -> None:
    class Width(Record):
        width: int

    (tmp_path / "plan.json").write_text('{"width": 1,\n "width": 2}')
    with pytest.raises(ConfigurationError, match="line 2, column 2"):
        Width.load(tmp_path / "plan.json")
