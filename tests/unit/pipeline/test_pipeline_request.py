"""A training request: choices merged once, wrong ones told before any work."""

from __future__ import annotations

import pytest

from autoseg.data.splits import SplitRule
from autoseg.errors import AutosegError, ConfigurationError
from autoseg.pipeline.request import TrainingRequest, check_length, merged_config
from autoseg.pipeline.settings import Settings
from autoseg.training.config import TrainingConfig


def test_options_win_over_settings() -> None:
    config = merged_config(TrainingConfig(seconds=5.0, seed=1), steps=7, seed=3, loss="dice")
    assert (config.steps, config.seconds, config.seed, config.losses) == (7, None, 3, {"dice": 1.0})
    assert merged_config(TrainingConfig()) == TrainingConfig()


def test_a_request_holds_all_choices_and_a_device() -> None:
    settings = Settings(training=TrainingConfig(ema_decay=0.9), splits=SplitRule(stratify=True))
    request = TrainingRequest.of(settings=settings, steps=7, device="cpu", folds="0", command=["autoseg", "train"])
    assert (request.config.ema_decay, request.config.steps, request.length) == (0.9, 7, 7)
    assert request.splits == SplitRule(stratify=True)
    assert (request.device, request.folds, request.command) == ("cpu", "0", ("autoseg", "train"))
    assert TrainingRequest.of(device="cpu").splits is None
    assert TrainingRequest.of(device="auto").device != "auto"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"planner": "defautl"}, "did you mean 'default'"),
        ({"trainer": "segmentaton"}, "did you mean 'segmentation'"),
        ({"loss": "dcie"}, "did you mean 'dice'"),
        ({"budget": 60.0, "steps": 10}, "not both"),
        (
            {"trainer": "registration", "settings": Settings(training=TrainingConfig(options={"regularisaton": 1}))},
            "option of the trainer registration",
        ),
    ],
)
def test_wrong_choices_are_told_at_once(choices: dict, message: str) -> None:
    with pytest.raises(AutosegError, match=message):
        TrainingRequest.of(device="cpu", **choices)


def test_a_training_has_one_length() -> None:
    check_length(60.0, TrainingConfig())
    check_length(None, TrainingConfig(steps=10))
    for config in (TrainingConfig(steps=10), TrainingConfig(seconds=30)):
        with pytest.raises(ConfigurationError, match="not both"):
            check_length(60.0, config)
