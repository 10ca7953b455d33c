"""Which model a run has chosen, as its summary.json says."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from autoseg.records import Record, read_mapping
from autoseg.workspace import Run


class Choice(Record):
    """`summary.json["best"]`: the best of all configurations and ensembles, and how it is used.

    Attributes:
        configurations: names; several are an ensemble, none says that nothing is chosen yet.
        folds: that it was validated on.
        foreground_mean_dice: over the validated cases, before post-processing; None where no Dice exists.
        postprocessing: the steps that were accepted, maybe none; None where labels are not post-processed.
        foreground_mean_dice_postprocessed: the same Dice after these steps; None where it does not exist.
        predict: the command that applies the model; None in runs of earlier versions.
    """

    model_config = ConfigDict(extra="ignore")

    configurations: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    foreground_mean_dice: float | None = None
    postprocessing: tuple[str, ...] | None = None
    foreground_mean_dice_postprocessed: float | None = None
    predict: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _earlier(cls, values: Any) -> Any:
        """Runs of earlier versions name one configuration, as text."""
        if not isinstance(values, dict):
            return values
        named = values.get("configurations") or values.get("configuration") or ()
        return {**values, "configurations": (named,) if isinstance(named, str) else named}

    @model_serializer(mode="wrap")
    def _write(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields, without those about post-processing where there is none, and without an unknown command."""
        absent = set() if self.postprocessing is not None else {"postprocessing", "foreground_mean_dice_postprocessed"}
        absent |= set() if self.predict is not None else {"predict"}
        return {name: value for name, value in serialize(self).items() if name not in absent}


def read_choice(run: Run) -> Choice:
    """The choice of a run, without configurations before it is made. The rest of summary.json is not looked at.

    Raises:
        ConfigurationError: summary.json cannot be read.
    """
    content = read_mapping(run.summary).get("best") if run.summary.exists() else None
    return Choice() if content is None else Choice.from_mapping(content, where=f"{run.summary}: best")
