"""Many identifiers in little text: "case_{001,003-005}" stands for four of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)-(\d+)")


def expand(text: str) -> tuple[str, ...]:
    """The identifiers that a text with braces stands for, in its order.

    Braces hold words and ranges of numbers divided by commas; numbers are written with as many digits as the first of
    their range. Several braces are combined in every way. A text without braces stands for itself.

    Raises:
        ValueError: a range that ends before it begins, or braces with nothing in them.
    """
    braces = _BRACES.search(text)
    if braces is None:
        return (text,)
    head, tail = text[: braces.start()], expand(text[braces.end() :])
    return tuple(f"{head}{item}{end}" for item in _items(braces[1], text) for end in tail)


def expand_all(texts: Iterable[str]) -> tuple[str, ...]:
    """The identifiers of several texts, one after the other.

    Raises:
        ValueError: as `expand`, or an identifier twice.
    """
    names = tuple(name for text in texts for name in expand(text))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"identifiers stand twice: {', '.join(twice[:5])}")
    return names


def _items(inside: str, text: str) -> Iterator[str]:
    for item in re.split(r"\s*,\s*", inside.strip()):
        if not item:
            raise ValueError(f"nothing stands between two commas or braces in {text!r}")
        numbers = _RANGE.fullmatch(item)
        if numbers is None:
            yield item
            continue
        first, last = int(numbers[1]), int(numbers[2])
        if last < first:
            raise ValueError(f"the range {item} ends before it begins in {text!r}")
        yield from (str(number).zfill(len(numbers[1])) for number in range(first, last + 1))
