"""The sections of a specification: where a challenge comes from, its classes, its scoring and what was published."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from autoseg.data.labels import LabelScheme
from autoseg.log import counted
from autoseg.records import Record
from autoseg.studies.benchmark.ranges import expand, expand_all

NORMALIZED_NAMES = {"ct": "CT", "rescale": "rescale_to_0_1", "rgb": "rgb_to_0_1", "none": "noNorm"}
"""Normalization -> the channel name that asks for it in a dataset.json, as nnU-Net has it; other names mean z-score."""

RATIOS = ("dice", "iou", "nsd", "accuracy", "sensitivity", "specificity", "f1")
"""Metrics between 0 and 1, which publications often give in percent."""


class Publication(Record):
    """Where a fact or number was read.

    Attributes:
        title: of the publication, page or file.
        url: where it is found.
        doi: of a publication, without "https://doi.org/".
        place: table, page, section or file within it, where one source says many things.
    """

    title: str
    url: str | None = None
    doi: str | None = None
    place: str | None = None

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if self.url is None and self.doi is None:
            raise ValueError("a source needs a url or a doi")
        return self

    @property
    def address(self) -> str:
        """The url, or the doi as one."""
        return self.url or f"https://doi.org/{self.doi}"


class Licence(Record):
    """Under which conditions the data may be used.

    Attributes:
        name: usual name ("CC BY-SA 4.0") or a sentence.
        url: of its text, where there is one.
    """

    name: str
    url: str | None = None


class Channel(Record):
    """One channel of the images.

    Attributes:
        name: what it shows ("T1ce").
        normalization: how intensities become inputs of a network: a plug-in of kind "normalization".
    """

    name: str
    normalization: Literal["z-score", "ct", "rescale", "rgb", "none"] = "z-score"

    @model_validator(mode="after")
    def _name_means_what_is_asked(self) -> Self:
        special = {name.lower() for name in NORMALIZED_NAMES.values()}
        if self.normalization == "z-score" and self.name.lower() in special:
            raise ValueError(f"a channel named {self.name!r} gets another normalization than z-score; rename it")
        return self

    @property
    def dataset_name(self) -> str:
        """The channel's name in a dataset.json, from which the normalization follows."""
        return NORMALIZED_NAMES.get(self.normalization, self.name)


class Labels(Record):
    """What is segmented.

    Attributes:
        names: name -> value in the data set that is made: background 0, then 1, 2, ... without a gap.
        file_values: value in the challenge's files -> value in the data set, where they differ; then every value that
            may occur stands here. Empty: the files have the values of `names`.
        regions: region -> values of the data set whose union it is, where the challenge scores regions.
        region_order: the value written for each region, later ones over earlier ones.
        ignore: value in the data set of voxels without annotation; one more than the largest label.
        source: key of `Specification.sources` that says which value means what; None where the dataset.json says it.
    """

    names: dict[str, int]
    file_values: dict[int, int] = {}
    regions: dict[str, tuple[int, ...]] = {}
    region_order: tuple[int, ...] = ()
    ignore: int | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        values = sorted(self.names.values())
        if values != list(range(len(values))) or len(values) < 2:
            raise ValueError(f"label values must be 0, 1, 2, ... without a gap, not {values}")
        if self.ignore is not None and self.ignore != len(values):
            raise ValueError(f"the ignore label must have the value {len(values)}, not {self.ignore}")
        allowed = {*values, *([] if self.ignore is None else [self.ignore])}
        used = {value for region in self.regions.values() for value in region} | set(self.region_order)
        if strangers := (used | set(self.file_values.values())) - allowed:
            raise ValueError(f"values {sorted(strangers)} have no name")
        if len(self.region_order) != len(self.regions):
            raise ValueError("region_order needs one value for each region")
        return self

    @property
    def scheme(self) -> LabelScheme:
        """The labels as the rest of the project knows them."""
        return LabelScheme(names=self.names, regions=self.regions, region_order=self.region_order, ignore=self.ignore)

    @property
    def known_values(self) -> tuple[int, ...]:
        """Values that may occur in the challenge's files, sorted."""
        ignored = [] if self.ignore is None else [self.ignore]
        return tuple(sorted(self.file_values or {*self.names.values(), *ignored}))

    @property
    def scored(self) -> tuple[str, ...]:
        """Names of what is scored: the regions, or all labels but the background."""
        return tuple(self.regions) or tuple(name for name, value in self.names.items() if value)


