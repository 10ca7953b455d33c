"""What summary.json of a run holds: the scores of every configuration and ensemble, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ConfigDict, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from autoseg.evaluation.scores import FOREGROUND
from autoseg.inference.choice import Choice
from autoseg.inference.estimate import Reliability
from autoseg.records import Record


class ModelScores(Record):
    """One configuration or ensemble over the validated cases of all its folds; the statistics are those of `Scores`.

    Attributes:
        cases: how many were validated.
        counted: label -> how many of them it was looked for in; empty where that is all of them for every label.
        mean, median, std: label -> metric -> value.
        foreground_mean: metric -> mean of the labels' means.
        undefined: label -> metric -> number of cases without a value.
        folds: fold -> label -> mean Dice over the fold's cases, with the foreground mean under `scores.FOREGROUND`;
            runs of earlier versions have the foreground mean alone.
        configurations: those of an ensemble; empty for a single one.
    """

    model_config = ConfigDict(extra="ignore")

    cases: int = 0
    counted: dict[str, int] = {}
    mean: dict[str, dict[str, float | None]] = {}
    foreground_mean: dict[str, float | None] = {}
    median: dict[str, dict[str, float | None]] = {}
    std: dict[str, dict[str, float | None]] = {}
    undefined: dict[str, dict[str, int]] = {}
    folds: dict[str, dict[str, float | None]] = {}
    configurations: tuple[str, ...] = ()

    @property
    def foreground_dice(self) -> float | None:
        """Mean foreground Dice; None if no label of any case has one."""
        return self.foreground_mean.get("dice")

    @property
    def dice(self) -> dict[str, float | None]:
        """Mean Dice of each label; rows that are not about a label are left out."""
        return {label: row["dice"] for label, row in self.mean.items() if "dice" in row}

    @field_validator("cases", mode="before")
    @classmethod
    def _counted(cls, values: Any) -> Any:
        """How many cases, also where they are listed."""
        return len(values) if isinstance(values, dict) else values

    @field_validator("folds", mode="before")
    @classmethod
    def _earlier(cls, values: Any) -> Any:
        """Runs of earlier versions have a number per fold."""
        if not isinstance(values, dict):
            return values
        return {fold: dice if isinstance(dice, dict) else {FOREGROUND: dice} for fold, dice in values.items()}

    @model_serializer(mode="wrap")
    def _write(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields, without the parts of an ensemble where it is none, and counts that say nothing new."""
        optional = ("configurations", "counted")
        return {name: value for name, value in serialize(self).items() if value or name not in optional}


class Summary(Record):
    """What `plan_and_train` returns; RUN/summary.json.

    A run that trained on all data has validated nothing: its summary is empty, `validated` says so, and it has no file.

    Attributes:
        configurations: name -> scores, in the plan's order.
        ensembles: names joined by "+" -> scores.
        best: the chosen one of them; without configurations where nothing is validated.
        uncertainty: how far the expected Dice of the chosen model can be relied on; None where it was not recorded.
    """

    model_config = ConfigDict(extra="ignore")

    configurations: dict[str, ModelScores] = {}
    ensembles: dict[str, ModelScores] = {}
    best: Choice = Choice()
    uncertainty: Reliability | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        """A part that is null or empty is one that is not there."""
        if not isinstance(values, dict):
            return values
        return {name: part for name, part in values.items() if part not in (None, {})}

    @property
    def validated(self) -> bool:
        """Whether anything was validated."""
        return bool(self.configurations or self.ensembles)

    @property
    def models(self) -> dict[tuple[str, ...], ModelScores]:
        """The configurations, each under a tuple of one name, then the ensembles."""
        singles = {(name,): scores for name, scores in self.configurations.items()}
        several = {scores.configurations or tuple(name.split("+")): scores for name, scores in self.ensembles.items()}
        return singles | several

    def reliability(self, configurations: Iterable[str]) -> Reliability | None:
        """What is known about the expected Dice of these configurations' model; None if nothing."""
        reliability = self.uncertainty
        return (
            reliability if reliability is not None and set(reliability.configurations) == set(configurations) else None
        )

    @model_serializer(mode="wrap")
    def _write(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields, without a choice that was not made and an uncertainty that was not recorded."""
        absent = set() if self.best.configurations else {"best"}
        absent |= set() if self.uncertainty is not None else {"uncertainty"}
        return {name: value for name, value in serialize(self).items() if name not in absent}
