"""Values of options that are read from text, each refused with an example of a right one."""

from __future__ import annotations

import re
from typing import Literal

import typer

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.IGNORECASE)

_COLOUR = re.compile(r"#?(?P<colour>[0-9a-fA-F]{6})\s*=\s*(?P<value>\d+)")


def parse_duration(text: str) -> float:
    """Seconds of a time span like `90s`, `3m`, `1.5h` or `1h30m`: hours, minutes, seconds, in that order.

    Raises:
        typer.BadParameter: anything else, a number without a unit among it, and a span of no length.
    """
    match = _DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        guess = f"; did you mean {text.strip()}m?" if text.strip().isdigit() and int(text) > 0 else ""
        raise typer.BadParameter(f"{text!r} is not a time span; expected for example 90s, 3m or 1h30m{guess}")
    return total


def parse_folds(text: str) -> str:
    """`all`, `all-data`, or fold numbers joined by commas, each once and in ascending order (`1,0` becomes `0,1`).

    Raises:
        typer.BadParameter: anything else.
    """
    if text.strip() in ("all", "all-data"):
        return text.strip()
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d+", part) for part in parts):
        raise typer.BadParameter(f"{text!r} names no folds; expected all, all-data, or numbers like 0 or 0,1,2")
    return ",".join(str(number) for number in sorted({int(part) for part in parts}))


def parse_validated_folds(text: str) -> str:
    """`all` or fold numbers, as `parse_folds`, where the validation cases of a fold are what counts.

    Raises:
        typer.BadParameter: anything else, `all-data` among it.
    """
    folds = parse_folds(text)
    if folds == "all-data":
        raise typer.BadParameter("one model on every case is validated on none; expected all, or numbers like 0")
    return folds


def parse_fold(text: str) -> str:
    """A fold's number, or `all` (also `all-data`): one model on every case.

    Raises:
        typer.BadParameter: anything else.
    """
    if text.strip() in ("all", "all-data"):
        return "all"
    if not re.fullmatch(r"\d+", text.strip()):
        raise typer.BadParameter(f"{text!r} is no fold; expected a number like 0, or all-data")
    return str(int(text))


def parse_memory(text: str) -> float | Literal["auto"]:
    """GB of an accelerator's memory from `24GB`, `24 GiB` or `24`, or `auto`.

    Raises:
        typer.BadParameter: anything else, and no memory at all.
    """
    if text.strip().casefold() == "auto":
        return "auto"
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:g|gb|gib)?", text.strip(), re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is no memory; expected gigabytes such as 24GB or 24, or auto")
    return float(match[1])


def parse_colours(text: str) -> dict[str, int]:
    """Label values of colours, like `#000000=0,#ff0000=1`.

    Raises:
        typer.BadParameter: anything else, and a colour that is named twice.
    """
    values: dict[str, int] = {}
    for part in text.split(","):
        match = _COLOUR.fullmatch(part.strip())
        if match is None:
            raise typer.BadParameter(f"{part.strip()!r} gives no value to a colour; expected for example #ff0000=1")
        colour = f"#{match['colour'].lower()}"
        if colour in values:
            raise typer.BadParameter(f"{colour} is named twice")
        values[colour] = int(match["value"])
    return values


def parse_label_values(text: str) -> tuple[int, ...]:
    """The values of labels, joined by commas: `1,2` or `0,128,255`, each once and in ascending order.

    Raises:
        typer.BadParameter: anything else, negative values among it, and background (0) alone.
    """
    parts = [part.strip() for part in text.split(",")]
    values = tuple(sorted({int(part) for part in parts if re.fullmatch(r"\d{1,9}", part)}))
    if not all(re.fullmatch(r"\d{1,9}", part) for part in parts) or values == (0,):
        raise typer.BadParameter(f"{text!r} names no label values; expected whole numbers such as 1,2 or 0,128,255")
    return values


def parse_label_map(text: str) -> dict[int, int]:
    """What label values are taken for: `255:1` or `128:1,255:2`, each value once.

    Raises:
        typer.BadParameter: anything else.
    """
    pairs = [re.fullmatch(r"\s*(-?\d{1,9})\s*:\s*(\d{1,9})\s*", part) for part in text.split(",")]
    found = {int(pair[1]): int(pair[2]) for pair in pairs if pair is not None}
    if len(found) < len(pairs):
        raise typer.BadParameter(
            f"{text!r} does not say what values are taken for; expected for example 255:1 or 128:1,255:2, "
            "each value once"
        )
    return found
