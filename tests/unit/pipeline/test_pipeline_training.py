"""How the time of a fold is divided."""

from __future__ import annotations

from autoseg.pipeline.training import training_seconds


def test_validation_is_kept_free_unless_it_would_starve_the_training() -> None:
    assert training_seconds(600.0, 30.0) == 570.0
    assert training_seconds(60.0, 55.0) == 30.0
    assert training_seconds(60.0, 500.0) == 30.0
    assert training_seconds(-5.0, 30.0) == 10.0
