"""Several processes train one model: the result is that of one process, and none outlives another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import one_rank
import pytest
import torch

from autoseg.plan.record import Plan
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Fold, Run

RANKS = 2
PATIENCE = 120
TOLERANCE = 1e-4
"""Of weights around 1, in float32. One step differs by 6e-8: kernels round otherwise for other numbers of samples. Now
and then that turns the sign of an activation next to zero, which by step 20 has made 2e-5 of it, to the digit what one
process gets that computes its batch in the two parts. Losses that are averaged over ranks, not made of sums over the
whole batch, lead 1e-3 away."""


@contextmanager
def started(mode: str, run: Run, out: Path) -> Iterator[list[subprocess.Popen]]:
    """The processes that torchrun would start, ended in any case."""
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = []
    for rank in range(RANKS):
        command = [sys.executable, one_rank.__file__, mode, str(run.root), str(out)]
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with (out / f"errors_{rank}.txt").open("w", encoding="utf-8") as errors:
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def uneven(prepared: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with batches of three samples and batch Dice."""
    run = Run(tmp_path_factory.mktemp("uneven") / "run")
    shutil.copytree(prepared.root, run.root)
    plan = Plan.load(run.plan)
    changed = plan.configurations["3d_fullres"].with_(batch_size=3, batch_dice=True)
    plan.with_(configurations={"3d_fullres": changed}).save(run.plan)
    return run


@pytest.fixture(scope="module")
def together(uneven: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes have trained into."""
    out = tmp_path_factory.mktemp("together")
    with started("share", uneven, out) as processes:
        codes = [process.wait(timeout=PATIENCE) for process in processes]
        assert codes == [0] * RANKS, "\n".join(
            (out / f"errors_{rank}.txt").read_text(encoding="utf-8") for rank in range(RANKS)
        )
    return out


@pytest.fixture(scope="module")
def seen(together: Path) -> list[dict[str, Any]]:
    """What each process saw."""
    return [json.loads((together / f"rank_{rank}.json").read_text(encoding="utf-8")) for rank in range(RANKS)]


def test_ranks_agree_gather_and_wait(seen: list[dict[str, Any]]) -> None:
    for rank, one in enumerate(seen):
        assert (one["rank"], one["count"]) == (rank, RANKS)
        assert one["gathered"] == ["rank 0", "rank 1"]
        assert one["agreed"] == {"from": 0}
        assert one["numbers"] == [0.1, 1.0]
        assert one["done"] == 0
        assert one["refused"] == "no"


def test_a_sum_over_ranks_has_the_gradient_of_all_of_them(seen: list[dict[str, Any]]) -> None:
    for one in seen:
        assert one["total"] == [3.0, 4.0]  # (1, 2) + (2, 2)
        assert one["gradient"] == [2 * 2 * 3.0, 2 * 2 * 4.0]  # each rank's squares depend on these values


@pytest.mark.parametrize("name", one_rank.METHODS)
def test_two_processes_train_the_weights_of_one(
    name: str, uneven: Run, together: Path, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert seen[0][name] == seen[1][name]  # the ranks have the same bits
    one_rank.training(uneven.root, tmp_path, **one_rank.METHODS[name]).run()
    alone, shared = (load_checkpoint(Fold(folder).final)["network"] for folder in (tmp_path, together / name))
    assert alone.keys() == shared.keys()
    furthest = max(float((weight - shared[key]).abs().max()) for key, weight in alone.items())
    assert furthest < TOLERANCE
    metrics = [
        (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines() for folder in (tmp_path, together / name)
    ]
    for row, other in zip(*(map(json.loads, lines) for lines in metrics), strict=True):
        assert row["step"] == other["step"]
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert row["validation_loss"] == pytest.approx(other["validation_loss"], abs=1e-4)
        assert row["validation_dice"] == pytest.approx(other["validation_dice"], abs=1e-3)


def test_a_training_by_time_ends_at_the_same_step_everywhere(seen: list[dict[str, Any]], together: Path) -> None:
    assert seen[0]["timed"] == seen[1]["timed"] == load_checkpoint(Fold(together / "timed").final)["step"]


def test_ranks_resume_with_the_same_bits(together: Path) -> None:
    whole, parts = (load_checkpoint(Fold(together / name).final)["network"] for name in ("plain", "resumed"))
    assert all(torch.equal(weight, parts[name]) for name, weight in whole.items())


def test_a_killed_rank_ends_the_others(uneven: Run, tmp_path: Path) -> None:
    with started("forever", uneven, tmp_path) as (leader, other):
        deadline = time.monotonic() + PATIENCE
        while not Fold(tmp_path).last.exists():
            assert leader.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(other.pid, signal.SIGKILL)
        assert leader.wait(timeout=30) == 2
    assert "another process of this training died" in (tmp_path / "errors_0.txt").read_text(encoding="utf-8")
