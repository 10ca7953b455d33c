"""The experiment as a Markdown page and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from autoseg.provenance import machine, versions
from autoseg.training.curves import GRID, INK, MUTED, SERIES
from benchmarks.pretraining.experiment import FINE_TUNINGS, SCRATCH, Arm, Experiment
from benchmarks.pretraining.outcomes import Effect, Pretraining, Scores

_NO_VALUE = "-"


@dataclass(frozen=True)
class Row:
    """What is known of an arm.

    Attributes:
        arm: what was compared.
        effects: fewer labelled cases first; empty where nothing is trained yet.
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
        f"{experiment.pretraining_budget} each; then {experiment.steps} steps on few labelled cases with the plan for "
        f"{experiment.plan_budget} (`{experiment.configuration}`: {experiment.network}), seed {experiment.seed}. "
        "Dice: mean over foreground labels, held-out cases and draws of labelled cases; each draw of few cases is a "
        "part of that of more. Difference: to fresh weights with the same cases, plan, steps and seed, "
        "in Dice points (hundredths), with the 95 % bootstrap interval over held-out cases (each with its mean over "
        "draws), and beside it each draw's.",
    ]
    if picture:
        parts.append(f"![Dice by number of labelled cases]({picture})")
    for count in sorted({effect.cases for row in rows for effect in row.effects}):
        parts += [f"## {count} labelled cases", _markdown(_EFFECTS, [_effect_row(row, count) for row in rows])]
    known = {row.arm.method: row.pretraining for row in rows if row.pretraining is not None}
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


def plot(rows: Sequence[Row], path: str) -> None:
    """Dice over the number of labelled cases, a line an arm, as SVG; the end of a line bears its name."""
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    shown = sorted((row for row in rows if row.effects), key=lambda row: row.effects[0].dice)
    counts = sorted({effect.cases for row in shown for effect in row.effects})
    others = iter(SERIES * (1 + len(shown) // len(SERIES)))
    for row in shown:
        fresh = row.arm.method == SCRATCH
        points = [(counts.index(effect.cases), effect.dice) for effect in row.effects]
        style = {"color": INK, "linewidth": 2.4} if fresh else {"color": next(others), "linewidth": 1.4}
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=row.arm.name, **style)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("labelled cases", color=MUTED)
    axes.set_ylabel("Dice of held-out cases", color=MUTED)
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


_EFFECTS = ("weights from", "Dice", "difference", "95 % interval", "each draw")
_PRETRAININGS = ("method", "steps", "s a step", "waiting for data", "loss", "deviation", "effective rank")


def _effect_row(row: Row, count: int) -> list[str]:
    effect = next((effect for effect in row.effects if effect.cases == count), None)
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


def _pretraining_row(method: str, found: Pretraining | None) -> list[str]:
    assert found is not None
    optional = [_NO_VALUE if value is None else f"{value:.2f}" for value in (found.deviation, found.rank)]
    return [
        method, str(found.steps), f"{found.step_seconds:.3f}", f"{100 * found.waiting:.1f} %", f"{found.loss:.3f}",
        *optional,
    ]  # fmt: skip


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_rows(scores: Mapping[Arm, Scores]) -> str:
    """One line for each arm, draw and held-out case."""
    lines = ["arm,cases,draw,case,dice"]
    for arm, by_draw in scores.items():
        for draw, values in by_draw.items():
            start = f"{arm.name},{draw.cases},{draw.number}"
            names = sorted(draw.split.validation)
            lines += [f"{start},{name},{value:.6f}" for name, value in zip(names, values, strict=True)]
    return "\n".join(lines) + "\n"
