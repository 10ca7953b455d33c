"""Runs nnU-Net v2 inside its own environment, where this project is not installed; `peer` starts a copy of this file.

    drive_nnunet.py --device D train ROOT --seconds S --processes N [--configuration C]
    drive_nnunet.py --device D predict MODEL

`train` plans, preprocesses and trains the data set `NAME` until S seconds are over and writes ROOT/`REPORT`. `predict`
loads the model and answers each line of standard input, {"images": [...], "out": "..."}, with a line {"error": ...}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

NUMBER = 1
NAME = f"Dataset{NUMBER:03d}_Compared"
REPORT = "report.json"

FOLD = "all"
EPOCHS, EPOCH_STEPS, MOST_EPOCHS = 20, 250, 1000
"""At least so many steps of the learning rate, of at most nnU-Net's length; never more than nnU-Net's own number."""

TRIALS = 3  # steps after a first slow one, to see how long a step takes
STEPS_PER_CHECK = 5  # training steps for each validation step, as in nnU-Net


def main() -> None:
    """Trains or answers."""
    begun = time.time()
    options = _arguments()
    if options.work == "train":
        _train(options, begun + options.seconds)
    else:
        _answer(options)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="auto")
    work = parser.add_subparsers(dest="work", required=True)
    train = work.add_parser("train")
    train.add_argument("root", type=Path)
    train.add_argument("--seconds", type=float, required=True)
    train.add_argument("--processes", type=int, required=True)
    train.add_argument("--configuration")
    predict = work.add_parser("predict")
    predict.add_argument("model", type=Path)
    return parser.parse_args()


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(name)


def _train(options: argparse.Namespace, ends_at: float) -> None:
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    device = _device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.processes)
    extract_fingerprints([NUMBER], num_processes=options.processes)
    plan_experiments([NUMBER])
    prepared = options.root / "preprocessed" / NAME
    plans = json.loads((prepared / "nnUNetPlans.json").read_text(encoding="utf-8"))
    usual = "3d_fullres" if "3d_fullres" in plans["configurations"] else "2d"
    configuration = options.configuration or usual
    preprocess([NUMBER], configurations=[configuration], num_processes=[options.processes])
    plans["continue_training"] = False
    dataset = json.loads((prepared / "dataset.json").read_text(encoding="utf-8"))
    trainer = nnUNetTrainer(plans, configuration, FOLD, dataset, device=device)
    steps = _fit(trainer, ends_at)
    report = {
        "model": str(Path(trainer.output_folder).parent),
        "configuration": configuration,
        "epochs": trainer.current_epoch,
        "steps": steps,
    }
    (options.root / REPORT).write_text(json.dumps(report), encoding="utf-8")


def _fit(trainer: Any, ends_at: float) -> int:
    """nnU-Net's epochs, their number estimated anew after each so that the schedule ends in time; returns the steps."""
    import torch

    def train(count: int) -> list[Any]:
        return [trainer.train_step(next(trainer.dataloader_train)) for _ in range(count)]

    trainer.on_train_start()
    trainer.network.train()
    train(1)
    start = time.time()
    train(TRIALS)
    possible = (ends_at - time.time()) * TRIALS / (time.time() - start)
    length = trainer.num_iterations_per_epoch = int(min(EPOCH_STEPS, max(1, possible / EPOCHS)))
    checks = trainer.num_val_iterations_per_epoch = max(1, length // STEPS_PER_CHECK)
    _set_epochs(trainer, possible / length)
    begun = time.time()
    while trainer.current_epoch < trainer.num_epochs:
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end(train(length))
        with torch.no_grad():
            trainer.on_validation_epoch_start()
            trainer.on_validation_epoch_end(
                [trainer.validation_step(next(trainer.dataloader_val)) for _ in range(checks)]
            )
        trainer.on_epoch_end()
        seconds = (time.time() - begun) / trainer.current_epoch
        _set_epochs(trainer, trainer.current_epoch + max(0.0, (ends_at - time.time()) / seconds))
    trainer.on_train_end()
    return int(trainer.current_epoch * length + TRIALS + 1)


def _set_epochs(trainer: Any, count: float) -> None:
    """The end of the training and of the learning rate's schedule."""
    trainer.num_epochs = trainer.lr_scheduler.max_steps = int(min(MOST_EPOCHS, max(1, count)))


def _answer(options: argparse.Namespace) -> None:
    # nnU-Net prints; its words go where its errors go, so that standard output holds the answers alone
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=_device(options.device), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(options.model), (FOLD,), "checkpoint_final.pth")
    for line in sys.stdin:
        question = json.loads(line)
        problem = None
        try:
            predictor.predict_from_files_sequential([question["images"]], [question["out"]])
        except Exception as error:  # whatever nnU-Net raises is this case's failure; the next one may go well
            problem = f"{type(error).__name__}: {error}"
        answers.write(json.dumps({"error": problem}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
