"""What tests of every kind share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import checked_shapes
import pytest
from hypothesis import HealthCheck, settings

_PROPERTIES = settings(
    deadline=None,  # time depends on what else the machine does
    database=None,  # nothing is carried over from one run to the next
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    print_blob=True,
)
settings.register_profile("fixed", _PROPERTIES, derandomize=True, max_examples=50)
settings.register_profile("search", _PROPERTIES, max_examples=1000)
# the same examples in every run; `pytest --hypothesis-profile=search` looks further, each time elsewhere
settings.load_profile("fixed")

checked_shapes.check_rooms()


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """For tests of what the program itself says of arrays that do not fit."""
    with checked_shapes.unchecked():
        yield


@pytest.fixture
def fresh_logging() -> Iterator[None]:
    """For tests that read what commands print: none of the log goes to the standard error of another test.

    The console handler keeps the standard error of its first use, which pytest replaces for each test; fixtures of a
    module may have used it before a test begins.
    """
    _close_handlers()
    yield
    _close_handlers()
    logging.getLogger("autoseg").propagate = True


def _close_handlers() -> None:
    logger = logging.getLogger("autoseg")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
