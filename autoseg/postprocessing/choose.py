"""Which components to remove: only what the cross-validation's predictions show to help."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from autoseg.postprocessing.graph import ComponentGraph, component_graph, union
from autoseg.records import Record, unknown_name

ALL_FOREGROUND = "all-foreground"
_LARGEST = "largest-component"


class MeanDice(Record):
    """Mean Dice over the cases: a value per label, and their mean; None where no case has the label."""

    foreground: float | None
    labels: dict[str, float | None]


class Trial(Record):
    """One step that was tried, on top of the steps accepted before it."""

    step: str
    accepted: bool
    before: MeanDice
    after: MeanDice


class Decision(Record):
    """The post-processing of a model, with the evidence for it.

    Attributes:
        steps: what to do, in order: "largest-component:all-foreground" or "largest-component:<label>".
        cases: validated cases it rests on.
        before, after: scores without any and with all of the steps.
        trials: every step that was tried.
    """

    steps: tuple[str, ...] = ()
    cases: int = 0
    before: MeanDice
    after: MeanDice
    trials: tuple[Trial, ...] = ()


def choose(
    cases: Iterable[tuple[np.ndarray, np.ndarray]],
    foreground: Mapping[str, Sequence[int]],
    *,
    ignore: int | None = None,
) -> Decision:
    """Decides from (prediction, reference) pairs; see `choose_from_graphs`. Each pair is looked at once and let go.

    Args:
        cases: pairs of integer arrays (Z, Y, X) in training values.
        foreground: name -> training values of each label or region.
        ignore: the reference's value of voxels without annotation.

    Raises:
        ImageError: a prediction and its reference have different shapes.
    """
    graphs = [component_graph(prediction, reference, ignore) for prediction, reference in cases]
    return choose_from_graphs(graphs, foreground)


def choose_from_graphs(
    graphs: Sequence[ComponentGraph],
    foreground: Mapping[str, Sequence[int]],
    annotated: Sequence[Collection[str] | None] | None = None,
) -> Decision:
    """Tries to keep only the largest component of all foreground together, then that of each label by itself.

    A step is kept if the mean Dice over labels rises and that of no label falls. For plain labels this is nnU-Net's
    rule (Isensee et al. 2021, Nature Methods 18, "empirical parameters"). For overlapping regions it is stricter:
    nnU-Net looks only at the region itself, although removing part of it may harm another. With a single label both
    steps are one. No cases give no steps.

    Args:
        graphs: one per case.
        foreground: name -> training values of each label or region.
        annotated: the labels that were looked for in each case, None for all of them: in a case the others have no
            Dice. None where every label was looked for everywhere.
    """
    looked_for = [None] * len(graphs) if annotated is None else annotated
    counted = {name: np.array([names is None or name in names for names in looked_for], bool) for name in foreground}
    current, steps, trials = union(graphs), [], []
    before = score = _mean_dice(current, foreground, counted)
    candidates = [ALL_FOREGROUND, *(foreground if len(foreground) > 1 else ())]
    for target in candidates:
        tried = current.keep_largest(_target_values(target, foreground))
        after = _mean_dice(tried, foreground, counted)
        accepted = _better(score, after)
        trials.append(Trial(step=f"{_LARGEST}:{target}", accepted=accepted, before=score, after=after))
        if accepted:
            current, score = tried, after
            steps.append(f"{_LARGEST}:{target}")
    return Decision(steps=tuple(steps), cases=len(current.reference), before=before, after=score, trials=tuple(trials))


def step_values(step: str, foreground: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """The training values whose largest component a step keeps.

    Raises:
        ConfigurationError: a step that is not known, with the known ones.
    """
    steps = [f"{_LARGEST}:{target}" for target in (ALL_FOREGROUND, *foreground)]
    if step not in steps:
        raise unknown_name("post-processing step", step, steps)
    return _target_values(step.removeprefix(f"{_LARGEST}:"), foreground)


def _target_values(target: str, foreground: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Training values of a label or region, or of everything."""
    if target == ALL_FOREGROUND:
        return tuple(sorted({value for values in foreground.values() for value in values}))
    return tuple(foreground[target])


def _mean_dice(
    graph: ComponentGraph, foreground: Mapping[str, Sequence[int]], counted: Mapping[str, np.ndarray]
) -> MeanDice:
    dice_of = graph.dice_of(foreground)
    labels = {name: _mean(dice[~np.isnan(dice) & counted[name]]) for name, dice in dice_of.items()}
    return MeanDice(foreground=_mean([value for value in labels.values() if value is not None]), labels=labels)


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _better(before: MeanDice, after: MeanDice) -> bool:
    """Compares the labels that have a score both times: one that merely vanishes has not improved."""
    pairs = [(old, after.labels[name]) for name, old in before.labels.items()]
    both = [(old, new) for old, new in pairs if old is not None and new is not None]
    return all(new >= old for old, new in both) and any(new > old for old, new in both)
