"""The user's choices: from a file, from assignments, and what is said about wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoseg.data.splits import SplitRule
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup
from autoseg.pipeline.settings import Settings, describe_settings, read_settings
from autoseg.plan.record import SamplerPlan
from autoseg.records import Record
from autoseg.training.config import OptimizerConfig, ScheduleConfig, TrainingConfig


def test_nothing_chosen_is_the_default() -> None:
    assert read_settings() == Settings()


def test_assignments_of_every_form() -> None:
    training = read_settings(
        None,
        [
            "training.optimizer=adamw",
            "training.optimizer.learning_rate=3e-4",
            "training.losses.dice-cross-entropy=0.5",
            "training.sampler=hard-location",
            "training.schedule=cosine",
            "training.schedule.warm_up=0.05",
            "training.mirror_axes=yz",
            "training.batch_dice=true",
            "training.steps=1_000",
            "training.ema_decay = 0.999",
        ],
    ).training
    assert training == TrainingConfig(
        optimizer=OptimizerConfig(name="adamw", learning_rate=3e-4),
        losses={"dice-cross-entropy": 0.5},
        sampler=SamplerPlan(name="hard-location"),
        schedule=ScheduleConfig(name="cosine", warm_up=0.05),
        mirror_axes="zy",
        batch_dice=True,
        steps=1000,
        ema_decay=0.999,
    )


def test_a_single_loss_by_name_can_be_refined() -> None:
    first, second = "training.losses=dice-cross-entropy", "training.losses.dice-binary-cross-entropy=2"
    assert read_settings(None, [first]).training.losses == {"dice-cross-entropy": 1.0}
    losses = read_settings(None, [first, second]).training.losses
    assert losses == {"dice-cross-entropy": 1.0, "dice-binary-cross-entropy": 2.0}


@pytest.mark.parametrize("text", ["", "none"])
def test_no_axis_is_mirrored(text: str) -> None:
    assert read_settings(None, [f"training.mirror_axes={text}"]).training.mirror_axes == ""


def test_assignments_win_over_the_file_and_options_over_both(tmp_path: Path) -> None:
    file = tmp_path / "choices.toml"
    file.write_text(
        "[training]\nsteps = 100\noptimizer = 'adamw'\n[training.schedule]\nname = 'cosine'\nwarm_up = 0.1\n"
        "[splits]\nfolds = 3\ngroup_by = 'p(\\d+)'\n",
        encoding="utf-8",
    )
    settings = read_settings(
        file,
        ["training.steps=200", "training.optimizer.weight_decay=0.01", "training.schedule.warm_up=0.2"],
        {"splits.folds": 4, "splits.stratify": None, "training.seed": 5},
    )
    assert settings.training.steps == 200
    assert settings.training.seed == 5
    assert settings.training.optimizer == OptimizerConfig(name="adamw", weight_decay=0.01)
    assert settings.training.schedule == ScheduleConfig(name="cosine", warm_up=0.2)
    assert settings.splits == SplitRule(folds=4, group_by=r"p(\d+)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training.optimizr=adamw", "did you mean 'optimizer'"),
        ("training.optimizer=adamv", "did you mean 'adamw'"),
        ("training.optimizer.learning_rat=1", "did you mean 'learning_rate'"),
        ("trainin.steps=1", "did you mean 'training'"),
        ("training.losses=dice-cros-entropy", "did you mean 'dice-cross-entropy'"),
        ("training.losses.dice-entropy=1", "unknown loss 'dice-entropy'"),
        ("training.sampler=hardlocation", "did you mean 'hard-location'"),
        ("training.sampler.name=hardlocation", "did you mean 'hard-location'"),
        ("training.schedule.name=cosinus", "did you mean 'cosine'"),
        ("training.mirror_axes=zq", "'q' names no axis"),
        ("training.steps=0", "expected: greater than or equal to 1"),
        ("training.steps=many", "expected: a valid integer"),
        ("training.losses.dice-cross-entropy=-1", "expected: greater than 0"),
        ("training.losses.dice-cross-entropy=inf", "expected: a finite number"),
        ("training.optimizer.learning_rate=nan", "training.optimizer.learning_rate: wrong value"),
        ("training=5", "expected: a table of fields"),
        ("training.steps", "is no assignment"),
        ("splits.folds=1", "expected: greater than or equal to 2"),
    ],
)
def test_a_wrong_choice_says_where_and_what_is_right(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(None, [text])
    assert words in str(caught.value)
    assert text.split("=")[0].split(".")[0] in str(caught.value)


def test_a_value_has_no_fields() -> None:
    with pytest.raises(ConfigurationError, match=r"training\.steps is one value"):
        read_settings(None, ["training.steps=5", "training.steps.more=1"])


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    file = tmp_path / "choices.toml"
    file.write_text("[training]\nsteps = 0\nlosses = {focul = 1.0}\n[plan]\nx = 1\n", encoding="utf-8")
    with pytest.raises(ErrorGroup) as caught:
        read_settings(file, ["training.seconds=60", "training.sampler=best", "nonsense"])
    message = str(caught.value)
    for words in ("training.steps", "focul", "unknown field 'plan'", "sampler 'best'", "nonsense", "not both"):
        assert words in message
    assert len(caught.value.errors) == 6


def test_steps_and_seconds_are_refused_together() -> None:
    with pytest.raises(AutosegError, match="not both"):
        read_settings(None, ["training.steps=5", "training.seconds=60"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_settings(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[training\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        read_settings(tmp_path / "bad.toml")


def _keys(record: Record, prefix: str) -> set[str]:
    keys = set()
    for name in type(record).model_fields:
        value = getattr(record, name)
        keys |= _keys(value, f"{prefix}{name}.") if isinstance(value, Record) else {prefix + name}
    return keys


def test_every_key_is_described() -> None:
    whole = Settings(training=TrainingConfig(optimizer=OptimizerConfig(), sampler=SamplerPlan()))
    lines = {line.key: line for line in describe_settings()}
    assert _keys(whole, "") <= set(lines)
    assert all(line.values and line.meaning for line in lines.values())
    assert lines["training.optimizer"].values == "sgd | adamw"
    assert lines["training.optimizer.momentum"][1:] == ("number >= 0, < 1", "0.99", "of SGD.")
    assert "hard-location" in lines["training.sampler"].values
    assert "dice-cross-entropy" in lines["training.losses"].values


def test_settings_are_read_and_described_without_torch() -> None:
    code = (
        "import sys; from autoseg.pipeline.settings import describe_settings, read_settings; describe_settings();"
        "read_settings(None, ['training.optimizer=adamw']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
