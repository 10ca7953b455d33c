"""New images through a trained run: the command `predict` for segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from autoseg.data.dataset import Case
from autoseg.data.discovery import find_cases
from autoseg.errors import AutosegError
from autoseg.inference.estimate import CaseEstimate, CaseEstimates, Reliability, write_estimates
from autoseg.inference.predictor import Predictor
from autoseg.log import logger
from autoseg.pipeline.choices import fold_names
from autoseg.pipeline.stages import split_names
from autoseg.run_state import RunState
from autoseg.training.context import PredictionRequest
from autoseg.training.distributed import rank_from_environment
from autoseg.training.runtime import find_device
from autoseg.workspace import ALL_DATA, Run

ESTIMATES = "uncertainty.json"
"""Beside the predictions: how good each is expected to be (`inference.estimate.CaseEstimates`)."""


def segment_images(run: Path, inputs: Sequence[Path], folder: Path, request: PredictionRequest) -> list[str]:
    """Segments images with a run's model.

    Of several processes started by torchrun each takes its share of the images.

    Args:
        run: run folder.
        inputs: a folder, or image files.
        folder: for a label file per image and uncertainty.json.
        request: which networks, and what else is written.

    Returns:
        A message for each case that could not be predicted.
    """
    rank, count = rank_from_environment()
    predictor = Predictor.load(
        run,
        configuration=request.configuration,
        folds=fold_names(request.folds),
        device=_own_device(request.device, rank),
        mirroring=request.mirroring,
        skip_empty=request.skip_empty,
    )
    if rank == 0:
        for model in predictor.models:
            words = networks_in_words(Run(run), model.name, model.folds, chosen=request.folds != "all")
            logger.info("predicting with %s", words)
    # Divided before looking at what is there, which changes while the others work.
    own = find_cases(inputs, len(predictor.plan.channels), request.reading)[rank::count]
    if request.keep_existing:
        own = _missing(own, folder, predictor.plan.file_ending)
    part = _part(folder, rank, count)
    part.unlink(missing_ok=True)  # of an earlier call that was interrupted
    done = predictor.predict_files(
        own, folder, save_probabilities=request.save_probabilities, uncertainty=request.uncertainty
    )
    if done.estimates or count > 1:
        earlier = _read(folder / ESTIMATES) if request.keep_existing else {}
        if count == 1:
            write_estimates(folder / ESTIMATES, {**earlier, **done.estimates}, predictor.reliability)
        else:
            write_estimates(part, done.estimates)
            _merge(folder, count, earlier, predictor.reliability)
    return done.failures


def networks_in_words(run: Run, name: str, used: Sequence[str], *, chosen: bool = False) -> str:
    """Which networks of a configuration predict, and which folds of the run have none that could.

    Args:
        run: run folder; of a model file, which has no folds but those that are used.
        name: of the configuration.
        used: names of the folds whose networks predict.
        chosen: the user named the folds: of the others nothing is said.
    """
    if tuple(used) == (ALL_DATA,):
        return f"{name}: the model of all data"
    many = f"the mean of the networks of folds {', '.join(used)}"
    words = [many if len(used) > 1 else f"the network of fold {used[0]}"]
    state = RunState.read(run)
    words += [
        f"fold {fold} is of the training before, as its latest is not finished"
        for fold in used
        if state.fold(name, fold).has_model and not state.fold(name, fold).trained
    ]
    if not chosen:
        begun = [
            fold
            for (configuration, fold), fold_state in state.folds.items()
            if configuration == name and fold != ALL_DATA and fold_state.begun and not fold_state.has_model
        ]
        words += [f"fold {fold} was begun and never finished" for fold in begun]
        untrained = [fold for fold in _fold_names(run) if fold not in (*used, *begun)]
        if untrained:
            which, are = ("fold", "is") if len(untrained) == 1 else ("folds", "are")
            words.append(f"{which} {', '.join(untrained)} {are} not trained")
    return f"{name}: {'; '.join(words)}"


def _fold_names(run: Run) -> tuple[str, ...]:
    """Those of the run's splits; none where they are not there or not as they should be."""
    with suppress(AutosegError):
        return split_names(run)
    return ()


def _own_device(device: str, rank: int) -> str:
    """A GPU of its own for each of several processes on a machine."""
    kind = find_device(device)
    if kind != "cuda":
        return kind
    return f"cuda:{rank % torch.cuda.device_count()}" if rank else kind


def _missing(cases: Sequence[Case], folder: Path, ending: str) -> tuple[Case, ...]:
    left = tuple(case for case in cases if not (folder / f"{case.id}{ending}").exists())
    if len(left) < len(cases):
        logger.info("%d of %d images are predicted already", len(cases) - len(left), len(cases))
    return left


def _part(folder: Path, rank: int, count: int) -> Path:
    """Where one of several processes leaves its estimates for the last of them."""
    return folder / f"uncertainty.{rank + 1}-of-{count}.json"


def _merge(folder: Path, count: int, earlier: Mapping[str, CaseEstimate], reliability: Reliability | None) -> None:
    """Makes one file of the parts if all are there.

    The process that finishes last finds them all; where two finish at once both may, write the same, and the parts may
    vanish while the second reads them.
    """
    parts = [_part(folder, rank, count) for rank in range(count)]
    if not all(part.exists() for part in parts):
        return
    with suppress(FileNotFoundError):
        estimates = dict(earlier)
        for part in parts:
            estimates |= _read(part)
        write_estimates(folder / ESTIMATES, estimates, reliability)
    for part in parts:
        part.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, CaseEstimate]:
    return dict(CaseEstimates.load(path).cases) if path.exists() else {}
