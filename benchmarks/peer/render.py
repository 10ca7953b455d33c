"""The comparison as text: a table for the terminal and two pages for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.peer.records import Measured, Row, Unit

_COMMAND = "make benchmark-peer"
_COLUMNS = ("", "autoseg", "nnU-Net v2", "ratio", "asked", "peak memory", "results")


def printed(measured: Measured) -> str:
    """A section as lines of text."""
    lines = [f"{measured.title} ({measured.minutes:.1f} min): {measured.section.work}"]
    lines += [f"  {row.setting}: {_line(row)}" for row in measured.section.rows]
    lines += [f"  profile: {line}" for line in measured.section.profile]
    return "\n".join(lines)


def benchmarks_page(found: Sequence[Measured]) -> str:
    """docs/benchmarks.md: every section's work and table, machine and versions."""
    parts = [
        "# autoseg beside nnU-Net v2",
        f"Written by `{_COMMAND}`; no figure is typed in. Both sides work on the same files on the same machine, in "
        "turns; a figure is the median of its repeats with the smallest and largest in brackets. A ratio above 1 "
        "means that autoseg is faster (for Dice it is the difference); memory is the largest proportional set size of "
        "the whole process tree. Rows without an asked ratio are there to be seen.",
        _machines(found),
    ]
    for one in found:
        parts += [f"## {one.title}", one.section.work, _table(_COLUMNS, map(_cells, one.section.rows))]
    return "\n\n".join(parts) + "\n"


def performance_page(found: Sequence[Measured]) -> str:
    """docs/performance.md: each section's physical floor, how far from it we are, and where our time goes."""
    parts = [
        "# How far from the physical floor",
        f"Written by `{_COMMAND}`, from the same runs as [benchmarks](benchmarks.md). The floor of a row is the least "
        "time that its work can take on this machine: bytes that must be moved over the bandwidth of a copy, or "
        "operations that must be done over the rate of the faster of a large matrix product and a wide convolution, "
        "both measured on the same cores in the same run. Nothing reaches it: small convolutions do not run at the "
        "rate of large products, and programs have to start. It shows where there is something left to win.",
        _machines(found),
    ]
    columns = ("", "ours", "floor", "times the floor", "floor counts")
    for one in found:
        limits = [_limit(row) for row in one.section.rows if row.floor is not None]
        if not (limits or one.section.profile):
            continue
        parts.append(f"## {one.title}")
        if limits:
            parts.append(_table(columns, limits))
        if one.section.profile:
            parts.append("Where our time goes:\n\n" + "\n".join(f"- {line}" for line in one.section.profile))
    return "\n\n".join(parts) + "\n"


def _machines(found: Sequence[Measured]) -> str:
    """One list for sections that were measured alike; a line says which sections if there are several."""
    groups: dict[str, list[str]] = {}
    for one in found:
        # The peaks are measured anew in each run and vary a little; they do not make another machine.
        fixed = {name: value for name, value in one.machine.items() if not value.endswith("/s")}
        groups.setdefault(f"{one.date}: " + ", ".join(f"{k} {v}" for k, v in fixed.items()), []).append(one.title)
    if len(groups) == 1:
        return next(iter(groups))
    return "\n".join(f"- {machine} ({', '.join(titles)})" for machine, titles in groups.items())


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.setting,
        _figures(row.ours, row.unit),
        _figures(row.peer, row.unit),
        _ratio(row),
        _asked(row),
        _memory(row),
        row.agreement,
    )


def _line(row: Row) -> str:
    ours, peer = _figures(row.ours, row.unit), _figures(row.peer, row.unit)
    parts = [f"autoseg {ours}, nnU-Net {peer}, ratio {_ratio(row)}", _asked(row), _memory(row), row.agreement]
    if row.floor is not None and row.above_floor is not None:
        parts.append(f"{row.above_floor:.1f} times the floor")
    return "; ".join(part for part in parts if part)


def _limit(row: Row) -> tuple[str, ...]:
    assert row.floor is not None
    above = "" if row.above_floor is None else f"{row.above_floor:.1f}"
    return row.setting, _figures(row.ours, row.unit), f"{_number(row.floor.seconds)} s", above, row.floor.how


def _figures(values: tuple[float, ...], unit: Unit) -> str:
    if not values:
        return "-"
    if unit is Unit.DICE:
        return f"{median(values):.4f}"
    spread = f" [{_number(min(values))}-{_number(max(values))}]" if len(values) > 1 else ""
    return f"{_number(median(values))}{' s' if unit is Unit.SECONDS else '/s'}{spread}"


def _number(value: float) -> str:
    """Three significant digits without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _ratio(row: Row) -> str:
    if not (row.ours and row.peer):
        return "-"
    return f"{row.ratio:+.4f}" if row.unit is Unit.DICE else f"{_number(row.ratio)}x"


def _asked(row: Row) -> str:
    wanted = []
    if row.required is not None:
        least = f"{row.required:+.3f}" if row.unit is Unit.DICE else f"{row.required:g}x"
        wanted.append(least)
    if row.required_ours is not None:
        wanted.append(f"ours {row.required_ours:g}")
    if row.required_memory is not None:
        wanted.append(f"memory {row.required_memory:g}x")
    if not wanted:
        return ""
    return f"{', '.join(wanted)}: {'met' if row.met else '**falls short**'}"


def _memory(row: Row) -> str:
    known = [value for value in (row.ours_peak_mb, row.peer_peak_mb) if value is not None]
    if not known:
        return ""
    share = f" ({row.memory_share:.2f}x)" if row.memory_share is not None else ""
    return " / ".join(f"{value:.0f} MB" for value in known) + share
