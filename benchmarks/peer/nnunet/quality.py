"""nnU-Net's training and validation of one fold, fitted to a deadline, with a plan that suits a short time.

    quality.py PREPROCESSED CONFIGURATION --fold K --ends-at UNIX_TIME --cores N --report FILE

PREPROCESSED is nnU-Net's preprocessed folder of the data set. nnU-Net has no time limit. Here its networks have half
the plan's features, the batch is the largest that leaves `WANTED_STEPS` steps (at least nnU-Net's own least, two), and
the number of epochs follows the clock, so that the polynomial schedule ends, and the validation is done, in time.
Everything else is nnU-Net's default. FILE has what was chosen and done as soon as the training has ended.
"""

from __future__ import annotations

import argparse
import json
import time
from copy import deepcopy
from math import prod
from pathlib import Path
from typing import Any

import torch
from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

IMPORT_SECONDS = time.process_time()  # of which each process of the validation's pools needs as much
WANTED_STEPS = 1000  # ten times what momentum 0.99 averages over
LEAST_BATCH = 2
EPOCHS = 20  # steps of the learning rate; each costs a plot and a checkpoint
VALIDATION_BATCHES = 2  # of an epoch; they only choose a checkpoint that is not used
TRIALS = 3
PLANS = "nnUNetPlansHalved"


class DeadlineTrainer(nnUNetTrainer):
    """nnU-Net's trainer whose epochs end at `train_until` (seconds since 1970)."""

    train_until: float

    def run_training(self) -> None:
        """The epochs of nnU-Net; their number is estimated anew after each."""
        self.on_train_start()
        begun = time.time()
        while self.current_epoch < self.num_epochs:
            self.on_epoch_start()
            self.on_train_epoch_start()
            losses = [self.train_step(next(self.dataloader_train)) for _ in range(self.num_iterations_per_epoch)]
            self.on_train_epoch_end(losses)
            with torch.no_grad():
                self.on_validation_epoch_start()
                batches = range(self.num_val_iterations_per_epoch)
                self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val)) for _ in batches])
            self.on_epoch_end()
            seconds = (time.time() - begun) / self.current_epoch
            left = max(0, int((self.train_until - time.time()) / seconds))
            self.set_epochs(self.current_epoch + left)
        self.on_train_end()

    def set_epochs(self, count: int) -> None:
        """The end of the training and of the learning rate's schedule."""
        self.num_epochs = count
        self.lr_scheduler.max_steps = max(count, 1)


def main() -> None:
    """Trains, reports, validates."""
    options = _arguments()
    torch.set_num_threads(options.cores)
    plans = json.loads((options.preprocessed / "nnUNetPlans.json").read_text(encoding="utf-8"))
    dataset = json.loads((options.preprocessed / "dataset.json").read_text(encoding="utf-8"))
    configuration = _with_inherited(plans, options.configuration)
    _halve(configuration)
    planned = configuration["batch_size"]
    configuration["batch_size"] = LEAST_BATCH
    plans["configurations"] = {options.configuration: configuration}
    plans["plans_name"] = PLANS

    trial = _trainer(plans, options, dataset)
    seconds = _step_seconds(trial)
    reserve = _validation_seconds(trial)
    left = options.ends_at - time.time() - reserve
    batch = min(max(int(LEAST_BATCH * left / seconds / WANTED_STEPS), LEAST_BATCH), max(planned, LEAST_BATCH))
    configuration["batch_size"] = batch
    steps = max(left / (seconds * batch / LEAST_BATCH), 1)

    trainer = _trainer(plans, options, dataset)
    trainer.train_until = options.ends_at - reserve
    trainer.num_iterations_per_epoch = max(1, round(steps / EPOCHS))
    trainer.num_val_iterations_per_epoch = VALIDATION_BATCHES
    trainer.set_epochs(max(1, round(steps / trainer.num_iterations_per_epoch)))
    begun = time.time()
    trainer.run_training()
    done = trainer.current_epoch * trainer.num_iterations_per_epoch
    report = {
        "steps": done,
        "batch_size": batch,
        "features": configuration["architecture"]["arch_kwargs"]["features_per_stage"],
        "training_seconds": time.time() - begun,
        "predictions": str(Path(trainer.output_folder) / "validation"),
    }
    options.report.write_text(json.dumps(report), encoding="utf-8")
    trainer.perform_actual_validation(False)
    print(json.dumps(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preprocessed", type=Path)
    parser.add_argument("configuration")
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--ends-at", type=float, required=True)
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True)
    return parser.parse_args()


def _with_inherited(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration with the fields that it takes over from another."""
    own = deepcopy(plans["configurations"][name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_with_inherited(plans, parent), **own}


def _halve(configuration: dict[str, Any]) -> None:
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [width // 2 for width in network["features_per_stage"]]


def _trainer(plans: dict[str, Any], options: argparse.Namespace, dataset: dict[str, Any]) -> DeadlineTrainer:
    content = {**deepcopy(plans), "continue_training": False}
    trainer = DeadlineTrainer(content, options.configuration, options.fold, dataset, device=torch.device("cpu"))
    trainer.initialize()
    return trainer


def _patch(trainer: DeadlineTrainer, batch: int) -> torch.Tensor:
    return torch.randn(batch, trainer.num_input_channels, *trainer.configuration_manager.patch_size)


def _step_seconds(trainer: DeadlineTrainer) -> float:
    """Of a training step with the least batch, data at hand; the fastest of a few."""
    outputs = trainer.network(_patch(trainer, LEAST_BATCH))
    data, taken = _patch(trainer, LEAST_BATCH), []
    # Every voxel is background, or lies outside all regions: what is in the target does not change the time.
    channels = outputs[0].shape[1] if trainer.label_manager.has_regions else 1
    target = [torch.zeros(output.shape[0], channels, *output.shape[2:]) for output in outputs]
    for _ in range(TRIALS):
        start = time.perf_counter()
        trainer.train_step({"data": data, "target": target})
        taken.append(time.perf_counter() - start)
    return min(taken)


def _validation_seconds(trainer: DeadlineTrainer) -> float:
    """Expected of the whole validation: tiles with all mirrored copies, and two pools of processes that start."""
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    patch, taken = _patch(trainer, 1), []
    with torch.inference_mode():
        for _ in range(TRIALS):
            start = time.perf_counter()
            trainer.network(patch)
            taken.append(time.perf_counter() - start)
    *_, mirrored = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    copies = 2 ** len(mirrored or ())
    _, cases = trainer.get_tr_and_val_datasets()
    size = tuple(trainer.configuration_manager.patch_size)
    tiles = 0
    for case in cases.identifiers:
        shape = cases.load_case(case)[0].shape[1:]
        planes = shape[0] if len(size) == 2 else 1  # a plane's network goes through the slices
        padded = [max(length, tile) for length, tile in zip(shape[-len(size) :], size, strict=True)]
        tiles += planes * prod(len(steps) for steps in compute_steps_for_sliding_window(padded, size, 0.5))
    writing = 0.2 * len(cases.identifiers)
    return 1.3 * tiles * copies * sorted(taken)[TRIALS // 2] + writing + 2.5 * IMPORT_SECONDS


if __name__ == "__main__":
    main()
