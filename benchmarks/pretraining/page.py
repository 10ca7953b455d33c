"""The experiment as a Markdown page and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from math import nan

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from autoseg.provenance import machine, versions
from autoseg.training.curves import GRID, INK, MUTED, SERIES
from benchmarks.pretraining.experiment import FINE_TUNINGS, SCRATCH, Arm, Experiment
from benchmarks.pretraining.outcomes import DrawScores, Effect, Pretraining

_NO_VALUE = "-"


@dataclass(frozen=True)
class Row:
    """What is known of an arm.

    Attributes:
        arm: what was compared.
        effects: of the experiment's own length of training first, then of shorter and longer ones, fewer labelled
            cases first; empty where nothing is trained yet.
        pretraining: how it went; None for fresh weights.
        failure: why a stage ended, empty if none did.
    """

    arm: Arm
    effects: tuple[Effect, ...]
    pretraining: Pretraining | None
    failure: str = ""


def page(experiment: Experiment, rows: Sequence[Row], validation: int, picture: str | None = None) -> str:
    """All tables.

    Args:
        validation: number of held-out cases.
        picture: path of the plot as the page refers to it.
    """
    parts = [
        f"# Few labels: {experiment.dataset.resolve().name}",
        f"Written by `benchmarks/label_fractions.py`. Fold {experiment.fold}, {validation} held-out cases. Pretraining "
        "on every other image of the data set, labelled or not, for testing or training, without labels, "
        f"{experiment.pretraining_budget} each where no other time is named (METHOD@TIME); then a fixed number of "
        f"steps on few labelled cases with the plan for {experiment.plan_budget} (`{experiment.configuration}`: "
        f"{experiment.network}), each draw with a seed of its own from {experiment.seed} on. "
        "Dice: mean over foreground labels, held-out cases and draws of labelled cases; each draw of few cases is a "
        "part of that of more. Difference: to fresh weights with the same cases, plan, steps and seed, "
        "in Dice points (hundredths), with the 95 % bootstrap interval over held-out cases (each with its mean over "
        "draws), and beside it each draw's. NAME+10 is the same with other seeds of the training on labels.",
    ]
    if picture:
        parts.append(f"![Dice by labelled cases and steps]({picture})")
    for steps, count in dict.fromkeys((effect.steps, effect.cases) for row in rows for effect in row.effects):
        found = [row for row in rows if steps == experiment.steps or _effect(row, steps, count) is not None]
        table = _markdown(_EFFECTS, [_effect_row(row, steps, count) for row in found])
        parts += [f"## {count} labelled cases, {steps} steps", table]
    known = {row.arm.encoder: row.pretraining for row in rows if row.pretraining is not None}
    if known:
        parts += ["## The pretrainings", _markdown(_PRETRAININGS, [_pretraining_row(*one) for one in known.items()])]
    ways = sorted({row.arm.fine_tuning for row in rows} - {"plain"})
    if ways:
        lines = [f"- {way}: {', '.join(f'`--set {one}`' for one in FINE_TUNINGS[way])}" for way in ways]
        parts += ["## Ways of fine-tuning", "\n".join(lines)]
    failures = [f"- {row.arm.name}: {row.failure}" for row in rows if row.failure]
    if failures:
        parts += ["## What failed", "\n".join(failures)]
    facts = {**{f"machine {name}": value for name, value in machine().items()}, **versions()}
    shown = ("machine processor", "machine cores", "autoseg", "python", "torch")
    parts.append(", ".join(f"{name.removeprefix('machine ')} {facts[name]}" for name in shown if name in facts))
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Panel:
    """A part of the picture: Dice over what is varied, all else fixed.

    Attributes:
        label: of the axis, with what is fixed.
        ticks: what is varied, ascending.
        lines: for each arm that has two of them or more, its Dice at each; NaN where it was not trained.
    """

    label: str
    ticks: tuple[int, ...]
    lines: Mapping[Arm, tuple[float, ...]]


def panels(rows: Sequence[Row], steps: int) -> list[Panel]:
    """Over the labelled cases at so many steps, and over the steps at the cases with most of them.

    Each only if there are two values or more to join by a line.
    """
    cells = {(row.arm, effect.steps, effect.cases): effect.dice for row in rows for effect in row.effects}
    lengths: dict[int, set[int]] = {}
    for _, length, count in cells:
        lengths.setdefault(count, set()).add(length)
    counts = tuple(sorted(count for count in lengths if steps in lengths[count]))
    most = max(lengths, key=lambda count: len(lengths[count]), default=0)
    chosen = [
        (f"labelled cases ({steps} steps)", counts, [(steps, count) for count in counts]),
        (f"steps ({most} labelled cases)", ticks := tuple(sorted(lengths.get(most, ()))), [(n, most) for n in ticks]),
    ]
    found = []
    for label, ticks, places in chosen:
        lines = {row.arm: tuple(cells.get((row.arm, *place), nan) for place in places) for row in rows}
        lines = {arm: values for arm, values in lines.items() if sum(value == value for value in values) > 1}
        if lines:
            found.append(Panel(label, ticks, lines))
    return found


def plot(shown: Sequence[Panel], path: str) -> None:
    """Dice in each panel, a line per arm, as SVG; the legend is in the order of the last values."""
    figure = Figure(figsize=(2.4 + 3.8 * len(shown), 4.6), layout="constrained")
    FigureCanvasSVG(figure)
    arms = dict.fromkeys(arm for panel in shown for arm in panel.lines)
    others = (arm for arm in arms if arm != Arm(SCRATCH))
    drawn = dict(zip(others, cycle(product(("-", "--", ":"), SERIES)), strict=False))
    handles = {}
    for axes, panel in zip(figure.subplots(1, len(shown), squeeze=False, sharey=True)[0], shown, strict=True):
        for arm, values in panel.lines.items():
            line, colour = drawn.get(arm, ("-", INK))
            width = 1.4 if arm in drawn else 2.4
            (handles[arm],) = axes.plot(
                range(len(values)), values, line, color=colour, linewidth=width, marker="o", markersize=4
            )
        axes.set_xticks(range(len(panel.ticks)), [str(tick) for tick in panel.ticks])
        axes.set_xlabel(panel.label, color=MUTED)
        axes.grid(color=GRID, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("Dice of held-out cases", color=MUTED)
    order = sorted(handles, key=lambda arm: -next(panel.lines[arm][-1] for panel in shown if arm in panel.lines))
    figure.legend([handles[arm] for arm in order], [arm.name for arm in order], loc="outside right center",
                  frameon=False, fontsize=8)  # fmt: skip
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


_EFFECTS = ("weights from", "Dice", "difference", "95 % interval", "each draw")
_PRETRAININGS = ("pretraining", "steps", "s a step", "waiting for data", "loss", "deviation", "effective rank")


def _effect(row: Row, steps: int, count: int) -> Effect | None:
    return next((effect for effect in row.effects if (effect.steps, effect.cases) == (steps, count)), None)


def _effect_row(row: Row, steps: int, count: int) -> list[str]:
    effect = _effect(row, steps, count)
    if effect is None:
        return [row.arm.name, "not run" if not row.failure else "failed", *[_NO_VALUE] * 3]
    if effect.difference is None or effect.interval is None:
        return [row.arm.name, f"{effect.dice:.4f}", *[_NO_VALUE] * 3]
    low, high = effect.interval
    return [
        row.arm.name,
        f"{effect.dice:.4f}",
        f"{100 * effect.difference:+.2f}",
        f"{100 * low:+.2f} to {100 * high:+.2f}",
        ", ".join(f"{100 * one:+.1f}" for one in effect.draws),
    ]


def _pretraining_row(name: str, found: Pretraining | None) -> list[str]:
    assert found is not None
    optional = [_NO_VALUE if value is None else f"{value:.2f}" for value in (found.deviation, found.rank)]
    return [
        name, str(found.steps), f"{found.step_seconds:.3f}", f"{100 * found.waiting:.1f} %", f"{found.loss:.3f}",
        *optional,
    ]  # fmt: skip


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_rows(scores: Mapping[tuple[Arm, int], DrawScores]) -> str:
    """One line for each arm and steps, draw and held-out case."""
    lines = ["arm,steps,cases,draw,case,dice"]
    for (arm, steps), by_draw in scores.items():
        for draw, values in by_draw.items():
            start = f"{arm.name},{steps},{draw.cases},{draw.number}"
            names = sorted(draw.split.validation)
            lines += [f"{start},{name},{value:.6f}" for name, value in zip(names, values, strict=True)]
    return "\n".join(lines) + "\n"
