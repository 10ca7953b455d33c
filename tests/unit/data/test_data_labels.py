"""Properties of the label scheme."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError

CONSECUTIVE = LabelScheme(names={"background": 0, "a": 1, "b": 2})
SPARSE = LabelScheme(names={"background": 0, "a": 7, "b": 255, "c": 3}, ignore=100)
NEGATIVE = LabelScheme(names={"background": 0, "a": -5, "b": 1000})
REGIONS = LabelScheme(
    names={"background": 0}, regions={"whole": (1, 2, 4), "core": (2, 4)}, region_order=(1, 2), ignore=9
)


@pytest.mark.parametrize("scheme", [CONSECUTIVE, SPARSE, NEGATIVE, REGIONS])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_decode_inverts_encode(scheme: LabelScheme, dtype: type) -> None:
    labels = np.random.default_rng(0).choice(scheme.values, (3, 4, 5)).astype(dtype)
    encoded = scheme.encode(labels)
    assert encoded.dtype == np.int16
    assert set(np.unique(encoded)) <= set(range(len(scheme.values)))
    assert np.array_equal(scheme.decode(encoded), labels)


def test_values_are_in_the_order_of_the_files() -> None:
    assert SPARSE.values == (0, 3, 7, 255)
    assert SPARSE.foreground == {"c": (3,), "a": (7,), "b": (255,)}
    assert SPARSE.training_foreground == {"c": (1,), "a": (2,), "b": (3,)}
    assert SPARSE.outputs == 4


def test_ignore_comes_last() -> None:
    assert SPARSE.training_ignore == 4
    assert SPARSE.encode(np.array([100, 0, 255])).tolist() == [4, 0, 3]
    assert CONSECUTIVE.training_ignore is None


def test_regions() -> None:
    assert REGIONS.values == (0, 1, 2, 4)
    assert REGIONS.outputs == 2
    assert REGIONS.training_foreground == {"whole": (1, 2, 3), "core": (2, 3)}


@pytest.mark.parametrize("scheme", [CONSECUTIVE, SPARSE])
@pytest.mark.parametrize("stranger", [-1, 5, 300])
def test_unknown_values_are_refused(scheme: LabelScheme, stranger: int) -> None:
    with pytest.raises(ConfigurationError, match="not in the data set's labels"):
        scheme.encode(np.array([0, stranger]))


def test_decode_takes_the_smallest_type() -> None:
    assert CONSECUTIVE.decode(np.array([0, 1])).dtype == np.uint8
    assert NEGATIVE.decode(np.array([0, 1])).dtype == np.int16
    assert LabelScheme(names={"background": 0, "a": 70000}).decode(np.array([1])).tolist() == [70000]


def test_no_voxels() -> None:
    assert CONSECUTIVE.encode(np.zeros((0, 2, 2), np.uint8)).shape == (0, 2, 2)
    assert SPARSE.encode(np.zeros((0, 2, 2), np.uint8)).shape == (0, 2, 2)
