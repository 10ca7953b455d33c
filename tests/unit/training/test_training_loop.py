"""The loop: learning, exact resume, rounds, errors, interruption."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from toy_task import ToyTask

from autoseg.errors import TrainingError
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import OptimizerConfig, TrainingConfig
from autoseg.training.hooks import JsonLines
from autoseg.training.loop import Outcome, Start, Training
from autoseg.training.runtime import Runtime
from autoseg.training.task import TRAINING
from autoseg.workspace import Fold

FAST = OptimizerConfig(learning_rate=0.05, momentum=0.9)


def _training(
    folder: Path, task: ToyTask | None = None, *, resume: bool = False, loaded: tuple[str, ...] = (), **config: object
) -> Training:
    fold = Fold(folder)
    settings = TrainingConfig.model_validate({"steps": 40, "optimizer": FAST, "round_steps": 10, **config})
    return Training(
        task or ToyTask(), settings, Runtime(), fold, dimension=3,
        hooks=lambda folder, step: (JsonLines(folder, step),), start=Start(resume=resume, loaded=loaded),
    )  # fmt: skip


def _run(folder: Path, task: ToyTask | None = None, *, resume: bool = False, **config: object) -> Outcome:
    training = _training(folder, task, resume=resume, **config)
    assert training.resumed == resume
    return training.run()


def _final(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(Fold(folder).final)["network"]


def test_it_learns_the_line(tmp_path: Path) -> None:
    outcome = _run(tmp_path, steps=200)
    weights = _final(tmp_path)
    assert outcome.finished
    assert outcome.steps == 200
    assert weights["weight"].item() == pytest.approx(2, abs=0.05)
    assert weights["bias"].item() == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize("settings", [{}, {"ema_decay": 0.9}, {"optimizer": {"name": "adamw", "learning_rate": 0.01}}])
@pytest.mark.parametrize("stop", [3, 10, 17])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path, settings: dict, stop: int) -> None:
    _run(tmp_path / "whole", ToyTask(adaptive=True), **settings)
    outcome = _run(tmp_path / "parts", ToyTask(adaptive=True), stop_after=stop, **settings)
    assert not outcome.finished
    assert not Fold(tmp_path / "parts").final.exists()
    _run(tmp_path / "parts", ToyTask(adaptive=True), resume=True, **settings)
    for name, weight in _final(tmp_path / "whole").items():
        assert torch.equal(weight, _final(tmp_path / "parts")[name]), name


def test_every_round_leaves_a_line_and_a_repeated_one_replaces_its_own(tmp_path: Path) -> None:
    _run(tmp_path, stop_after=20)
    (tmp_path / "metrics.jsonl").open("a", encoding="utf-8").write('{"step": 30, "loss": 9}\n{"half a li')
    _run(tmp_path, resume=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40]
    assert lines[2]["loss"] < 9
    assert {"loss", "validation_loss", "learning_rate", "validation_dice", "step_seconds"} <= lines[0].keys()


def test_the_learning_rate_falls_to_zero(tmp_path: Path) -> None:
    _run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["learning_rate"] for line in lines] == pytest.approx(
        [0.05 * (1 - step / 40) ** 0.9 for step in (9, 19, 29, 39)]
    )


def test_a_loss_that_is_not_finite_names_step_and_cases(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"step 12, cases case_a, case_b: the loss is not a finite number"
    ) as caught:
        _run(tmp_path, ToyTask(poisoned=12))
    assert "autoseg check" in str(caught.value)
    assert load_checkpoint(Fold(tmp_path).last)["step"] == 10  # the state before is still there
    assert all(torch.isfinite(weight).all() for weight in load_checkpoint(Fold(tmp_path).last)["network"].values())


def test_losses_of_a_device_that_runs_ahead_are_read_once_a_round(tmp_path: Path) -> None:
    class Counting(ToyTask):
        def loss(self, network: torch.nn.Module, batch: object) -> torch.Tensor:
            asked.append(len(training._unchecked))
            return super().loss(network, batch)  # type: ignore[arg-type]

    asked: list[int] = []
    training = _training(tmp_path, Counting(poisoned=12), stop_after=30)
    training.runtime = Runtime(device="cpu:0")  # computes here, and is not known to be the processor itself
    with pytest.raises(TrainingError, match="step 12, cases case_a, case_b"):
        training.run()
    assert asked[:10] == list(range(10))
    assert len(asked) == 20 + 1  # two rounds, and the validation of the first
    assert load_checkpoint(Fold(tmp_path).last)["step"] == 10


def test_ctrl_c_saves_the_step_and_the_rest_ends_with_the_same_bits(tmp_path: Path) -> None:
    class Slow(ToyTask):  # a plain test double of the same shape
        def loss(self, network: torch.nn.Module, batch: object) -> torch.Tensor:
            time.sleep(0.01)
            return super().loss(network, batch)  # type: ignore[arg-type]

    threading.Timer(0.25, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "stopped", Slow(), steps=100)
    step = load_checkpoint(Fold(tmp_path / "stopped").last)["step"]
    assert 0 < step < 100
    _run(tmp_path / "stopped", resume=True, steps=100)
    _run(tmp_path / "whole", steps=100)
    assert all(torch.equal(w, _final(tmp_path / "stopped")[n]) for n, w in _final(tmp_path / "whole").items())


def test_a_training_of_seconds_ends_in_time(tmp_path: Path) -> None:
    start = time.monotonic()
    outcome = _run(tmp_path, steps=None, seconds=0.5, round_steps=None)
    assert outcome.finished
    assert outcome.steps > 10
    assert time.monotonic() - start < 2.0


def test_an_adaptive_task_gets_new_batches_after_each_round(tmp_path: Path) -> None:
    task = ToyTask(adaptive=True)
    _run(tmp_path, task)
    assert [start for stream, start in task.opened if stream == TRAINING] == [0, 10, 20, 30]


def test_the_average_of_the_weights_is_what_is_kept(tmp_path: Path) -> None:
    _run(tmp_path / "plain", steps=20)
    _run(tmp_path / "averaged", steps=20, ema_decay=0.99)
    last = load_checkpoint(Fold(tmp_path / "averaged").last)
    assert torch.equal(last["network"]["weight"], _final(tmp_path / "plain")["weight"])  # the training is the same
    assert torch.equal(last["average"]["average"][0], _final(tmp_path / "averaged")["weight"])
    assert not torch.equal(_final(tmp_path / "averaged")["weight"], _final(tmp_path / "plain")["weight"])


def test_checkpoints_tell_what_they_were_trained_with(tmp_path: Path) -> None:
    _run(tmp_path, steps=20)
    fold = Fold(tmp_path)
    for path in (fold.last, fold.best, fold.final):
        state = load_checkpoint(path)
        assert Runtime.model_validate(state["runtime"]) == Runtime()
        assert TrainingConfig.model_validate(state["config"]).optimizer == FAST
    kept = ["config", "format", "network", "runtime", "seconds", "step", "trainer"]
    assert sorted(load_checkpoint(fold.final)) == kept


@pytest.mark.parametrize("settings", [{}, {"ema_decay": 0.9}, {"gradient_clip": 0.5}])
def test_accumulated_batches_are_one_large_batch(tmp_path: Path, settings: dict) -> None:
    _run(tmp_path / "one", ToyTask(size=8), validation_share=0, **settings)
    _run(tmp_path / "two", ToyTask(size=4), validation_share=0, accumulation=2, **settings)
    _run(tmp_path / "half", ToyTask(size=4), validation_share=0, **settings)
    for name, weight in _final(tmp_path / "one").items():
        assert torch.allclose(weight, _final(tmp_path / "two")[name], rtol=1e-5, atol=1e-6), name
        assert not torch.allclose(weight, _final(tmp_path / "half")[name], rtol=1e-5, atol=1e-6), name


def test_a_resumed_accumulation_ends_with_the_same_bits(tmp_path: Path) -> None:
    _run(tmp_path / "whole", accumulation=3)
    _run(tmp_path / "parts", accumulation=3, stop_after=13)
    _run(tmp_path / "parts", accumulation=3, resume=True)
    assert all(torch.equal(w, _final(tmp_path / "parts")[n]) for n, w in _final(tmp_path / "whole").items())


def test_a_score_that_stands_still_ends_the_training(tmp_path: Path) -> None:
    outcome = _run(tmp_path, ToyTask(score=0.5), steps=1000, patience=3)
    assert outcome.finished
    assert outcome.steps == 40  # the first round is the best, and three more are waited for
    assert outcome.best_score == 0.5
    final = load_checkpoint(Fold(tmp_path).final)
    assert final["step"] == 40
    again = _training(tmp_path, ToyTask(score=0.5), resume=True, steps=1000, patience=3)
    assert again.resumed
    assert again.finished
    assert again.run() == Outcome(True, 40, again.clock.seconds, 0.5)
    assert torch.equal(load_checkpoint(Fold(tmp_path).final)["network"]["weight"], final["network"]["weight"])


def test_patience_is_the_same_whether_a_training_was_interrupted_or_not(tmp_path: Path) -> None:
    _run(tmp_path, ToyTask(score=0.5), steps=1000, patience=3, stop_after=15)
    assert _run(tmp_path, ToyTask(score=0.5), resume=True, steps=1000, patience=3).steps == 40


def test_a_score_that_grows_ends_nothing_early(tmp_path: Path) -> None:
    assert _run(tmp_path, steps=60, patience=2).steps == 60


class Trail:
    """Follows a network by a sum of its weight and of the progress after every step."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network, self.weights, self.progress = network, torch.zeros(()), 0.0

    def update(self, progress: float) -> None:
        self.weights = self.weights + next(self.network.parameters()).detach().sum()
        self.progress += progress

    def state(self) -> dict[str, object]:
        return {"weights": self.weights, "progress": self.progress}

    def load_state(self, state: dict[str, object]) -> None:
        self.weights, self.progress = state["weights"], state["progress"]  # type: ignore[assignment]


