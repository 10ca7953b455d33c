"""A run's cross-validated Dice beside published values, fold by fold and class by class.

    python benchmarks/crossvalidation_table.py RUN --reference FILE.json [--markdown FILE]

The reference names its models and, for each, folds -> label value -> Dice, and the label values' names:

    {"labels": {"1": "Anterior"}, "models": {"NAME": {"folds": {"0": {"1": 0.90, "foreground_mean": 0.89}}}}}

Prints, for every configuration and ensemble of the run, Dice and its difference to each published model in every fold
that both have, and their means over these folds; then the chosen model, its post-processing, and the rank correlation
of estimated with true Dice. Folds can be compared only if both used the same splits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.data.dataset import Dataset
from autoseg.evaluation.crossvalidation import ModelRow, model_rows
from autoseg.evaluation.scores import FOREGROUND
from autoseg.evaluation.summary import Summary
from autoseg.inference.estimate import judgement, mean_of
from autoseg.records import read_mapping, write_text
from autoseg.workspace import Run

Folds = dict[str, dict[str, float | None]]
"""Fold -> label name -> Dice."""


def published(reference: Mapping[str, Any], run: Run) -> dict[str, Folds]:
    """Model -> folds, with labels named as the run names them: by the value in the files, else by the reference."""
    dataset = Dataset.load(run.dataset)
    names = {str(values[0]): name for name, values in dataset.labels.foreground.items() if len(values) == 1}
    names = {**reference.get("labels", {}), **names, FOREGROUND: FOREGROUND}
    return {
        model: {
            fold: {names[label]: dice for label, dice in values.items() if label in names}
            for fold, values in content["folds"].items()
        }
        for model, content in reference["models"].items()
    }


def comparison(row: ModelRow, model: str, reference: Folds) -> list[list[str]]:
    """Lines of one of the run's models against a published one: fold, then Dice and difference a class."""
    labels = _labels([row])
    common = [fold for fold in row.folds if fold in reference]
    lines = [
        [row.name, model, fold, *(_cell(row.folds[fold].get(one), reference[fold].get(one)) for one in labels)]
        for fold in common
    ]
    if len(common) > 1:
        means = [
            _cell(
                mean_of(row.folds[fold].get(one) for fold in common),
                mean_of(reference[fold].get(one) for fold in common),
            )
            for one in labels
        ]
        lines.append([row.name, model, "mean", *means])
    return lines


def dice_lines(rows: Sequence[ModelRow]) -> list[list[str]]:
    """Lines of the run's own numbers: model, fold, Dice a class; "all" is the mean over all cases."""
    labels, lines = _labels(rows), []
    for row in rows:
        name = row.name + (" (chosen)" if row.chosen else "")
        lines += [[name, fold, *(_digits(values.get(one)) for one in labels)] for fold, values in row.folds.items()]
        lines.append([name, f"all ({row.cases} cases)", *(_digits(row.dice.get(one)) for one in labels)])
    return lines


def conclusions(summary: Summary) -> list[str]:
    """The choice, its post-processing, and what its estimates are worth."""
    best = summary.best
    before, after = best.foreground_mean_dice, best.foreground_mean_dice_postprocessed
    steps = ", ".join(best.postprocessing or ()) or "none"
    lines = [
        f"Chosen: {' + '.join(best.configurations)}, mean foreground Dice {_digits(before)}.",
        f"Post-processing: {steps}; mean foreground Dice with it {_digits(after)}.",
    ]
    found = summary.uncertainty
    if found is None:
        return [*lines, "Estimated Dice: not recorded."]
    lines.append(f"Estimated Dice, foreground: {judgement(found.foreground)}.")
    lines += [f"Estimated Dice, {name}: {judgement(one)}." for name, one in found.labels.items()]
    if found.check is not None:
        count, worst = len(found.check.flagged), len(found.check.worst)
        lines.append(
            f"Flags: {count} of {found.check.cases} cases, among them {found.check.found} of the {worst} worst."
        )
    return lines


def tables(run: Run, reference: Mapping[str, Any]) -> str:
    """Everything as text that is also Markdown."""
    summary = Summary.load(run.require(run.summary, "autoseg plan-and-train"))
    rows = model_rows(summary)
    headings = [name.replace(FOREGROUND, "foreground") for name in _labels(rows)]
    parts = [_table(["model", "fold", *headings], dice_lines(rows))]
    for model, folds in published(reference, run).items():
        lines = [line for row in rows for line in comparison(row, model, folds)]
        if lines:
            parts.append(_table(["model", "beside", "fold", *headings], lines))
    if reference.get("source"):
        parts.append(f"Published values: {reference['source']}.")
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in conclusions(summary))]) + "\n"


def _labels(rows: Sequence[ModelRow]) -> list[str]:
    labels = list(dict.fromkeys(name for row in rows for name in row.dice if name != FOREGROUND))
    return [*labels, FOREGROUND]


def _cell(ours: float | None, theirs: float | None) -> str:
    if ours is None or theirs is None:
        return _digits(ours)
    return f"{ours:.4f} ({ours - theirs:+.4f})"


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in [headings, *lines]) for i in range(len(headings))]
    rule = ["-" * width for width in widths]
    rows = [headings, rule, *lines]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--reference", type=Path, required=True, help="published values, in the form above")
    parser.add_argument("--markdown", type=Path, help="writes the tables here as well")
    options = parser.parse_args()
    text = tables(Run(options.run), read_mapping(options.reference))
    print(text, end="")
    if options.markdown is not None:
        write_text(options.markdown, text)


if __name__ == "__main__":
    main()
