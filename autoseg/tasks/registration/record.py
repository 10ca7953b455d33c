"""What a registration was and how good it is, as it stands in `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.records import Record
from autoseg.tasks.registration.methods import StageReport
from autoseg.tasks.registration.quality import LabelAgreement, Quality

MANY_FOLDS = 0.5
"""Per cent of folded voxels above which a deformation is not to be trusted."""

_LITTLE_COVERAGE = 0.5
_WORSE_DICE = 0.005
_WORSE_LABEL = 0.02
_WORSE_HD95 = 1.0  # of the finest spacing
_LOOSE_INVERSE = 0.5  # of the finest spacing


class StageRecord(Record):
    """One stage of the fit (see `methods.StageReport`); the similarity is a loss, lower is better."""

    name: str
    similarity: str
    before: float | None
    after: float | None
    iterations: int
    seconds: float
    stopped: str

    @property
    def dropped(self) -> bool:
        """Whether its result was thrown away."""
        return "dropped" in self.stopped


def stage_records(stages: Sequence[StageReport]) -> tuple[StageRecord, ...]:
    """What a file keeps of the stages of a registration: all but the history of the loss."""
    return tuple(StageRecord(**{name: getattr(stage, name) for name in StageRecord.model_fields}) for stage in stages)


class RegistrationRecord(Record):
    """What `metrics.json` holds.

    Attributes:
        fixed, moving: the image files.
        given: name of another input ("fixed labels", "mask", ...) -> file.
        method: name of the plug-in.
        options: what was asked of it; null is its own choice.
        stages: in the order in which they ran.
        quality: of the result.
        outside: value of warped.nii.gz where the moving image does not reach.
        warnings: what to know before using the result, in sentences.
        files: what was written -> what it is.
        command: the command line; empty for a call from Python.
        versions, machine: where it was made.
    """

    fixed: str
    moving: str
    given: dict[str, str] = {}
    dimension: int
    method: str
    options: dict[str, Any]
    seed: int
    device: str
    stages: tuple[StageRecord, ...]
    quality: Quality
    outside: float
    warnings: tuple[str, ...] = ()
    files: dict[str, str] = {}
    command: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}


def cautions(quality: Quality, similarity: str, finest_spacing: float) -> tuple[str, ...]:
    """What the numbers of a registration warn of, in sentences; nothing for a good one with evidence.

    Args:
        similarity: name of the similarity that was optimised.
        finest_spacing: mm, of the fixed image.
    """
    texts = []
    if not quality.evidence:
        texts.append(
            f"The only evidence for this result is the similarity that was optimised ({similarity}), which improves as "
            "well where a registration goes wrong. Labels or landmarks of both images would tell."
        )
    before, after = quality.dice
    if before is not None and after is not None and after < before - _WORSE_DICE:
        texts.append(f"The labels agree less than before: mean Dice {before:.3f} became {after:.3f}.")
    else:
        texts += _worse_labels(quality.labels)
    texts += _farther_outlines(quality.labels, finest_spacing)
    marks = quality.landmarks
    if marks is not None and marks.after.median > marks.before.median:
        texts.append(
            f"The landmarks are farther apart than before: their median distance {marks.before.median:.2f} mm became "
            f"{marks.after.median:.2f} mm."
        )
    deformation = quality.deformation
    if deformation.nonpositive_percent > MANY_FOLDS:
        texts.append(
            f"The deformation folds space in {deformation.nonpositive_percent:.2f} % of the voxels: it is too free for "
            "these images. Leave out the deformable stage, or smooth more."
        )
    distance = deformation.inverse_consistency_mean
    if distance is not None and distance > _LOOSE_INVERSE * finest_spacing:
        texts.append(f"The way back misses by {distance:.2f} mm in the mean: do not take points back with the inverse.")
    if quality.coverage < _LITTLE_COVERAGE:
        texts.append(
            f"The moving image reaches {100 * quality.coverage:.0f} % of the fixed one; elsewhere nothing is known."
        )
    return tuple(texts)


def _worse_labels(labels: Mapping[str, LabelAgreement]) -> list[str]:
    return [
        f"The label {name} agrees less than before: Dice {label.dice_before:.3f} became {label.dice:.3f}."
        for name, label in labels.items()
        if label.dice_before is not None and label.dice is not None and label.dice < label.dice_before - _WORSE_LABEL
    ]


def _farther_outlines(labels: Mapping[str, LabelAgreement], finest_spacing: float) -> list[str]:
    return [
        f"The outlines of {name} are farther apart than before: "
        f"HD95 {label.hd95_before:.2f} mm became {label.hd95:.2f} mm."
        for name, label in labels.items()
        if label.hd95_before is not None
        and label.hd95 is not None
        and label.hd95 > label.hd95_before + _WORSE_HD95 * finest_spacing
    ]
