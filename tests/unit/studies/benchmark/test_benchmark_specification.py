"""What a specification may say, and the sentences about what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from challenge_folders import specification

from autoseg.data.description import parse_channels, parse_labels
from autoseg.errors import AutosegError, ConfigurationError
from autoseg.studies.benchmark.ranges import expand, expand_all
from autoseg.studies.benchmark.sections import Channel, Labels
from autoseg.studies.benchmark.specification import Specification

PATTERNS = {"alternatives": [{"images": ["{case}.nii.gz"], "label": "{case}_seg.nii.gz"}]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("case_{001,003-005}", ("case_001", "case_003", "case_004", "case_005")),
        ("{8-11}", ("8", "9", "10", "11")),
        ("p{1-2}_{ED,ES}", ("p1_ED", "p1_ES", "p2_ED", "p2_ES")),
        ("alone", ("alone",)),
    ],
)
def test_braces_stand_for_many_identifiers(text: str, names: tuple[str, ...]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize("text", ["a{3-1}", "a{}", "a{1,}"])
def test_wrong_braces_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        expand(text)


def test_an_identifier_stands_once() -> None:
    with pytest.raises(ValueError, match="a2"):
        expand_all(["a{1-2}", "a2"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"labels": {"names": {"background": 0, "a": 2}}}, "0, 1, 2"),
        ({"labels": {"names": {"background": 0, "a": 1}, "file_values": {"4": 3}}}, "no name"),
        ({"labels": {"names": {"background": 0, "a": 1}, "regions": {"all": [1]}}}, "region_order"),
        ({"labels": {"names": {"background": 0, "a": 1}, "ignore": 3}}, "value 2"),
        ({"cases": {"training": 3, "identifiers": ["c{1-2}"], "source": "paper"}}, "2 identifiers for 3"),
        ({"cases": {"training": 3, "smallest_shape": [3, 4], "largest_shape": [3], "source": "paper"}}, "both ends"),
        ({"cases": {"training": 3, "source": "book"}}, "'book'"),
        ({"paper": "book"}, "'book'"),
        ({"channels": [{"name": "CT"}]}, "another normalization"),
        ({"splits": {"official": "none", "rule": "fixed"}}, "fixed"),
        ({"evaluation": {"metrics": ["nsd"], "tolerances_mm": {"side": 1.0}, "source": "paper"}}, "side"),
        ({"label_hashes": {"stranger": "0" * 64}}, "stranger"),
        ({"dimensoin": 3}, "dimension"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(AutosegError, match=named):
        specification(PATTERNS, **changes)


@pytest.mark.parametrize(
    ("layout", "named"),
    [
        ({"alternatives": []}, "alternatives"),
        ({"form": "msd", **PATTERNS}, "alternatives"),
        ({"alternatives": [{"images": ["{case}.png"]}]}, "either"),
        ({"alternatives": [{"images": ["{case}.png"], "label": "{patient}.png"}]}, "patient"),
        ({"alternatives": [{"images": ["../{case}.png"], "label": "{case}_l.png"}]}, "leads out"),
        ({"alternatives": [{"images": ["{case}.png"], "label": "l.png", "where": {"case": "("}}]}, "expression"),
        ({"alternatives": [{"images": ["{case}.png"], "masks": {"side": ["m.png"]}}]}, "side"),
        ({"pages": True, **PATTERNS}, "ending"),
        ({"identifier": "{patient}", **PATTERNS}, "patient"),
        ({"ending": ".xyz", **PATTERNS}, "xyz"),
    ],
)
def test_wrong_layouts_are_refused(layout: dict[str, Any], named: str) -> None:
    with pytest.raises(AutosegError, match=named):
        specification(layout)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mean": 89.0}, "percent"),
        ({}, "mean or numbers"),
        ({"mean": 0.8, "per_label": {"side": 0.8}}, "side"),
        ({"mean": 0.8, "folds": [{"fold": 0, "per_label": {"side": 0.8}}]}, "side"),
        ({"mean": 0.8, "folds": [{"fold": 0, "mean": 0.8}, {"fold": 0, "mean": 0.7}]}, "twice"),
        ({"mean": 0.8, "spread": 0.1}, "spread_kind"),
        ({"mean": 0.8, "source": "book"}, "book"),
    ],
)
def test_wrong_results_are_refused(changes: dict[str, Any], named: str) -> None:
    result = {"method": "m", "metric": "dice", "setting": "test", "source": "paper", **changes}
    with pytest.raises(AutosegError, match=named):
        specification(PATTERNS, results=[result])


def test_a_dataset_json_says_what_the_specification_says() -> None:
    labels = {
        "names": {"background": 0, "edema": 1, "core": 2},
        "regions": {"whole": [1, 2], "core": [2]},
        "region_order": [1, 2],
        "ignore": 3,
    }
    channels = [{"name": "CT", "normalization": "ct"}, {"name": "red", "normalization": "rgb"}, {"name": "T1"}]
    alternatives = [{"images": ["a{case}.png", "b{case}.png", "c{case}.png"], "label": "{case}.png"}]
    made = specification({"alternatives": alternatives}, labels=labels, channels=channels)
    description = made.description(".png", 7)
    assert parse_channels(description, "json") == ("CT", "rgb_to_0_1", "T1")
    scheme = parse_labels(description, "json")
    assert scheme.regions == made.labels.scheme.regions == {"whole": (1, 2), "core": (2,)}
    assert scheme.region_order == (1, 2)
    assert scheme.ignore == 3
    assert description["numTraining"] == 7


def test_plain_labels_reach_the_dataset_json() -> None:
    made = specification(PATTERNS)
    assert parse_labels(made.description(".nii.gz", 3), "json") == made.labels.scheme


def test_known_values_are_those_of_the_files() -> None:
    assert Labels(names={"background": 0, "a": 1}, ignore=2).known_values == (0, 1, 2)
    assert Labels(names={"background": 0, "a": 1}, file_values={255: 0, 0: 1}).known_values == (0, 255)


@pytest.mark.parametrize(("normalization", "name"), [("ct", "CT"), ("rgb", "rgb_to_0_1"), ("z-score", "T2")])
def test_a_channel_is_named_after_its_normalization(normalization: Any, name: str) -> None:
    assert Channel(name="T2", normalization=normalization).dataset_name == name


def test_hashes_stand_beside_the_file(tmp_path: Path) -> None:
    text = """
name = "toy"
title = "t"
task = "t"
modality = "CT"
body_part = "b"
dimension = 2
home = "h"
paper = "p"
download = "d"
channels = [{ name = "T1" }]
labels = { names = { background = 0, a = 1 } }
layout = { description = "d", form = "msd", source = "p" }
cases = { training = 2, identifiers = ["c{1-2}"], source = "p" }
splits = { official = "none" }
[sources.p]
title = "p"
doi = "10.1/1"
"""
    path = tmp_path / "toy.toml"
    path.write_text(text, encoding="utf-8")
    assert Specification.load(path).label_hashes == {}
    (tmp_path / "toy.sha256").write_text(f"{'a' * 64}  c1\n{'b' * 64}  c2\n", encoding="utf-8")
    loaded = Specification.load(path)
    assert loaded.label_hashes == {"c1": "a" * 64, "c2": "b" * 64}
    assert loaded.sources["p"].address == "https://doi.org/10.1/1"
    (tmp_path / "toy.sha256").write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="line 1"):
        Specification.load(path)
