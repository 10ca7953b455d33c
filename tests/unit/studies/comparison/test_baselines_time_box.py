"""Training ends with its time or its steps."""

from __future__ import annotations

import time

import pytest

from autoseg.errors import ConfigurationError
from autoseg.studies.comparison.baselines.time_box import allowed_seconds, timed_steps


def test_steps_end_a_training() -> None:
    assert list(timed_steps("short", {"steps": 3}, seconds=1000, most=9)) == [0, 1, 2]
    assert list(timed_steps("short", {}, seconds=1000, most=2)) == [0, 1]


def test_the_first_step_is_always_given() -> None:
    assert list(timed_steps("short", {"seconds": 1e-9}, seconds=1000, most=9)) == [0]


def test_time_ends_a_training() -> None:
    steps = 0
    for _ in timed_steps("short", {"seconds": 0.1}, seconds=1000, most=1000):
        time.sleep(0.03)
        steps += 1
    assert 2 <= steps <= 4


@pytest.mark.parametrize("seconds", [0, -1, "10", True, None])
def test_what_is_no_time_is_refused(seconds: object) -> None:
    with pytest.raises(ConfigurationError, match="seconds"):
        allowed_seconds({"seconds": seconds}, 5)
