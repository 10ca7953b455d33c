"""Label schemes of any values, with regions and an ignored value, and the descriptions that they are read from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data.description import parse_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError, DatasetError

SEEDS = st.integers(0, 2**32 - 1)
VALUES = st.one_of(st.integers(1, 6), st.sampled_from((100, 255, 256, 32767, 32768, 70000, -1, -300, -40000)))


@st.composite
def schemes(draw: st.DrawFn) -> LabelScheme:
    """Labels, or regions of them, whose values are in any order and need not follow each other."""
    consecutive = st.integers(0, 6).map(lambda count: list(range(1, count + 1)))
    values = draw(consecutive | st.lists(VALUES, unique=True, max_size=6))
    ignore = draw(st.none() | st.just(max([0, *values]) + 1) | VALUES.filter(lambda value: value not in values))
    if not values or draw(st.booleans()):
        return LabelScheme(names={"background": 0, **{f"label {value}": value for value in values}}, ignore=ignore)
    members = st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)
    regions = draw(st.dictionaries(st.sampled_from("abcd"), members, min_size=1))
    labelled = sorted({value for region in regions.values() for value in region})
    order = draw(st.tuples(*[st.sampled_from(labelled)] * len(regions)))
    return LabelScheme(names={"background": 0}, regions=regions, region_order=order, ignore=ignore)


def label_map(scheme: LabelScheme, seed: int, *, ignored: bool) -> np.ndarray:
    """File values (3, 4, 5), the ignored one among them if asked and if there is one."""
    values = [*scheme.values, *([scheme.ignore] if ignored and scheme.ignore is not None else [])]
    return np.random.default_rng(seed).choice(values, (3, 4, 5))


@given(schemes())
def test_background_is_the_first_training_value(scheme: LabelScheme) -> None:
    assert scheme.values[0] == 0
    assert list(scheme.values[1:]) == sorted(set(scheme.values[1:]) - {0})
    assert scheme.ignore not in scheme.values
    assert scheme.encode(np.zeros((1, 2, 2), np.int32)).tolist() == [[[0, 0], [0, 0]]]


@given(schemes(), SEEDS, st.sampled_from((np.int32, np.int64, np.float32, np.float64)))
def test_decoding_inverts_encoding(scheme: LabelScheme, seed: int, dtype: type) -> None:
    labels = label_map(scheme, seed, ignored=False)
    encoded = scheme.encode(labels.astype(dtype))
    assert encoded.dtype == np.int16
    assert 0 <= encoded.min() <= encoded.max() < len(scheme.values)
    np.testing.assert_array_equal(scheme.decode(encoded), labels)


@given(schemes(), SEEDS)
def test_classes_are_the_same_voxels_in_files_and_in_training(scheme: LabelScheme, seed: int) -> None:
    labels = label_map(scheme, seed, ignored=True)
    encoded = scheme.encode(labels)
    assert list(scheme.foreground) == list(scheme.training_foreground)
    for name, values in scheme.foreground.items():
        np.testing.assert_array_equal(np.isin(encoded, scheme.training_foreground[name]), np.isin(labels, values))
    if scheme.ignore is None:
        assert scheme.training_ignore is None
    else:
        assert scheme.training_ignore == len(scheme.values)
        np.testing.assert_array_equal(encoded == scheme.training_ignore, labels == scheme.ignore)


@given(schemes(), SEEDS, st.integers(-2, 9) | VALUES)
def test_a_value_that_the_scheme_lacks_is_refused(scheme: LabelScheme, seed: int, stranger: int) -> None:
    labels = label_map(scheme, seed, ignored=True)
    labels[1, 2, 3] = stranger
    if stranger in scheme.values or stranger == scheme.ignore:
        scheme.encode(labels)
    else:
        with pytest.raises(ConfigurationError, match="not in the data set's labels"):
            scheme.encode(labels)


@given(schemes(), st.booleans())
def test_a_scheme_is_read_from_its_description(scheme: LabelScheme, by_value: bool) -> None:
    table: dict[str, Any] = {"background": 0}
    table |= {name: list(v) for name, v in scheme.regions.items()} or {n: v for n, v in scheme.names.items() if v}
    table |= {} if scheme.ignore is None else {"ignore": scheme.ignore}
    if by_value and not scheme.regions:
        table = {str(value): name for name, value in table.items()}
    read = parse_labels({"labels": table, "regions_class_order": list(scheme.region_order)}, "dataset.json")
    for field in ("values", "foreground", "training_foreground", "ignore", "region_order", "outputs"):
        assert getattr(read, field) == getattr(scheme, field)


SMALL = st.integers(-1, 3)  # so that values coincide
ENTRIES = st.one_of(SMALL, st.lists(SMALL, max_size=3), st.sampled_from((1.5, 2.0, "3", "x", None)))
TABLES = st.fixed_dictionaries(
    {"a": ENTRIES}, optional={"background": st.sampled_from((0, 0, 1, [0])), "b": ENTRIES, "ignore": ENTRIES}
)


@given(TABLES, st.lists(SMALL, min_size=1, max_size=2))
def test_a_description_gives_a_scheme_or_an_error_for_the_user(table: dict[str, Any], order: list[int]) -> None:
    try:
        scheme = parse_labels({"labels": table, "regions_class_order": order}, "dataset.json")
    except DatasetError:
        return
    assert len(scheme.region_order) == len(scheme.regions)
    first = int(scheme.zero_is_class)
    assert scheme.values[first] == 0
    assert list(scheme.training_foreground) == list(scheme.foreground)
    every = [*scheme.values[first:], *([] if scheme.ignore is None else [scheme.ignore])]
    assert scheme.encode(np.asarray(every)).tolist() == list(range(first, first + len(every)))