class FollowedToyTask(ToyTask):
    """The toy task with a follower and a measure."""

    def follower(self, network: torch.nn.Module) -> Trail:
        return Trail(network)

    def measures(self, counts: torch.Tensor) -> dict[str, float | None]:
        return {"total": float(counts.sum())}


def test_what_follows_the_network_is_updated_each_step_and_resumed(tmp_path: Path) -> None:
    _run(tmp_path / "whole", FollowedToyTask())
    _run(tmp_path / "parts", FollowedToyTask(), stop_after=13)
    _run(tmp_path / "parts", FollowedToyTask(), resume=True)
    whole, parts = (load_checkpoint(Fold(tmp_path / name).last)["follower"] for name in ("whole", "parts"))
    assert torch.equal(whole["weights"], parts["weights"])
    assert whole["progress"] == parts["progress"] == pytest.approx(sum(step / 40 for step in range(40)))
    rows = [json.loads(line) for line in Fold(tmp_path / "whole").metrics.read_text(encoding="utf-8").splitlines()]
    assert all(row["measures"]["total"] > 0 for row in rows)
    _run(tmp_path / "plain", ToyTask())
    assert load_checkpoint(Fold(tmp_path / "plain").last)["follower"] is None


SAWTOOTH = {"name": "sawtooth", "decoder_first": 0.5, "warm_up": 0.2}


@pytest.mark.parametrize(("loaded", "rests"), [(("weight",), True), (("weight", "bias"), False)])
def test_a_sawtooth_trains_fresh_weights_first_if_there_are_any(
    tmp_path: Path, loaded: tuple[str, ...], rests: bool
) -> None:
    before = ToyTask().network.state_dict()["weight"]
    training = _training(tmp_path, loaded=loaded, fine_tuning=SAWTOOTH, stop_after=5)
    training.run()
    assert torch.equal(training.network.state_dict()["weight"], before) == rests


def test_a_sawtooth_of_loaded_weights_alone_is_a_warm_up(tmp_path: Path) -> None:
    for name in ("sawtooth", "warm-up"):
        _training(tmp_path / name, loaded=("weight", "bias"), fine_tuning={**SAWTOOTH, "name": name}).run()
    for name, weight in _final(tmp_path / "warm-up").items():
        assert torch.equal(_final(tmp_path / "sawtooth")[name], weight), name
