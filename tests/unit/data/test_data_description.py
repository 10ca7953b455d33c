"""The forms of channels and labels in dataset.json."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoseg.data.description import discovered_labels, parse_channels, parse_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError, DatasetError


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"channel_names": {"0": "CT"}}, ("CT",)),
        ({"modality": {"1": "T2", "0": "T1", "10": "z"}}, ("T1", "T2", "z")),
        ({"modality": ["T1", "T2"]}, ("T1", "T2")),
        ({"channel_names": {"0": "CT"}, "modality": {"0": "MR"}}, ("CT",)),
    ],
)
def test_channels(description: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert parse_channels(description, "dataset.json") == expected


@pytest.mark.parametrize("channels", [None, {}, "CT"])
def test_unnamed_channels(channels: Any) -> None:
    with pytest.raises(DatasetError, match="channels are not named"):
        parse_channels({"channel_names": channels}, "dataset.json")


def test_unnumbered_channels() -> None:
    with pytest.raises(DatasetError, match="channels are not numbered"):
        parse_channels({"channel_names": {"T1": "0"}}, "dataset.json")


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "b": 2, "a": 1},
        {"background": "0", "b": "2", "a": "1"},
        {"0": "background", "1": "a", "2": "b"},
        {"b": 2, "a": 1},
        {"background": 0.0, "a": 1.0, "b": 2.0},
    ],
)
def test_equal_label_tables(labels: dict[str, Any]) -> None:
    scheme = parse_labels({"labels": labels}, "dataset.json")
    assert scheme.names == {"background": 0, "a": 1, "b": 2}
    assert list(scheme.names) == ["background", "a", "b"]
    assert (scheme.regions, scheme.ignore) == ({}, None)


def test_background_by_another_name() -> None:
    assert parse_labels({"labels": {"0": "unlabelled", "4": "a"}}, "").names == {"unlabelled": 0, "a": 4}


def test_ignore_in_both_forms() -> None:
    for labels in ({"background": 0, "a": 1, "ignore": 2}, {"0": "background", "1": "a", "2": "ignore"}):
        scheme = parse_labels({"labels": labels}, "")
        assert scheme.names == {"background": 0, "a": 1}
        assert scheme.ignore == 2


def test_one_name_for_two_values_stays_two_labels() -> None:
    scheme = parse_labels({"labels": {"0": "background", "1": "other", "2": "other"}}, "")
    assert scheme.values == (0, 1, 2)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "labels are not named"),
        ({"labels": {}}, "labels are not named"),
        ({"labels": {"background": 0, "a": "one"}}, "label 'a' has no whole number"),
        ({"labels": {"background": 0, "a": 1.5}}, "label 'a' has no whole number"),
        ({"labels": {"background": 0, "a": []}}, "label 'a' has no whole number"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "two labels have the same value"),
        ({"labels": {"background": 0, "a": 1, "ignore": 1}}, "two labels have the same value"),
        ({"labels": {"background": 0, "a": 1, "ignore": [2, 3]}}, "label 'ignore' must have one value"),
        ({"labels": {"background": 0, "a": [1, 2]}}, "regions need an order"),
        ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [1, 2]}, "regions need an order"),
        ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": ["x"]}, "regions need an order"),
        ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [3]}, "names values that no region has"),
    ],
)
def test_wrong_label_tables(description: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parse_labels(description, "dataset.json")


def test_discovered_labels_are_named_by_value() -> None:
    assert discovered_labels({255, 0, 7}).names == {"background": 0, "7": 7, "255": 255}
    assert discovered_labels({5}).names == {"background": 0, "5": 5}


@pytest.mark.parametrize("name", ["grass", "Soil", "liver", "hair", "class 0", "noise"])
def test_zero_with_a_name_of_its_own_is_a_class(name: str) -> None:
    scheme = parse_labels({"labels": {name: 0, "tree": 3, "ignore": 7}}, "dataset.json")
    assert scheme.zero_is_class
    assert scheme.foreground == {name: (0,), "tree": (3,)}
    assert scheme.training_foreground == {name: (1,), "tree": (2,)}
    assert (scheme.outputs, scheme.training_ignore) == (3, 3)
    labels = np.array([0, 3, 7, 0])
    assert scheme.encode(labels).tolist() == [1, 2, 3, 1]
    assert scheme.decode(np.array([0, 1, 2])).tolist() == [0, 0, 3], "where background is found, 0 is written"
    with pytest.raises(ConfigurationError, match="not in the data set's labels"):
        scheme.encode(np.array([-1]))
    assert LabelScheme.from_mapping(scheme.model_dump(mode="json")) == scheme


@pytest.mark.parametrize(
    "name",
    ["background", "Background (air)", "bg", "unlabeled", "Unlabelled", "other", "no tumour", "non-lesion", "nonlesion",
     "healthy tissue", "Clear Label", "none", "rest of the body", "NT/normal"],
)  # fmt: skip
def test_zero_with_a_name_of_background_is_background(name: str) -> None:
    for table in ({name: 0, "tree": 1}, {"0": name, "1": "tree"}):
        scheme = parse_labels({"labels": table}, "dataset.json")
        assert not scheme.zero_is_class
        assert scheme.foreground == {"tree": (1,)}
        assert "zero_is_class" not in scheme.model_dump(mode="json")


def test_whether_zero_is_a_class_can_be_said() -> None:
    named = {"labels": {"grass": 0, "tree": 1}, "zero_is_class": False}
    assert parse_labels(named, "dataset.json").foreground == {"tree": (1,)}
    named = {"labels": {"other": 0, "tree": 1}, "zero_is_class": True}
    assert parse_labels(named, "dataset.json").foreground == {"other": (0,), "tree": (1,)}
    assert not parse_labels({"labels": {"tree": 1}}, "dataset.json").zero_is_class
    with pytest.raises(DatasetError, match="neither true nor false"):
        parse_labels({"labels": {"grass": 0, "tree": 1}, "zero_is_class": "no"}, "dataset.json")
    with pytest.raises(DatasetError, match="others are negative"):
        parse_labels({"labels": {"grass": 0, "tree": -1}}, "dataset.json")
