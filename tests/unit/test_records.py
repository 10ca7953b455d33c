"""Records, errors and plug-ins: what every room stands on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from autoseg import plugins
from autoseg.data.formats import ImageFormat
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup, ImageError, PluginError
from autoseg.inference.formats import ModelFormat
from autoseg.metrics.table import Metric
from autoseg.plan.record import ConfigurationPlan, SamplerPlan
from autoseg.records import nearest, read_mapping, write_json
from autoseg.training.config import TrainingConfig


def test_an_error_says_subject_place_values_and_remedy() -> None:
    error = ImageError("wrong shape", where="case_1", got=(1, 2), expected=(3, 4), remedy="mend it")
    assert str(error).splitlines() == [
        "case_1: wrong shape",
        "  got:      (1, 2)",
        "  expected: (3, 4)",
        "  to do:    mend it",
    ]


def test_errors_survive_pickling_whole() -> None:
    inner = ImageError("unreadable", where="a.nii.gz", remedy="copy it again")
    for error in (inner, ErrorGroup("two things", [inner, ConfigurationError("no")], remedy="mend")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.remedy == error.remedy


def test_records_go_through_json_unchanged(tmp_path: Path) -> None:
    config = TrainingConfig(steps=5, ema_decay=0.9)
    config.save(tmp_path / "config.json")
    assert TrainingConfig.load(tmp_path / "config.json") == config


def test_records_load_toml(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'steps = 7\n[optimizer]\nname = "adamw"\nlearning_rate = 1e-3\n', encoding="utf-8"
    )
    config = TrainingConfig.load(tmp_path / "config.toml")
    assert (config.steps, config.optimizer.name, config.optimizer.learning_rate) == (7, "adamw", 1e-3)


def test_a_mistyped_field_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"steps": 3, "optimizer": {"learning_rte": 0.1}})
    with pytest.raises(AutosegError, match=r"optimizer\.learning_rte: unknown field") as caught:
        TrainingConfig.load(tmp_path / "config.json")
    assert "did you mean 'learning_rate'" in str(caught.value)


def test_all_wrong_fields_are_reported_together() -> None:
    with pytest.raises(ErrorGroup, match="2 fields are wrong") as caught:
        TrainingConfig.from_mapping({"steps": 0, "seedd": 3}, where="config.toml")
    text = str(caught.value)
    assert "config.toml: steps" in text
    assert "did you mean 'seed'" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch_size": [40, 50, 40]}, "axis 1 must be a multiple of 4"),
        ({"features_per_stage": [8, 16]}, "features_per_stage has 2 entries for 3 stages"),
        ({"decoder_blocks_per_stage": [2, 2, 2]}, "decoder_blocks_per_stage needs 2 entries"),
    ],
)
def test_a_plan_edited_into_nonsense_is_refused(change: dict, words: str) -> None:
    values = {
        "spacing": [1, 1, 1], "median_shape": [40, 48, 40], "patch_size": [40, 48, 40], "batch_size": 2,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]], "kernel_sizes": [[3, 3, 3]] * 3,
        "features_per_stage": [8, 16, 32], "blocks_per_stage": [2, 2, 2], "decoder_blocks_per_stage": [2, 2],
        "normalization": ["z-score"], "use_mask_for_norm": [False], "batch_dice": False,
    }  # fmt: skip
    assert ConfigurationPlan.from_mapping(values).stages == 3
    with pytest.raises(ConfigurationError, match=words):
        ConfigurationPlan.from_mapping({**values, **change}, where="plan.json")


def test_records_are_frozen_and_changed_copies_are_validated() -> None:
    sampler = SamplerPlan()
    with pytest.raises(ValueError, match="frozen"):
        sampler.name = "other"  # type: ignore[misc]
    assert sampler.with_(foreground_fraction=0.5).foreground_fraction == 0.5
    with pytest.raises(ValueError, match="less than or equal to 1"):
        sampler.with_(foreground_fraction=2)


def test_json_has_no_nan_and_is_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": None, "b": [None, 1.5]}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == [None, 1.5]
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("x.json", "{", "is not valid JSON"), ("x.toml", "a =", "is not valid TOML"), ("x.json", "[]", "does not hold")],
)
def test_files_that_hold_no_mapping(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    for read in (read_mapping, TrainingConfig.load):
        with pytest.raises(ConfigurationError, match=words):
            read(tmp_path / name)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read(tmp_path / "missing.json")


def test_nearest_names() -> None:
    assert nearest("3d_fulres", ["2d", "3d_fullres"]) == "3d_fullres"
    assert nearest("zebra", ["2d", "3d_fullres"]) is None


RECORDS = {"model format": ModelFormat, "image format": ImageFormat, "metric": Metric}
"""Kinds whose plug-ins are records that are not called."""


@pytest.mark.parametrize("kind", sorted(plugins.BUILT_IN))
def test_every_built_in_plug_in_can_be_imported(kind: str) -> None:
    for name in plugins.names(kind):
        plugin = plugins.resolve(kind, name)
        assert isinstance(plugin, RECORDS[kind]) if kind in RECORDS else callable(plugin), name


def test_a_plug_in_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "mine.py"
    file.write_text(
        "from autoseg.plugins import register\n@register('loss', 'mine')\n"
        "def mine(logits, target, *, batch_dice): return 42\n",
        encoding="utf-8",
    )
    plugins.load_file(file)
    assert "mine" in plugins.names("loss")
    assert plugins.resolve("loss", "mine")(None, None, batch_dice=True) == 42
    with pytest.raises(PluginError, match="exists already"):
        plugins.load_file(file)
    with pytest.raises(ConfigurationError, match="did you mean 'mine'"):
        plugins.resolve("loss", "mien")
    file.write_text("1 / 0", encoding="utf-8")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        plugins.load_file(file)
    with pytest.raises(ConfigurationError, match="unknown kind of plug-in"):
        plugins.names("losses")
