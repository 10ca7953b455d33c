"""The same loop on a CUDA device; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg import Predictor, pipeline
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.workspace import Run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_run_on_cuda_predicts_nearly_the_same_on_the_cpu(tmp_path: Path) -> None:
    dataset, run = tmp_path / "dataset", Run(tmp_path / "run")
    write_phantom(dataset, PhantomOptions(cases=6, shape=(12, 24, 24)))
    pipeline.plan_and_train(
        dataset, run.root, configurations="3d_fullres", folds="0", steps=60, device="cuda", planner="default"
    )
    image = next((dataset / "imagesTr").iterdir())
    on_cuda = Predictor.load(run.root, device="cuda").predict(image)
    on_cpu = Predictor.load(run.root, device="cpu").predict(image)
    assert np.mean(on_cuda == on_cpu) > 0.99
