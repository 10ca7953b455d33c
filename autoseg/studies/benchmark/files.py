"""How the files of an unpacked challenge lie: patterns of their paths, and what has to be said about their content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from autoseg.data.files import known_endings
from autoseg.records import Record

PLACE = re.compile(r"\{(\w+)\}")
"""A placeholder in a pattern."""


class RawImage(Record):
    """An image file that is nothing but pixels.

    Attributes:
        shape: rows and columns.
        dtype: numpy's name of the type with its byte order (">u2": two bytes, the higher one first).
    """

    shape: tuple[int, int]
    dtype: Literal["<u2", ">u2", "|u1"]


class Alternative(Record):
    """One way in which a release lies in its folder. Patterns are paths relative to the folder, with "/".

    Words in braces (`{case}`, `{patient}`) stand for parts of names, the same at each place, and `*` for anything
    within a name.

    Attributes:
        images: a pattern per channel, or one whose file holds all channels. The first finds the cases and holds all
            placeholders.
        label: pattern of the file with label values.
        masks: in place of `label`, label -> patterns of files that are non-zero where the label is; all files of all
            patterns together make the label, and later labels lie over earlier ones.
        where: placeholder -> regular expression of what it may be; without one it is any part of a name.
    """

    images: tuple[str, ...] = Field(min_length=1)
    label: str | None = None
    masks: dict[str, tuple[str, ...]] = {}
    where: dict[str, str] = {}

    @model_validator(mode="after")
    def _patterns_fit(self) -> Self:
        if (self.label is None) == (not self.masks):
            raise ValueError("labels are found either by `label` or by `masks`")
        placeholders = set(PLACE.findall(self.images[0]))
        for pattern in self.patterns():
            if strangers := sorted(set(PLACE.findall(pattern)) - placeholders):
                raise ValueError(f"{{{strangers[0]}}} of {pattern!r} does not stand in {self.images[0]!r}")
            if pattern.startswith("/") or ".." in pattern.split("/"):
                raise ValueError(f"{pattern!r} leads out of the folder")
        if strangers := sorted(set(self.where) - placeholders):
            raise ValueError(f"{{{strangers[0]}}} is restricted, but does not stand in {self.images[0]!r}")
        for expression in self.where.values():
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is no regular expression: {error}") from None
        return self

    def patterns(self) -> Iterator[str]:
        """All patterns: of images, label and masks."""
        yield from self.images
        if self.label is not None:
            yield self.label
        for patterns in self.masks.values():
            yield from patterns


class Layout(Record):
    """How the unpacked folder becomes cases.

    Attributes:
        description: what the folder holds, in words.
        form: "patterns", or "msd" and "nnunet" for folders with a dataset.json, which are read by
            `data.discovery.discover`.
        alternatives: with "patterns": the ways in which releases lie; the one that finds the most cases is taken.
        identifier: of a case, from the placeholders of its paths; `{page}` is the number of a page, from 0.
        pages: whether the pages of a file are cases of their own.
        instances: whether label files hold one value per object: every value but 0 then means label 1.
        ending: of the files of the data set that is made; without it, that of the first image.
        raw: how image files without a header are read.
        shrink: every so many pixels of an image along each axis become one, their mean; labels have that size already.
        spacing: mm between pixels (y, x) of the data set, for planes whose files do not say.
        source: key of `Specification.sources`.
    """

    description: str
    form: Literal["patterns", "msd", "nnunet"] = "patterns"
    alternatives: tuple[Alternative, ...] = ()
    identifier: str = "{case}"
    pages: bool = False
    instances: bool = False
    ending: str | None = None
    raw: RawImage | None = None
    shrink: int = Field(default=1, ge=1)
    spacing: tuple[float, float] | None = None
    source: str

    @field_validator("ending")
    @classmethod
    def _can_be_written(cls, ending: str | None) -> str | None:
        if ending is not None and ending not in known_endings():
            raise ValueError(f"{ending} is not among {', '.join(known_endings())}")
        return ending

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.form == "patterns") != bool(self.alternatives):
            raise ValueError('alternatives are given with the form "patterns", and only with it')
        if (self.raw is not None or self.shrink > 1 or self.pages) and self.ending is None:
            raise ValueError("images that are written need an `ending`")
        for alternative in self.alternatives:
            placeholders = {*PLACE.findall(alternative.images[0]), *(["page"] if self.pages else [])}
            if strangers := sorted(set(re.findall(r"\{(\w+)", self.identifier)) - placeholders):
                raise ValueError(f"{{{strangers[0]}}} of the identifier does not stand in {alternative.images[0]!r}")
        return self

    @property
    def as_they_are(self) -> bool:
        """Whether image files are used without being changed."""
        return self.raw is None and self.shrink == 1 and not self.pages and self.spacing is None
