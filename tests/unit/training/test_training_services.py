"""Schedule, checkpoints, average and runtime."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.training import runtime as runtime_module
from autoseg.training.averaging import WeightAverage
from autoseg.training.checkpoint import load_checkpoint, save_checkpoint
from autoseg.training.config import FineTuningConfig, OptimizerConfig, ScheduleConfig, TrainingConfig, optimizer_for
from autoseg.training.distributed import Ranks, on_leader, rank_from_environment, ranks, start_ranks
from autoseg.training.optimizer import Descent
from autoseg.training.plateau import Plateau
from autoseg.training.runtime import Runtime, find_device, seconds_of, tune_runtime
from autoseg.training.schedule import Clock, fine_tuning_rates, learning_rate


def test_the_polynomial_schedule_equals_pytorchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=50, power=0.9)
    for step in range(50):
        assert learning_rate(0.01, step / 50, ScheduleConfig()) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_the_cosine_schedule_and_the_warm_up() -> None:
    cosine = ScheduleConfig(name="cosine")
    assert learning_rate(1.0, 0.0, cosine) == pytest.approx(1)
    assert learning_rate(1.0, 0.5, cosine) == pytest.approx(0.5)
    assert learning_rate(1.0, 1.0, cosine) == pytest.approx(0)
    warm = ScheduleConfig(warm_up=0.1)
    assert 0 < learning_rate(1.0, 0.0, warm) < 0.01
    assert learning_rate(1.0, 0.05, warm) == pytest.approx(0.5)


def test_a_short_training_gets_the_same_effective_rate_with_less_momentum() -> None:
    long, short = optimizer_for(250_000), optimizer_for(2000)
    assert (long.name, long.rate, long.momentum, long.weight_decay) == ("sgd", 1e-2, 0.99, 3e-5)
    assert short.momentum < long.momentum
    assert short.rate / (1 - short.momentum) == pytest.approx(long.rate / (1 - long.momentum))


def test_a_clock_needs_a_length() -> None:
    with pytest.raises(ConfigurationError, match="needs a length"):
        Clock(TrainingConfig())


def test_a_clock_of_steps_is_exact_and_one_of_seconds_extrapolates() -> None:
    clock = Clock(TrainingConfig(steps=80), step=20)
    assert (clock.progress, clock.total_steps, clock.round_steps()) == (0.25, 80, 2)
    assert not clock.finished
    clock = Clock(TrainingConfig(seconds=1000.0), step=50, seconds=100.0)
    assert clock.progress == pytest.approx(0.1, abs=1e-3)
    assert clock.total_steps == pytest.approx(500, abs=2)
    assert clock.remaining == pytest.approx(900, abs=1)


def test_rounds_of_a_training_by_time_last_some_seconds() -> None:
    short = Clock(TrainingConfig(seconds=20.0), step=10, seconds=0.5)  # 0.05 s per step, 400 steps in all
    assert short.round_steps() == pytest.approx(80, abs=2)
    long = Clock(TrainingConfig(seconds=2000.0), step=10, seconds=5.0)  # 0.5 s per step, 4000 steps in all
    assert long.round_steps() == pytest.approx(100, abs=2)


def test_rounds_are_never_longer_than_nnunets() -> None:
    assert Clock(TrainingConfig(steps=250_000)).round_steps() == 250


def test_a_damaged_checkpoint_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_last.pt"
    with pytest.raises(WorkspaceError, match="the checkpoint is missing"):
        load_checkpoint(path)
    save_checkpoint(path, {"network": {"weight": torch.ones(1000)}})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WorkspaceError, match="the checkpoint cannot be read"):
        load_checkpoint(path)
    torch.save({"weights": torch.ones(1)}, path)
    with pytest.raises(WorkspaceError, match="not a checkpoint of this version"):
        load_checkpoint(path)


def test_a_checkpoint_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return print, ("run",)

    path = tmp_path / "evil.pt"
    torch.save({"format": 1, "network": Evil()}, path)
    with pytest.raises(WorkspaceError, match="holds more than tensors"):
        load_checkpoint(path)


def test_the_average_follows_its_formula() -> None:
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
    average, expected = WeightAverage(network, 0.5), 0.0
    for n in range(1, 8):
        with torch.no_grad():
            network.weight.fill_(float(n))
        average.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    with average.applied():
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 7


def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("cpu") == "cpu"
    with pytest.raises(ConfigurationError, match="device 'tpu' is not available"):
        find_device("tpu")


def test_tuning_takes_the_fastest_candidate() -> None:
    def step(runtime: Runtime) -> None:
        time.sleep(0.001 if runtime.layout == "channels_last" and runtime.precision == "float32" else 0.01)

    chosen, seconds = tune_runtime(Runtime(), step)
    assert (chosen.layout, chosen.precision) == ("channels_last", "float32")
    assert 0.001 <= seconds < 0.01


def test_the_layout_is_the_one_asked_for() -> None:
    network = Runtime(layout="channels_last").place(nn.Conv3d(4, 4, 3), 3)
    assert next(network.parameters()).is_contiguous(memory_format=torch.channels_last_3d)
    assert math.isclose(sum(p.numel() for p in network.parameters()), 4 * 4 * 27 + 4)


def test_a_plateau_is_counted_in_rounds_since_the_best_smoothed_score() -> None:
    plateau = Plateau()
    assert plateau.add(0.5)
    assert not plateau.add(0.4)
    assert plateau.smoothed == pytest.approx(0.9 * 0.5 + 0.1 * 0.4)
    assert not plateau.add(None)
    assert (plateau.best, plateau.rounds) == (0.5, 2)
    assert plateau.reached(2)
    assert not plateau.reached(3)
    assert not plateau.reached(None)
    assert Plateau(**plateau.state()) == plateau
    assert plateau.add(1.0)
    assert plateau.rounds == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("items", [0, 1, 3, 7, 20])
def test_shares_are_even_consecutive_and_together_everything(count: int, items: int) -> None:
    shares = [Ranks(rank, count).share(items) for rank in range(count)]
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_smaller_than_the_ranks_is_refused_on_each_of_them() -> None:
    assert Ranks(1, 2).share_of_batch(3) == range(2, 3)
    for rank in range(3):
        with pytest.raises(ConfigurationError, match="fewer samples than there are processes"):
            Ranks(rank, 3).share_of_batch(2)


def test_a_process_alone_exchanges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert start_ranks("cpu") == ranks() == Ranks()
    assert rank_from_environment() == (0, 1)
    alone, values, network = ranks(), torch.ones(3), nn.Linear(1, 1)
    assert alone.leads
    assert alone.total(values) is values
    assert alone.parallel(network) is network
    assert (alone.agree("a"), alone.gather("a"), on_leader(lambda: "a")) == ("a", ["a"], "a")
    alone.wait()


def test_the_environment_of_torchrun_is_read_and_half_of_it_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert rank_from_environment() == (3, 8)
    with pytest.raises(ConfigurationError, match="several processes cannot train on 'mps'"):
        start_ranks("mps")
    monkeypatch.delenv("RANK")
    with pytest.raises(ConfigurationError, match="not torchrun's"):
        rank_from_environment()


@pytest.mark.parametrize("score", [0.1, 0.3, 0.7, 0.855, 1 / 3])
def test_rounding_is_no_gain(score: float) -> None:
    plateau = Plateau()
    assert [plateau.add(score) for _ in range(20)] == [True] + [False] * 19


def test_what_cannot_be_compiled_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler here")

    network, values = nn.Linear(2, 1), torch.ones(3, 2)
    assert Runtime().compile(network) is network
    with torch._dynamo.config.patch(suppress_errors=False):  # restores the setting after the test
        compiled = Runtime(compiled=True).compile(network, backend=broken)
        assert torch.equal(compiled(values), network(values))
    assert "no compiler here" in caplog.text


def test_without_a_c_compiler_networks_run_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "find_spec", lambda name: object())
    monkeypatch.setattr(runtime_module, "which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
    assert runtime_module._can_compile()
    monkeypatch.setattr(runtime_module, "which", lambda name: None)
    assert not runtime_module._can_compile()


def test_a_candidate_of_long_steps_is_timed_once() -> None:
    done: list[Runtime] = []

    def step(runtime: Runtime) -> None:
        done.append(runtime)
        time.sleep(0.02)

    seconds_of(lambda: step(Runtime()), 5, patience=0.01)
    assert len(done) == 2  # one to warm up
    seconds_of(lambda: step(Runtime()), 5)
    assert len(done) == 2 + 6


def test_a_sawtooth_trains_fresh_weights_alone_and_then_all() -> None:
    tuning = FineTuningConfig(name="sawtooth", decoder_first=0.2, warm_up=0.1, encoder_rate=0.5)
    rates = {p: fine_tuning_rates(1.0, p, ScheduleConfig(power=1.0), tuning) for p in (0.1, 0.2, 0.25, 0.3, 0.6, 1.0)}
    assert rates[0.1] == (0.0, pytest.approx(0.5))
    assert 0 < rates[0.2][1] < 0.01
    assert rates[0.25] == (pytest.approx(0.5 * 0.75 / 2), pytest.approx(0.75 / 2))
    assert rates[0.3][1] == pytest.approx(0.7)
    assert rates[0.6] == (pytest.approx(0.2), pytest.approx(0.4))
    assert rates[1.0] == (0.0, 0.0)


def test_a_warm_up_rises_into_the_schedule_and_the_usual_way_is_the_schedule() -> None:
    schedule = ScheduleConfig()
    for p in (0.0, 0.3, 0.9):
        assert fine_tuning_rates(0.1, p, schedule, FineTuningConfig())[1] == learning_rate(0.1, p, schedule)
    warm = FineTuningConfig(name="warm-up", warm_up=0.5)
    assert fine_tuning_rates(0.1, 0.25, schedule, warm)[1] == pytest.approx(learning_rate(0.1, 0.25, schedule) / 2)
    assert fine_tuning_rates(0.1, 0.75, schedule, warm)[0] == learning_rate(0.1, 0.75, schedule)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_loaded_weights_have_a_rate_of_their_own_and_rest_at_zero(name: Literal["sgd", "adamw"]) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    before = [weight.detach().clone() for weight in network.parameters()]
    loaded = ("0.weight", "0.bias")
    descent = Descent(network, OptimizerConfig(name=name), Runtime(), clip=12.0, loaded=loaded)
    for loaded_rate, moves in ((0.0, False), (0.01, True)):
        descent.add_gradient(network(torch.ones(2, 3)).square().mean())
        descent.step(0.01, loaded_rate)
        first, bias, *others = [not torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True)]
        assert (first, bias) == (moves, moves)
        assert all(others)