class Cases(Record):
    """How many cases there are and what their images are like.

    Attributes:
        training: cases with public labels, from which the data set is made.
        test: cases whose labels the challenge keeps, where known.
        identifiers: of the training cases, in short ("case_{000-209}"); empty if not known.
        smallest_shape, largest_shape: of the training images, an axis at a time, in the order (z, y, x), or (y, x) for
            planes; voxels.
        smallest_spacing, largest_spacing: likewise, mm.
        source: key of `Specification.sources`.
    """

    training: int = Field(ge=2)
    test: int | None = None
    identifiers: tuple[str, ...] = ()
    smallest_shape: tuple[int, ...] = ()
    largest_shape: tuple[int, ...] = ()
    smallest_spacing: tuple[float, ...] = ()
    largest_spacing: tuple[float, ...] = ()
    source: str

    @model_validator(mode="after")
    def _identifiers_fit(self) -> Self:
        if self.identifiers and len(names := expand_all(self.identifiers)) != self.training:
            raise ValueError(f"{counted(len(names), 'identifier')} for {counted(self.training, 'training case')}")
        for low, high in ((self.smallest_shape, self.largest_shape), (self.smallest_spacing, self.largest_spacing)):
            if len(low) != len(high) or len(low) not in (0, 2, 3) or any(a > b for a, b in zip(low, high, strict=True)):
                raise ValueError(f"a range needs both ends, of two or three axes each, got {low} and {high}")
        return self

    @property
    def all_identifiers(self) -> tuple[str, ...]:
        """Identifiers of the training cases, sorted; empty if not known."""
        return tuple(sorted(expand_all(self.identifiers)))


class Splits(Record):
    """Which cases are trained on and which are validated on.

    Attributes:
        rule: "nnunet-5-fold" (shuffled five folds over the sorted identifiers, seed 12345, as nnU-Net makes them) or
            "fixed" (as `validation` says).
        official: what the challenge itself prescribes, in words; on a test server, say, nothing is validated here.
        validation: with "fixed", for each fold the identifiers to validate on, in short and with wildcards
            ("patient{001,005}_*"); all other cases are trained on.
        source: key of `Specification.sources`.
    """

    rule: Literal["nnunet-5-fold", "fixed"] = "nnunet-5-fold"
    official: str
    validation: tuple[tuple[str, ...], ...] = ()
    source: str | None = None

    @model_validator(mode="after")
    def _lists_where_fixed(self) -> Self:
        if (self.rule == "fixed") != bool(self.validation):
            raise ValueError('validation cases are listed with the rule "fixed", and only with it')
        for fold in self.validation:
            for text in fold:
                expand(text)
        return self


class Evaluation(Record):
    """How the challenge scores.

    Attributes:
        metrics: names, as in this project where it has them ("dice", "nsd", "hd95").
        tolerances_mm: label or region -> tolerance of the normalized surface distance in mm.
        description: what else is to be known (ranking, which structures count), in words.
        source: key of `Specification.sources`.
    """

    metrics: tuple[str, ...] = Field(min_length=1)
    tolerances_mm: dict[str, float] = {}
    description: str | None = None
    source: str


class FoldResult(Record):
    """A result on one fold of a cross-validation.

    Attributes:
        fold: number, from 0.
        cases: validation cases.
        mean: over what is scored.
        per_label: label or region -> mean over the cases.
    """

    fold: int = Field(ge=0)
    cases: int | None = None
    mean: float | None = None
    per_label: dict[str, float] = {}


class Result(Record):
    """A published result; ratios are between 0 and 1.

    Attributes:
        method: what made the predictions.
        configuration: of nnU-Net's, where one alone made them ("3d_fullres").
        metric: as in `Evaluation.metrics`.
        setting: on which cases: all training cases in cross-validation, the challenge's test cases, or others.
        cases: how many.
        steps: optimiser steps of each training, where the source says so (1000 epochs of 250 steps: 250000).
        mean: over what is scored.
        per_label: label or region -> mean over the cases.
        spread: of the mean, where published.
        spread_kind: what `spread` is ("standard deviation over folds").
        folds: the same, fold by fold.
        source: key of `Specification.sources`.
        place: where in the source ("table 2").
        note: what else is to be known before comparing.
    """

    method: str
    configuration: str | None = None
    metric: str
    setting: Literal["cross-validation", "test", "validation"]
    cases: int | None = None
    steps: int | None = Field(default=None, ge=1)
    mean: float | None = None
    per_label: dict[str, float] = {}
    spread: float | None = None
    spread_kind: str | None = None
    folds: tuple[FoldResult, ...] = ()
    source: str
    place: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.mean is None and not self.per_label:
            raise ValueError("a result needs a mean or numbers per label")
        if (self.spread is None) != (self.spread_kind is None):
            raise ValueError("spread and spread_kind belong together")
        parts: tuple[Result | FoldResult, ...] = (self, *self.folds)
        numbers = [value for part in parts for value in (part.mean, *part.per_label.values()) if value is not None]
        if self.metric in RATIOS and not all(0 <= value <= 1 for value in numbers):
            raise ValueError(f"{self.metric} is between 0 and 1, not in percent")
        return self

    @field_validator("folds")
    @classmethod
    def _folds_once(cls, folds: tuple[FoldResult, ...]) -> tuple[FoldResult, ...]:
        if len({fold.fold for fold in folds}) < len(folds):
            raise ValueError("a fold stands twice")
        return folds
