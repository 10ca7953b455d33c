"""Scores and post-processing that nnU-Net v2 left beside a model, in the form they have here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PureWindowsPath
from typing import Any

from autoseg.data.labels import LabelScheme
from autoseg.evaluation.scores import Scores, summarise
from autoseg.postprocessing.choose import ALL_FOREGROUND, Decision, MeanDice, step_values

_METRICS = {"Dice": "dice", "IoU": "iou"}
_INTEGER = re.compile(r"-?\d+")


def read_scores(content: Mapping[str, Any], labels: LabelScheme, ending: str) -> Scores:
    """The scores of nnU-Net's summary of a fold's validation.

    Args:
        content: of nnU-Net's file.
        labels: of the model.
        ending: of the predictions' files, whose names without it are the cases.

    Returns:
        Dice and IoU per case and label, None where nnU-Net has NaN, and their means; no cases if the file lists none.
    """
    cases = {}
    for row in content.get("metric_per_case", ()):
        # nnU-Net writes the path of the machine that it ran on; as a Windows path both separators are known.
        name = PureWindowsPath(str(row["prediction_file"])).name.removesuffix(ending)
        by_values = {_values(key): metrics for key, metrics in row["metrics"].items()}
        cases[name] = {
            label: {ours: _number(by_values[values].get(theirs)) for theirs, ours in _METRICS.items()}
            for label, values in labels.foreground.items()
            if values in by_values
        }
    return summarise(cases)


def read_postprocessing(content: Mapping[str, Any], labels: LabelScheme, function: str) -> Decision | None:
    """nnU-Net's postprocessing.json as a decision; None if it has a step that is not known here.

    Args:
        content: of the file.
        labels: of the model.
        function: name of nnU-Net's function that keeps the largest component.
    """
    steps = []
    for name, options in zip(content["postprocessing_fns"], content["postprocessing_kwargs"], strict=True):
        if name != function or set(options) != {"labels_or_regions"}:
            return None
        step = _step(_values(str(options["labels_or_regions"])), labels)
        if step is None:
            return None
        steps.append(step)
    before, after = (_mean_dice(content.get(key, {}), labels) for key in ("input_folder", "postprocessed"))
    return Decision(steps=tuple(dict.fromkeys(steps)), before=before, after=after)


def _step(values: Sequence[int], labels: LabelScheme) -> str | None:
    """The step that keeps the largest component of the union of these file values; the same for all of them is one."""
    for target in (ALL_FOREGROUND, *labels.foreground):
        step = f"largest-component:{target}"
        kept = {labels.values[value] for value in step_values(step, labels.training_foreground)}
        if kept == set(values):
            return step
    return None


def _mean_dice(content: Mapping[str, Any], labels: LabelScheme) -> MeanDice:
    means = {_values(key): _number(row.get("Dice")) for key, row in content.get("mean", {}).items()}
    return MeanDice(
        foreground=_number(content.get("foreground_mean", {}).get("Dice")),
        labels={name: means.get(values) for name, values in labels.foreground.items()},
    )


def _values(key: str) -> tuple[int, ...]:
    """The label values in nnU-Net's key of a label or region: "1", "(1, 2)"."""
    return tuple(int(value) for value in _INTEGER.findall(key))


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
