"""nnU-Net's training step on a given batch; its trainer makes network, loss and optimiser, and does the step.

Prints the seconds and the loss of each step; `--after` keeps the weights after the first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module


def main() -> None:
    """The command."""
    options = _options()
    torch.set_num_threads(options.threads)
    with contextlib.redirect_stdout(sys.stderr):
        trainer = _trainer(options)
        network = getattr(trainer.network, "_orig_mod", trainer.network)  # what torch.compile has wrapped
        batch = _batch(options, network)
        seconds, losses = [], []
        for step in range(options.warm_up + options.steps):
            _wait(trainer.device)
            start = time.perf_counter()
            for _ in range(options.group):
                result = trainer.train_step(batch)
            _wait(trainer.device)
            if step >= options.warm_up:
                seconds.append((time.perf_counter() - start) / options.group)
            losses.append(float(result["loss"]))
            if step == 0 and options.after is not None:
                torch.save({name: weight.detach().cpu() for name, weight in network.named_parameters()}, options.after)
    print(json.dumps({"seconds": seconds, "losses": losses}))


def _trainer(options: argparse.Namespace) -> Any:
    """nnUNetTrainer, initialised, with the given weights."""
    plans = json.loads(options.plans.read_text(encoding="utf-8"))
    plans["continue_training"] = False
    dataset = json.loads(options.dataset.read_text(encoding="utf-8"))
    # The kind of the files of a preprocessed data set is of no meaning to a step.
    with patch.object(trainer_module, "infer_dataset_class", return_value=None):
        trainer = trainer_module.nnUNetTrainer(plans, options.configuration, 0, dataset, torch.device(options.device))
        trainer.initialize()
    network = getattr(trainer.network, "_orig_mod", trainer.network)
    network.load_state_dict(torch.load(options.weights, weights_only=True))
    trainer.network.train()
    return trainer


def _batch(options: argparse.Namespace, network: Any) -> dict[str, Any]:
    """The batch as nnU-Net's loader hands it out: labels at the resolution of each output, which its workers made."""
    with np.load(options.batch) as stored:
        image, labels = torch.from_numpy(stored["image"]), torch.from_numpy(stored["labels"])
    with torch.no_grad():
        shapes = [logits.shape[2:] for logits in network(image[:1].to(options.device))]
    targets = [torch.nn.functional.interpolate(labels.float(), size=s, mode="nearest-exact").short() for s in shapes]
    if options.device == "cuda":
        return {"data": image.pin_memory(), "target": [target.pin_memory() for target in targets]}
    return {"data": image, "target": targets}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("plans", "dataset", "weights", "batch"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--after", type=Path)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--group", type=int, default=1, help="steps timed together")
    return parser.parse_args()


if __name__ == "__main__":
    main()
