"""A training whose batches are augmented where it computes, here forced on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from autoseg.pipeline.settings import read_settings
from autoseg.pipeline.training import train_fold
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run


def _weights(prepared: Run, folder: Path, *stops: int | None, place: str = "device") -> dict[str, torch.Tensor]:
    """Fold 0 after six steps, trained in one call for each of `stops` (steps of the call, None: the rest)."""
    run = Run(folder)
    shutil.copytree(prepared.root, run.root)
    for number, stop in enumerate(stops):
        # The number of workers must not matter.
        assignments = [f"training.augmentation_on={place}"] if number == 0 else []
        assignments += [] if stop is None else [f"training.stop_after={stop}"]
        train_fold(
            run.root, "3d_fullres", "all", steps=6, device="cpu", workers=number, resume=number > 0,
            settings=read_settings(assignments=assignments),
        )  # fmt: skip
    network: dict[str, torch.Tensor] = load_checkpoint(run.fold("3d_fullres", "all").final)["network"]
    return network


def test_a_training_augmented_on_its_device_resumes_with_the_same_bits(prepared: Run, tmp_path: Path) -> None:
    whole = _weights(prepared, tmp_path / "whole", None)
    parts = _weights(prepared, tmp_path / "parts", 4, None)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_training_augmented_on_its_device_learns_nearly_what_workers_make_it_learn(
    prepared: Run, tmp_path: Path
) -> None:
    device, workers = (_weights(prepared, tmp_path / place, None, place=place) for place in ("device", "workers"))
    assert any(not torch.equal(device[name], workers[name]) for name in device)  # other sums, the same patches
    assert all(torch.allclose(device[name], workers[name], atol=1e-2) for name in device)
