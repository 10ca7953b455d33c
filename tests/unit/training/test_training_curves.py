"""Learning curves: what is read, what is drawn, how long it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoseg.run_state import read_metrics
from autoseg.training.curves import learning_curves, write_progress


def row(step: int, **changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "step": step,
        "steps": 100,
        "loss": 1.0 / step,
        "validation_loss": None,
        "learning_rate": 0.01,
        "validation_dice": {"organ": 0.5, "lesion": None},
        "validation_foreground_dice": 0.5,
        "step_seconds": 0.4,
        "waiting_for_data": 0.25,
    }
    return values | changes


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_cut_line_is_passed_over_and_repeated_step_replaced(tmp_path: Path) -> None:
    lines = [json.dumps(row(10)), json.dumps(row(20)), '{"step": 30, "lo', json.dumps(row(20, loss=7.0))]
    rows = read_metrics(write(tmp_path / "metrics.jsonl", *lines))
    assert [one["step"] for one in rows] == [10, 20]
    assert rows[1]["loss"] == 7.0


def test_missing_or_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    assert read_metrics(write(tmp_path / "empty.jsonl")) == []


def test_panels_hold_the_values_and_leave_gaps() -> None:
    rows = [row(10), row(20, validation_loss=0.3), row(30, validation_loss=0.2, loss=None)]
    loss, dice, rate, time = learning_curves(rows).axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert curves["training"] == [[10, pytest.approx(0.1)], [20, pytest.approx(0.05)]]
    assert curves["validation"] == [[20, 0.3], [30, 0.2]]
    assert [line.get_label() for line in dice.lines] == ["organ", "mean"]  # the lesion was never defined
    assert [x for x, _ in rate.lines[0].get_xydata()] == [10, 20, 30]
    waiting = next(line for line in time.lines if line.get_label() == "waiting for data")
    assert waiting.get_ydata().tolist() == pytest.approx([0.1, 0.1, 0.1])


def test_many_classes_do_not_cover_the_plot_with_a_legend() -> None:
    many = {f"class {index}": 0.5 for index in range(20)}
    dice = learning_curves([row(10, validation_dice=many), row(20, validation_dice=many)]).axes[1]
    assert len(dice.lines) == 21
    assert dice.get_legend() is None or len(dice.get_legend().get_texts()) == 1


def test_no_rows_give_empty_panels(tmp_path: Path) -> None:
    assert all(not panel.lines for panel in learning_curves([]).axes)
    write_progress(tmp_path / "metrics.jsonl", tmp_path / "progress.png")
    assert (tmp_path / "progress.png").exists()


def test_progress_is_a_png(tmp_path: Path) -> None:
    metrics = write(tmp_path / "metrics.jsonl", *(json.dumps(row(step)) for step in range(1, 101)))
    write_progress(metrics, tmp_path / "progress.png")
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "progress.png"]  # nothing half-written
