"""Attributes of DICOM data sets as plain values: absent, or sound, or an error that names them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from autoseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Tag = str | tuple[int, int]
"""A keyword of the standard ("EchoTime"), or group and element of a private attribute."""


@dataclass(frozen=True)
class Attributes:
    """Data sets that are asked one after the other, the nearest first, and what errors name.

    Attributes:
        datasets: pydicom's.
        where: of the file.
    """

    datasets: tuple[Dataset, ...]
    where: str
    _known: dict[Tag, Any] = field(default_factory=dict, compare=False, repr=False)  # frames ask for the same again

    def value(self, tag: Tag) -> Any:
        """The first value that is not empty, as pydicom has it; None for none.

        Raises:
            ImageError: there is one, and it cannot be read.
        """
        if tag in self._known:
            return self._known[tag]
        value = self._known[tag] = self._first(tag)
        return value

    def _first(self, tag: Tag) -> Any:
        number = _number(tag)
        for dataset in self.datasets:
            if number not in dataset.keys():  # noqa: SIM118, pydicom's own `in` is several times slower
                continue
            try:
                value = dataset[number].value
            except Exception as error:
                raise self.unreadable(tag, error) from None
            if value is not None and value != "" and value != b"" and not (_is_list(value) and not len(value)):
                return value
        return None

    def text(self, tag: Tag) -> str:
        """Text, several values joined by a backslash as in the file; "" for none."""
        value = self.value(tag)
        if value is None:
            return ""
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        joined = "\\".join(str(part) for part in value) if _is_list(value) else str(value)
        return joined.strip(" \0")

    def numbers(self, tag: Tag, count: int | None = None) -> tuple[float, ...] | None:
        """Numbers; None for none.

        Args:
            tag: of the attribute.
            count: how many there must be.

        Raises:
            ImageError: no numbers, not finite, or another count.
        """
        value = self.value(tag)
        if value is None:
            return None
        parts = value if _is_list(value) else [value]
        try:
            numbers = tuple(float(part.decode("latin-1") if isinstance(part, bytes) else part) for part in parts)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.unreadable(tag, error) from None
        if not all(math.isfinite(number) for number in numbers) or (count is not None and len(numbers) != count):
            raise self.unreadable(tag, "\\".join(str(part) for part in parts))
        return numbers

    def decimals(self, tag: Tag) -> tuple[int, ...] | None:
        """How many decimals each number has as it is written, without zeros at its end; None for no numbers.

        Raises:
            ImageError: as `numbers`.
        """
        numbers = self.numbers(tag)
        if numbers is None:
            return None
        value = self.value(tag)
        parts = value if _is_list(value) else [value]
        return tuple(_decimals(str(getattr(part, "original_string", part))) for part in parts)

    def number(self, tag: Tag) -> float | None:
        """One number, the first where there are several; None for none."""
        numbers = self.numbers(tag)
        return None if numbers is None else numbers[0]

    def whole(self, tag: Tag) -> int | None:
        """One whole number; None for none."""
        number = self.number(tag)
        if number is None:
            return None
        if number != int(number):
            raise self.unreadable(tag, number)
        return int(number)

    def sequence(self, keyword: str) -> tuple[Attributes, ...]:
        """The items of a sequence; none for an absent one."""
        value = self.value(keyword)
        if value is None:
            return ()
        if not isinstance(value, tuple):
            if not _is_list(value) or not all(hasattr(item, "_dict") for item in value):
                raise self.unreadable(keyword, "no sequence")
            value = self._known[keyword] = tuple(Attributes((item,), self.where) for item in value)
        return value

    def unreadable(self, tag: Tag, reason: object) -> ImageError:
        """The error for a value that is there and means nothing."""
        name = tag if isinstance(tag, str) else f"({tag[0]:04x},{tag[1]:04x})"
        return ImageError(
            f"the DICOM header has no sound {name}",
            where=self.where,
            got=" ".join(str(reason).split())[:200],
            remedy="fetch the file again or remove it",
        )


def _decimals(text: str) -> int:
    """Of a decimal number, "-12.50" or "1.25e1"."""
    mantissa, _, power = text.strip(" \0").lower().partition("e")
    fraction = mantissa.partition(".")[2].rstrip("0")
    return max(len(fraction) - int(power or 0), 0)


@cache
def _number(tag: Tag) -> Any:
    """A tag as pydicom has it, which data sets are asked for at once."""
    from pydicom.tag import Tag as to_number

    return to_number(tag)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and type(value).__name__ != "PersonName"
