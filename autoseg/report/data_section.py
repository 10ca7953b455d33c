"""What the data is: pictures of the fingerprint and words about what is unusual in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FixedLocator, MaxNLocator

from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
from autoseg.report.metrics import label_name, short
from autoseg.report.network import times
from autoseg.report.strips import Group, strips
from autoseg.report.theme import inline_svg, new_figure
from autoseg.training.curves import INK, MUTED, SERIES, plain_axes

AXES = ("z", "y", "x")
_FEW = 6
"""Up to this many classes have a colour of their own in a picture."""


@dataclass(frozen=True)
class DataSection:
    """Section 5 of the page: facts as (name, value), pictures, and what is unusual, in words."""

    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Markup, ...]
    unusual: tuple[str, ...]


def data_section(fingerprint: Fingerprint) -> DataSection:
    """Facts and pictures of a fingerprint; one without cases has facts only."""
    cases = fingerprint.cases
    if not cases:
        return DataSection((("cases", "0"),), (), fingerprint.warnings)
    pictures = [_shapes(fingerprint), _spacings(fingerprint), _volumes(fingerprint), _frequencies(fingerprint)]
    pictures += [_intensities(fingerprint, channel) for channel in range(len(fingerprint.channels))]
    return DataSection(_facts(fingerprint), tuple(p for p in pictures if p is not None), fingerprint.warnings)


def _facts(fingerprint: Fingerprint) -> tuple[tuple[str, str], ...]:
    cases, axes = fingerprint.cases, _axes(fingerprint)
    shapes = np.array([case.shape_after_crop for case in cases])[:, axes]
    spacings = np.array([case.spacing for case in cases])[:, axes]
    spacing = f"{times(tuple(np.median(spacings, axis=0).round(4)))} mm{_every(spacings)}"
    if fingerprint.dimension == 2 and (spacings == 1).all():
        spacing = "not given: a pixel counts as 1 mm"
    return (
        ("cases", str(len(cases))),
        *_annotated(fingerprint),
        ("dimension", f"{fingerprint.dimension}D"),
        ("channels", ", ".join(fingerprint.channels)),
        ("axes", ", ".join(AXES[axis] for axis in axes)),
        ("median shape after crop", times(tuple(np.median(shapes, axis=0))) + _every(shapes)),
        ("median spacing", spacing),
        ("kept by the crop to non-zero", f"{fingerprint.median_relative_size:.0%} of the voxels (median)"),
    )


def _annotated(fingerprint: Fingerprint) -> tuple[tuple[str, str], ...]:
    """In how many cases each class was looked for, unless all were looked for in all."""
    counts = {
        name: sum(name in case.class_voxels for case in fingerprint.cases) for name in _classes(fingerprint.cases)
    }
    if not counts or min(counts.values()) == len(fingerprint.cases):
        return ()
    return (("annotated", ", ".join(f"{label_name(name)} in {count}" for name, count in counts.items()) + " cases"),)


def _alike(values: np.ndarray) -> bool:
    """Whether all rows are equal, shape (cases, axes)."""
    return len(np.unique(values.round(4), axis=0)) == 1


def _every(values: np.ndarray) -> str:
    return ", the same in every case" if len(values) > 1 and _alike(values) else ""


def _axes(fingerprint: Fingerprint) -> list[int]:
    return [0, 1, 2] if fingerprint.dimension == 3 else [1, 2]


def _shapes(fingerprint: Fingerprint) -> Markup | None:
    values = np.array([case.shape_after_crop for case in fingerprint.cases])
    return _histograms(fingerprint, values, "Shape after crop", "voxels" if fingerprint.dimension == 3 else "pixels")


def _spacings(fingerprint: Fingerprint) -> Markup | None:
    values = np.array([case.spacing for case in fingerprint.cases])
    return _histograms(fingerprint, values, "Spacing", "mm")


def _histograms(fingerprint: Fingerprint, values: np.ndarray, title: str, unit: str) -> Markup | None:
    if _alike(values):
        return None  # one bar would tell less than the line among the facts
    axes = _axes(fingerprint)
    figure = new_figure(5.4, 2.3)
    panels = np.atleast_1d(figure.subplots(1, len(axes), sharey=True))
    for panel, axis in zip(panels, axes, strict=True):
        plain_axes(panel, f"{title}, {AXES[axis]}")
        column = values[:, axis]
        bins = min(20, max(5, int(np.sqrt(column.size) * 1.5)))
        constant = np.ptp(column) == 0
        panel.hist(column, bins=1 if constant else bins, color=SERIES[0], alpha=0.85, rwidth=0.2 if constant else 0.9)
        panel.axvline(float(np.median(column)), color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        panel.set_xlabel(unit, color=MUTED, fontsize=8.5)
        panel.xaxis.set_major_locator(FixedLocator([column[0]]) if constant else MaxNLocator(4))
        panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0].set_ylabel("cases", color=MUTED, fontsize=8.5)
    return inline_svg(figure, f"fingerprint-{title}", f"Histograms of the {title.lower()}, median dashed")


def _volumes(fingerprint: Fingerprint) -> Markup | None:
    names = _classes(fingerprint.cases)
    volumes = [_present(fingerprint.cases, name) for name in names]
    if not any(v.size for v in volumes):
        return None
    unit, divisor = _volume_unit(fingerprint, np.concatenate(volumes))
    what = "Volume" if fingerprint.dimension == 3 else "Area"
    title = f"{what} of each class per case, where present [{unit}]"
    groups = [
        Group(label_name(name), ((volume / divisor, _colour(index, len(names))),))
        for index, (name, volume) in enumerate(zip(names, volumes, strict=True))
    ]
    figure, axes = strips(title, groups)
    positive = np.concatenate(volumes)
    if positive.max() > 50 * positive.min():
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    return inline_svg(figure, "fingerprint-volumes", f"{what} of each class, a point per case")


def _frequencies(fingerprint: Fingerprint) -> Markup | None:
    names = _classes(fingerprint.cases)
    if not names:
        return None
    looked_for = [[case for case in fingerprint.cases if name in case.class_voxels] for name in names]
    totals = [sum(int(np.prod(case.shape_after_crop)) for case in cases) for cases in looked_for]
    voxels = [[case.class_voxels[name] for case in cases] for name, cases in zip(names, looked_for, strict=True)]
    shares = [100 * sum(counts) / total for counts, total in zip(voxels, totals, strict=True)]
    present = [f"{sum(count > 0 for count in counts)} of {len(counts)}" for counts in voxels]
    figure = new_figure(5.4, 0.95 + 0.36 * len(names) ** 0.95)
    axes = plain_axes(figure.subplots(), "Share of all voxels [%], and cases where the class is present")
    axes.barh(range(len(names)), shares, height=0.6, color=[_colour(i, len(names)) for i in range(len(names))])
    for row, (share, count) in enumerate(zip(shares, present, strict=True)):
        text = f"{share:.2g} %, in {count}"
        axes.annotate(
            text, (share, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK
        )
    axes.set_yticks(range(len(names)), [short(label_name(name)) for name in names], color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, max([*shares, 1e-9]) * 1.5)
    axes.grid(visible=False, axis="y")
    return inline_svg(figure, "fingerprint-frequencies", "Share of the voxels of each class")


def _intensities(fingerprint: Fingerprint, channel: int) -> Markup | None:
    """Foreground intensities of every case, sorted by mean: how alike the images of the data set are."""
    statistics = [
        s for case in fingerprint.cases if channel < len(case.intensities) and (s := case.intensities[channel])
    ]
    if not statistics:
        return None
    statistics.sort(key=lambda case: case.mean)
    figure = new_figure(5.4, 2.6)
    axes = plain_axes(figure.subplots(), f"Foreground intensities, channel {short(fingerprint.channels[channel])}")
    rows = np.arange(len(statistics))
    low = [case.percentile_00_5 for case in statistics]
    high = [case.percentile_99_5 for case in statistics]
    axes.vlines(
        rows,
        low,
        high,
        color=SERIES[5],
        linewidth=max(0.6, min(4.0, 220 / len(statistics))),
        alpha=0.55,
        label="0.5 to 99.5 percentile",
    )
    axes.plot(
        rows,
        [case.mean for case in statistics],
        color=SERIES[0],
        linewidth=1.8,
        label="mean",
        marker="o" if len(statistics) < 30 else None,
        markersize=3,
    )
    axes.axhline(
        fingerprint.intensities[channel].mean,
        color=INK,
        linewidth=1.1,
        linestyle=(0, (4, 2)),
        label="mean of the data set",
    )
    # Scanners without a common scale differ by orders of magnitude; a linear axis would show the largest alone.
    widest = max(abs(value) for value in (*low, *high))
    typical = float(np.median([abs(case.mean) for case in statistics])) or 1.0
    if widest > 50 * typical:
        axes.set_yscale("symlog", linthresh=typical)
        if min(low) >= 0:
            axes.set_ylim(bottom=0)
    axes.set_xlabel("cases, sorted by mean", color=MUTED, fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5, frameon=False, labelcolor=INK)
    return inline_svg(figure, f"fingerprint-intensities-{channel}", "Range and mean of the intensities of every case")


def _classes(cases: Sequence[CaseFingerprint]) -> list[str]:
    return list(dict.fromkeys(name for case in cases for name in case.class_voxels))


def _present(cases: Sequence[CaseFingerprint], name: str) -> np.ndarray:
    return np.array([v for case in cases if (v := case.class_volumes.get(name, 0.0)) > 0], dtype=float)


def _volume_unit(fingerprint: Fingerprint, volumes: np.ndarray) -> tuple[str, float]:
    """A unit in which the typical volume is a number that one can read, and what to divide by."""
    if fingerprint.dimension == 2:
        return "mm²", 1.0
    return ("ml", 1000.0) if np.median(volumes) >= 1000 else ("mm³", 1.0)


def _colour(index: int, count: int) -> str:
    return SERIES[index % len(SERIES)] if count <= _FEW else SERIES[0]
