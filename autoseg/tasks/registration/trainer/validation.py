"""The validation of a registration network: pairs of validation cases, by the path that users register with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case
from autoseg.data.files import read_case, write_image, write_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.log import progress
from autoseg.metrics.score import score_labels
from autoseg.records import Record
from autoseg.tasks.registration.files import write_displacement
from autoseg.tasks.registration.methods import RegistrationResult
from autoseg.tasks.registration.quality import deformation
from autoseg.tasks.registration.trainer.model import RegistrationModel
from autoseg.tasks.registration.trainer.pairs import CasePair
from autoseg.tasks.registration.transforms import Affine, Composite, Displacement, as_displacement
from autoseg.tasks.registration.warp import warp_image, warp_labels
from autoseg.training.context import Validated
from autoseg.workspace import Fold

DEFORMATION = "deformation"
"""Row of a pair's scores about the transform itself, beside the rows of the labels."""

Scores = dict[str, dict[str, float | None]]


class ValidatedPairs(Record):
    """What was registered to what; the fold's `pairs`.

    Attributes:
        moving: identifier of the fixed case -> identifier of the case that was laid on it.
        example: the fixed case whose images are kept; None without any pair.
        regularization: weight of the regulariser, for a network that takes one.
    """

    moving: dict[str, str]
    example: str | None = None
    regularization: float | None = None


def validate_pairs(
    model: RegistrationModel, pairs: Sequence[CasePair], cases: Mapping[str, Case], fold: Fold, ending: str
) -> Validated:
    """Registers pairs and writes the warped labels, each named by its fixed case.

    Args:
        model: the network.
        pairs: each fixed case once.
        cases: identifier -> case, of both sides.
        fold: to whose validation they are written, with `ValidatedPairs` and the images of the first pair.
        ending: of label files.

    Returns:
        The label files where both cases have labels with all classes; and rows of scores: Dice and HD95 of each label
        before (with the images' middles on each other) beside those after, and what the deformation does to space
        (`DEFORMATION`).
    """
    folder = fold.validation
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    scores: dict[str, Scores] = {}
    scheme, channels = model.plan.labels, len(model.plan.channels)
    for number, (fixed, moving) in enumerate(progress(pairs, "registering pairs", len(pairs))):
        target, source = (read_case(cases[case], channels) for case in (fixed, moving))
        started = time.perf_counter()
        result = model.register(target, source)
        seconds = time.perf_counter() - started
        displacement, linear = _parts(result)
        whole = as_displacement(result.transform, displacement.grid)
        scores[fixed] = {DEFORMATION: _deformation(displacement, result, seconds)}
        if cases[fixed].is_fully_labelled and cases[moving].is_fully_labelled:
            reference = read_case_labels(cases[fixed], target, scheme)
            own = read_case_labels(cases[moving], source, scheme)
            files[fixed] = folder / f"{fixed}{ending}"
            onto = target.geometry, target.shape
            write_labels(files[fixed], warp_labels(own, whole, *onto).array[0], target.geometry)
            scores[fixed] |= _before(reference, warp_labels(own, linear, *onto), scheme)
        if number == 0:
            _write_example(fold.example, target, source, linear, whole)
    ValidatedPairs(
        moving=dict(pairs), example=pairs[0][0] if pairs else None, regularization=model.regularization
    ).save(fold.pairs)
    return Validated(files, scores)


def _parts(result: RegistrationResult) -> tuple[Displacement, Affine]:
    """What the network adds, and the map that lays the middles on each other."""
    transform = result.transform
    assert isinstance(transform, Composite)
    displacement, linear = transform.parts
    assert isinstance(displacement, Displacement)
    assert isinstance(linear, Affine)
    return displacement, linear


def _deformation(displacement: Displacement, result: RegistrationResult, seconds: float) -> dict[str, float | None]:
    """What the network's own part of the transform does; the linear one is the same for every network."""
    measured = deformation(displacement.field, displacement.grid)
    network = result.stages[0]
    return {
        "folded_percent": measured.nonpositive_percent,
        "log_jacobian_std": measured.log_jacobian_std,
        "displacement_mean": measured.displacement_mean,
        "displacement_max": measured.displacement_max,
        "correlation_before": -network.before,
        "correlation": -result.stages[-1].after,
        "seconds": seconds,
    }


def _before(reference: Image, unregistered: Image, scheme: LabelScheme) -> Scores:
    """Dice and HD95 without the network, under names of their own."""
    ignore = scheme.training_ignore
    fixed, moved = (scheme.encode(labels.array[0]) for labels in (reference, unregistered))
    geometry = reference.geometry
    scores = score_labels(
        np.where(moved == ignore, 0, moved),
        fixed,
        scheme.training_foreground,
        geometry.spacing,
        dimension=geometry.dimension,
        ignore=ignore,
        metrics=("dice", "hd95"),
    )
    return {name: {"dice_before": row["dice"], "hd95_before": row["hd95"]} for name, row in scores.items()}


def _write_example(folder: Path, fixed: Image, moving: Image, linear: Affine, whole: Displacement) -> None:
    """The first channel of a pair before and after, and the whole transform, for the report's picture.

    Args:
        folder: to write to.
        fixed, moving: the images.
        linear: the map that lays the images' middles on each other.
        whole: the transform.
    """
    onto = fixed.geometry, fixed.shape
    first = moving.with_array(moving.array[:1])
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "fixed.nii.gz", fixed.with_array(fixed.array[:1].astype(np.float32)))
    write_image(folder / "before.nii.gz", warp_image(first, linear, *onto, outside="border"))
    write_image(folder / "after.nii.gz", warp_image(first, whole, *onto, outside="border"))
    write_displacement(folder / "displacement.nii.gz", whole)


def mean_dice(
    model: RegistrationModel, pairs: Sequence[CasePair], cases: Mapping[str, Case]
) -> tuple[float | None, float]:
    """Mean Dice of warped labels (None without any) and per cent of folded voxels of some pairs; nothing is written."""
    dice: list[float] = []
    folded: list[float] = []
    scheme, channels = model.plan.labels, len(model.plan.channels)
    for fixed, moving in pairs:
        target, source = (read_case(cases[case], channels) for case in (fixed, moving))
        result = model.register(target, source)
        displacement, _ = _parts(result)
        folded.append(deformation(displacement.field, displacement.grid).nonpositive_percent)
        if not (cases[fixed].is_fully_labelled and cases[moving].is_fully_labelled):
            continue
        reference = read_case_labels(cases[fixed], target, scheme)
        own = read_case_labels(cases[moving], source, scheme)
        warped = warp_labels(own, as_displacement(result.transform, displacement.grid), target.geometry, target.shape)
        rows = _before(reference, warped, scheme)
        dice += [row["dice_before"] for row in rows.values() if row["dice_before"] is not None]
    return (float(np.mean(dice)) if dice else None), (float(np.mean(folded)) if folded else 0.0)
