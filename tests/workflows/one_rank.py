"""One of the processes of test_workflow_ranks.py, started with torchrun's environment.

python one_rank.py share RUN OUT    trains in several ways, and writes what this process saw as OUT/rank_<r>.json
python one_rank.py forever RUN OUT  trains until it is killed
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from autoseg.data.dataset import Dataset
from autoseg.data.splits import load_splits
from autoseg.errors import AutosegError, ConfigurationError
from autoseg.plan.record import Plan
from autoseg.tasks.segmentation.trainer.trainer import SegmentationTrainer
from autoseg.training.config import OptimizerConfig, TrainingConfig
from autoseg.training.context import FoldContext
from autoseg.training.distributed import on_leader, ranks, start_ranks, stop_ranks
from autoseg.training.hooks import default_hooks
from autoseg.training.loop import Start, Training
from autoseg.training.runtime import Runtime
from autoseg.workspace import Fold, Run

GENTLE = OptimizerConfig(learning_rate=0.01, momentum=0.9)
METHODS: dict[str, dict[str, Any]] = {
    "plain": {"steps": 20, "round_steps": 10},
    "accumulated": {"steps": 6, "round_steps": 3, "accumulation": 2, "ema_decay": 0.9},
    "hard": {"steps": 4, "round_steps": 2, "sampler": {"name": "hard-location"}},
}
"""Trainings that are the same for one process and for two."""


def training(run: Path, out: Path, *, resume: bool = False, **settings: object) -> Training:
    """A training of fold 0 of a prepared run that writes into `out`."""
    paths = Run(run)
    dataset, plan = Dataset.load(paths.dataset), Plan.load(paths.plan)
    split = load_splits(paths.splits, dataset.identifiers)[0]
    config = TrainingConfig.model_validate({"optimizer": GENTLE, **settings})
    context = FoldContext(paths, dataset, plan, "3d_fullres", "0", split, config, Runtime())
    task = SegmentationTrainer(context).task()
    fold = Fold(out)
    start = Start(resume=resume)
    return Training(task, config, context.runtime, fold, dimension=3, hooks=default_hooks, start=start)


def share(run: Path, out: Path) -> None:
    """Everything that ranks do together; the assertions hold on each."""
    own = ranks()
    seen: dict[str, Any] = {"rank": own.rank, "count": own.count, "gathered": own.gather(f"rank {own.rank}")}
    seen["agreed"] = own.agree({"from": own.rank})
    seen["numbers"] = own.agree_on_numbers(own.rank + 0.1, own.rank == 0)
    seen["done"] = on_leader(lambda: time.sleep(0.3) or own.rank)
    seen["refused"] = _message(lambda: on_leader(_refuse))

    values = torch.tensor([1.0 + own.rank, 2.0], requires_grad=True)
    total = own.total(values)
    (total**2).sum().backward()
    assert values.grad is not None
    seen["total"], seen["gradient"] = total.tolist(), values.grad.tolist()

    for name, settings in METHODS.items():
        made = training(run, out / name, **settings)
        made.run()
        weights = b"".join(weight.numpy().tobytes() for weight in made.network.state_dict().values())
        seen[name] = hashlib.sha256(weights).hexdigest()
    timed = training(run, out / "timed", seconds=1.0)
    seen["timed"] = timed.run().steps
    stopped = training(run, out / "resumed", **METHODS["plain"], stop_after=7)
    stopped.run()
    resumed = training(run, out / "resumed", resume=True, **METHODS["plain"])
    assert resumed.resumed
    resumed.run()
    (out / f"rank_{own.rank}.json").write_text(json.dumps(seen), encoding="utf-8")


def _refuse() -> None:
    raise ConfigurationError("no")


def _message(work: Any) -> str:
    try:
        work()
    except AutosegError as error:
        return str(error)
    return ""


def main(mode: str, run: Path, out: Path) -> int:
    start_ranks("cpu")
    try:
        if mode == "share":
            share(run, out)
        else:
            training(run, out, steps=100_000, round_steps=2).run()
    except AutosegError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        stop_ranks()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
