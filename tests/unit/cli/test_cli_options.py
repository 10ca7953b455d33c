"""Values of options are read, and refused with an example."""

from __future__ import annotations

import pytest
import typer

from autoseg.cli.values import (
    parse_duration,
    parse_fold,
    parse_folds,
    parse_label_map,
    parse_label_values,
    parse_memory,
    parse_validated_folds,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("3m", 180), ("1h30m", 5400), ("1.5h", 5400), ("1H 0.5m".replace(" ", ""), 3630), (" 2m30s ", 150)],
)
def test_time_spans_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "0s", "-3m", "3 minutes", "30m1h", "m", "1e3s"])
def test_other_time_spans_are_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="90s, 3m or 1h30m"):
        parse_duration(text)


def test_folds_are_read_and_refused() -> None:
    assert [parse_folds(text) for text in ("all", "0", "2, 0,0", "all-data")] == ["all", "0", "0,2", "all-data"]
    for text in ("", "none", "0,,1", "-1", "0-4"):
        with pytest.raises(typer.BadParameter, match="names no folds"):
            parse_folds(text)


def test_folds_to_validate_are_no_model_of_all_data() -> None:
    assert [parse_validated_folds(text) for text in ("all", "2,0")] == ["all", "0,2"]
    for text in ("all-data", "none"):
        with pytest.raises(typer.BadParameter, match="expected all"):
            parse_validated_folds(text)


def test_memory_is_read_and_refused() -> None:
    texts = ("24GB", "24", " 11.5 gb", "80GiB", "8g", "AUTO")
    assert [parse_memory(text) for text in texts] == [24.0, 24.0, 11.5, 80.0, 8.0, "auto"]
    for text in ("", "0GB", "-8", "24 TB", "24000MB", "gpu", "1e9"):
        with pytest.raises(typer.BadParameter, match="24GB or 24, or auto"):
            parse_memory(text)


def test_one_fold_is_a_number_or_all_data() -> None:
    assert [parse_fold(text) for text in ("0", " 03", "all-data", "all")] == ["0", "3", "all", "all"]
    for text in ("", "0,1", "-1", "none"):
        with pytest.raises(typer.BadParameter, match="is no fold"):
            parse_fold(text)


def test_label_values_are_read_and_refused() -> None:
    assert [parse_label_values(text) for text in ("1,2", "255, 0,128,128", "7")] == [(1, 2), (0, 128, 255), (7,)]
    for text in ("", "0", "-1", "1,,2", "a", "1.5", "1-3", "1:2"):
        with pytest.raises(typer.BadParameter, match="0,128,255"):
            parse_label_values(text)


def test_maps_of_label_values_are_read_and_refused() -> None:
    assert parse_label_map("255:1") == {255: 1}
    assert parse_label_map("128:1, 255:2,-1:0") == {128: 1, 255: 2, -1: 0}
    for text in ("", "255", "255:1,", "255:1,255:2", "1:a", "1:-2", "1=2"):
        with pytest.raises(typer.BadParameter, match="255:1 or 128:1,255:2"):
            parse_label_map(text)
