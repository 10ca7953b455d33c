"""Small data sets and a small trained run, made once and copied by the tests that change them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import small_networks

from autoseg import pipeline
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.workspace import Run

STEPS = 4


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small 3D cases with three classes."""
    folder = tmp_path_factory.mktemp("phantom") / "dataset"
    write_phantom(folder, PhantomOptions(cases=6, shape=(12, 24, 24)))
    return folder


@pytest.fixture(scope="session")
def prepared(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is planned and preprocessed, not trained. Do not change it; see `copy_run`."""
    run = Run(tmp_path_factory.mktemp("prepared") / "run")
    pipeline.fingerprint_dataset(phantom, run.root, workers=1)
    pipeline.make_plan(run.root)
    small_networks(run)
    pipeline.preprocess(run.root, configurations="3d_fullres", workers=1)
    return run


@pytest.fixture(scope="session")
def trained(phantom: Path, prepared: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose fold 0 is trained for a few steps, summarised and reported. Do not change it."""
    run = Run(tmp_path_factory.mktemp("trained") / "run")
    shutil.copytree(prepared.root, run.root)
    pipeline.plan_and_train(
        phantom, run.root, configurations="3d_fullres", folds="0", steps=STEPS, device="cpu", workers=0,
        resume=True, command=("autoseg", "plan-and-train"),
    )  # fmt: skip
    return run


@pytest.fixture
def copy_run(tmp_path: Path) -> Callable[[Run], Run]:
    """Copies a run into the test's own folder."""

    def copy(run: Run) -> Run:
        target = Run(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        shutil.copytree(run.root, target.root)
        return target

    return copy
