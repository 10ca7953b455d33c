"""JSON and TOML files as people write them: read in the encoding they have, refused with line and column."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from autoseg.errors import ConfigurationError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(?=(\s*:)?)|[{}\[\]]|-?Infinity|NaN', re.DOTALL)
"""Text (with what follows the name of an entry), brackets, and the words that Python's reader adds to JSON."""

_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_LONGEST_LINE = 120
"""Characters of a line that are shown around the place where it is wrong."""

_AFTER_LAST = "a comma after the last entry, or nothing before one"
_HINTS = {
    "'": "single quotes; JSON has double ones",
    "/": "a comment, which JSON does not have",
    "#": "a comment, which JSON does not have",
    "T": "JSON writes true in small letters",
    "F": "JSON writes false in small letters",
    "\N{LEFT DOUBLE QUOTATION MARK}": "curly quotes; JSON has straight ones",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "curly quotes; JSON has straight ones",
    "}": _AFTER_LAST,
    "]": _AFTER_LAST,
    ",": _AFTER_LAST,
}
"""What the character at which reading stops says about the mistake."""


class _OddEntry(Exception):
    """Something that Python's reader accepts and JSON does not have."""


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, or in UTF-16 or UTF-32.

    Raises:
        ConfigurationError: it cannot be read, or is in another encoding; the first wrong byte is named.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from None
    encoding, skip = _encoding(content)
    try:
        return content[skip:].decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, skip + error.start) + 1
        raise ConfigurationError(
            "is not a text file in UTF-8",
            where=f"{path}, line {line}",
            got=f"byte 0x{content[skip + error.start]:02x} at offset {skip + error.start}",
            expected="UTF-8 text",
            remedy="save it as UTF-8",
        ) from None


def read_json(path: str | Path, *, nan: bool = False) -> Any:
    """The value in a JSON file.

    Args:
        path: of the file.
        nan: whether NaN and infinities, which JSON does not have, are accepted all the same.

    Raises:
        ConfigurationError: it cannot be read or is no JSON. Mistakes are told with line, column and the line itself:
            names that occur twice in an object among them, and nesting that is too deep.
    """
    return parse_json(read_text(path), path, nan=nan)


def read_toml(path: str | Path) -> dict[str, Any]:
    """The table in a TOML file.

    Raises:
        ConfigurationError: as `read_json`.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except ValueError as error:
        message = str(error)
        place = _TOML_PLACE.search(message)
        words = _TOML_PLACE.sub("", message)
        if place is None:
            raise _mistake("TOML", words, path) from None
        offset = len(text)
        if place[1]:
            offset = sum(len(line) + 1 for line in text.split("\n")[: int(place[1]) - 1]) + int(place[2]) - 1
        raise _mistake("TOML", words, path, text, offset) from None
    except RecursionError:
        raise _too_deep("TOML", path) from None


def parse_json(text: str, where: object, *, nan: bool = False) -> Any:
    """The value of a JSON text; `where` it stands, and the errors, are as in `read_json`."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=None if nan else _refuse_constant)
    except json.JSONDecodeError as error:
        raise _mistake("JSON", _hint(error), where, text, error.pos) from None
    except _OddEntry:
        words, offset = _first_odd_entry(text, nan=nan)
        raise _mistake("JSON", words, where, text, offset) from None
    except RecursionError:
        raise _too_deep("JSON", where) from None
    except ValueError as error:  # a number of more digits than Python reads
        raise _mistake("JSON", str(error), where) from None


def _encoding(content: bytes) -> tuple[str, int]:
    """The encoding, and the bytes of its mark; without a mark UTF-16 and UTF-32 show by the zeros in ASCII."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding, len(mark)
    return (json.detect_encoding(content) if b"\0" in content[:4] else "utf-8"), 0


def _hint(error: json.JSONDecodeError) -> str:
    """What is wrong, in words about JSON rather than about its reader."""
    rest = error.doc[error.pos :]
    if not error.doc.strip():
        return "the file is empty"
    if error.msg.startswith("Unterminated string"):
        return "text that begins here has no closing quote"
    if error.msg.startswith("Invalid control character"):
        return "a line break or another control character within text: is a closing quote missing?"
    if error.msg.startswith("Invalid \\escape"):
        return "a backslash that is not part of an escape: write it twice"
    if not rest.strip():
        return "the file ends too early"
    if rest[0] in "'/#":
        return _HINTS[rest[0]]
    if error.msg.startswith("Extra data"):
        return "text after the end"
    if error.msg == "Expecting ',' delimiter":
        return "a comma is missing before this"
    if error.msg == "Expecting ':' delimiter":
        return "a colon is missing before this"
    if rest.startswith("None"):
        return "JSON writes null for nothing"
    if "trailing comma" in error.msg:
        return _AFTER_LAST
    other = "a name in double quotes is missing" if "property name" in error.msg else "no value begins like this"
    return _HINTS.get(rest[0], other)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _OddEntry
    return values


def _refuse_constant(_: str) -> Any:
    raise _OddEntry


def _first_odd_entry(text: str, *, nan: bool) -> tuple[str, int]:
    """What is wrong, and where, in a text that Python reads: a name a second time, or a NaN or an infinity."""
    open_names: list[set[str]] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            open_names.append(set())
        elif token in "}]":
            open_names.pop()
        elif match[1] is None and not nan:
            return f"{token}, which JSON does not have: write null, or a number", match.start()
        elif match[2] is not None:
            name = json.loads(token)
            if name in open_names[-1]:
                return f"{token[:_LONGEST_LINE]} is here a second time", match.start()
            open_names[-1].add(name)
    return "a name is there twice", len(text)


def _mistake(
    language: str, words: str, where: object, text: str | None = None, offset: int | None = None
) -> ConfigurationError:
    if text is None or offset is None:
        return ConfigurationError(f"is not valid {language}: {words}", where=where, remedy="mend the file")
    before = text[:offset]
    line, column = before.count("\n") + 1, offset - before.rfind("\n")
    return ConfigurationError(
        f"is not valid {language}: {words}",
        where=f"{where}, line {line}, column {column}",
        got=_around(text.split("\n")[line - 1], column),
        remedy="mend the file",
    )


def _around(shown: str, column: int) -> str | None:
    """The part of a line around a column."""
    if len(shown) > _LONGEST_LINE:
        begin = max(0, min(column - _LONGEST_LINE // 2, len(shown) - _LONGEST_LINE))
        part = shown[begin : begin + _LONGEST_LINE]
        shown = ("..." if begin else "") + part + ("..." if begin + _LONGEST_LINE < len(shown) else "")
    return shown.strip() or None


def _too_deep(language: str, where: object) -> ConfigurationError:
    return ConfigurationError(
        f"is not valid {language} here: lists or objects are nested too deep to be read",
        where=where,
        remedy="mend the file",
    )
