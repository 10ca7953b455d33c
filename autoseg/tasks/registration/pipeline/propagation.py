"""Labels of a data set taken onto new images: the most similar cases are registered to each, and their labels vote."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case
from autoseg.data.discovery import discover, find_cases
from autoseg.data.files import read_case, read_image, write_image, write_labels
from autoseg.data.fusion import majority_vote
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ConfigurationError, DatasetError, RegistrationError
from autoseg.log import logger
from autoseg.records import Record
from autoseg.tasks.registration.methods import RegistrationOptions
from autoseg.tasks.registration.pipeline.atlas_choice import ChosenAtlas, choose_atlases
from autoseg.tasks.registration.pipeline.request import SubjectsRequest
from autoseg.tasks.registration.pipeline.resuming import begin
from autoseg.tasks.registration.pipeline.subjects import SubjectRegistration, SubjectsWork
from autoseg.tasks.registration.record import StageRecord, stage_records
from autoseg.tasks.registration.warp import warp_labels

ATLASES = 10
"""Cases whose labels vote for a target, unless another number is asked for (Aljabar et al. 2009)."""

FILE = "propagation.json"
"""In the output folder: what was asked (`PropagationRecord`), so that a call can go on with it."""

VOTES = "votes"
"""In the output folder while it is worked on: <target>/<atlas>.nii.gz in training values."""

DISAGREEMENT = "disagreement"
"""In the output folder: <target>.nii.gz, the share of atlases that name another label than the one chosen."""


class PropagationRecord(Record):
    """What decides the result, beside the targets."""

    dataset: str
    method: str
    options: RegistrationOptions
    atlases: int
    seed: int


class Vote(Record):
    """One atlas on one target.

    Attributes:
        similarity: correlation with the target on a coarse grid, by which it was chosen; None where all vote.
        stages: of its registration.
        warnings: of the method.
        failure: why it does not vote; None if it does.
    """

    atlas: str
    similarity: float | None = None
    stages: tuple[StageRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: str | None = None


class Proposal(Record):
    """What <target>.json holds.

    Attributes:
        votes: best first where they were chosen by similarity.
        volumes: label -> mm3 (mm2 in 2D) in the proposal.
        disagreement: label -> mean share of dissenting atlases over the voxels that were given it; None without any.
    """

    target: str
    images: tuple[str, ...]
    votes: tuple[Vote, ...]
    volumes: dict[str, float]
    disagreement: dict[str, float | None]


@dataclass(frozen=True)
class Propagation:
    """What was done: target -> its proposal, and an error for each target without one."""

    proposals: dict[str, Proposal]
    errors: dict[str, AutosegError]


def propagate_labels(
    atlas_cases: Path,
    targets: Sequence[Path],
    out: Path,
    request: SubjectsRequest | None = None,
    *,
    atlases: int = ATLASES,
) -> Propagation:
    """Writes OUT/<target> with label proposals, OUT/disagreement/<target>.nii.gz and OUT/<target>.json.

    The cases that resemble a target most are registered to it; each voxel gets the label that most of them name
    (Heckemann et al. 2006). An atlas whose file is the target itself does not vote. An atlas that cannot be registered
    is named in the target's JSON, and the others vote.

    Args:
        atlas_cases: folder of a data set with labels, in any accepted layout.
        targets: a folder, or image files, with the data set's channels.
        out: folder to write to.
        request: how the cases are registered; defaults if None.
        atlases: how many vote; all where there are fewer.

    Raises:
        DatasetError: no labelled case, or no target.
        ConfigurationError: fewer than one atlas asked for.
        WorkspaceError: `out` is in use and the request does not resume, or was begun with other choices.
    """
    if atlases < 1:
        raise ConfigurationError("is no number of atlases", where="atlases", got=atlases, expected="1, 2, 3, ...")
    request = request or SubjectsRequest()
    data = discover(atlas_cases)
    if not data.training:
        raise DatasetError("no case has labels", where=atlas_cases, remedy="give a data set with labels")
    cases = find_cases(targets, len(data.channels))
    work = SubjectsWork.of(data, out, request)
    begin(out / FILE, PropagationRecord(**work.choices, atlases=atlases), resume=request.resume)
    proposals = {case.id: Proposal.load(path) for case in cases if (path := out / f"{case.id}.json").exists()}
    if proposals:
        logger.info("%d of %d targets are done already", len(proposals), len(cases))
    left = [case for case in cases if case.id not in proposals]
    chosen = choose_atlases(data, left, atlases, workers=work.workers)
    errors: dict[str, AutosegError] = {}
    _register(work, left, chosen)
    for case in left:
        try:
            proposals[case.id] = _fuse(work, case, chosen[case.id])
        except AutosegError as error:
            errors[case.id] = error
    shutil.rmtree(out / VOTES, ignore_errors=True)
    return Propagation({case.id: proposals[case.id] for case in cases if case.id in proposals}, errors)


@dataclass(frozen=True)
class _VoteJob:
    """One atlas to be registered to one target, with everything a process needs.

    Attributes:
        labels: file of the atlas's labels on the target, in training values.
    """

    target: Case
    atlas: ChosenAtlas
    channels: int
    scheme: LabelScheme
    registration: SubjectRegistration
    labels: Path

    @property
    def result(self) -> Path:
        """The vote, beside the labels."""
        return _vote_file(self.labels)


def _labels_file(work: SubjectsWork, target: str, atlas: str) -> Path:
    """The file of an atlas's labels on a target; its vote beside it is written last."""
    return work.out / VOTES / target / f"{atlas}.nii.gz"


def _vote_file(labels: Path) -> Path:
    return labels.with_name(labels.name.removesuffix(".nii.gz") + ".json")


def _register(work: SubjectsWork, targets: Sequence[Case], chosen: dict[str, list[ChosenAtlas]]) -> None:
    """Registers every chosen atlas to its target, but for those that an interrupted call has done."""
    channels, scheme = len(work.data.channels), work.data.labels
    jobs = [
        _VoteJob(target, atlas, channels, scheme, work.registration, _labels_file(work, target.id, atlas.case.id))
        for target in targets
        for atlas in chosen[target.id]
    ]
    for _ in work.run(_cast_vote, jobs, "registering atlases"):
        pass


def _cast_vote(job: _VoteJob) -> None:
    """Registers an atlas to a target and writes its labels there, and how that went."""
    atlas = job.atlas.case
    try:
        target, image = read_case(job.target, job.channels), read_case(atlas, job.channels)
        labels = job.scheme.encode(read_case_labels(atlas, image, job.scheme).array)
        _, result = job.registration.register(target, image)
        abstains = len(job.scheme.values)  # as voxels without annotation do
        moving = Image(labels, image.geometry)
        warped = warp_labels(moving, result.transform, target.geometry, target.shape, outside=abstains)
        write_labels(job.labels, warped.array[0], target.geometry)
        stages = stage_records(result.stages)
        vote = Vote(atlas=atlas.id, similarity=job.atlas.similarity, stages=stages, warnings=result.warnings)
    except AutosegError as error:
        vote = Vote(atlas=atlas.id, similarity=job.atlas.similarity, failure=str(error))
    vote.save(job.result)


def _fuse(work: SubjectsWork, case: Case, chosen: Sequence[ChosenAtlas]) -> Proposal:
    """The majority of a target's votes, written with its disagreement; the JSON comes last."""
    target = read_case(case, len(work.data.channels))
    votes = [Vote.load(_vote_file(_labels_file(work, case.id, atlas.case.id))) for atlas in chosen]
    cast = [vote for vote in votes if vote.failure is None]
    if not cast:
        reasons = "; ".join(f"{vote.atlas}: {vote.failure}" for vote in votes) or "no atlas of its dimension"
        raise RegistrationError("no atlas could be registered", where=case.id, got=reasons)
    scheme = work.data.labels
    arrays = [read_image(_labels_file(work, case.id, vote.atlas)).array[0] for vote in cast]
    fused = majority_vote(arrays, len(scheme.values))
    assert fused.disagreement is not None
    write_image(work.out / DISAGREEMENT / f"{case.id}.nii.gz", Image(fused.disagreement[None], target.geometry))
    write_labels(work.out / f"{case.id}{work.data.label_ending}", scheme.decode(fused.labels), target.geometry)
    masks = {name: np.isin(fused.labels, values) for name, values in scheme.training_foreground.items()}
    proposal = Proposal(
        target=case.id,
        images=tuple(str(path) for path in case.images),
        votes=tuple(votes),
        volumes={name: float(mask.sum() * target.geometry.voxel_volume) for name, mask in masks.items()},
        disagreement={
            name: float(fused.disagreement[mask].mean()) if mask.any() else None for name, mask in masks.items()
        },
    )
    proposal.save(work.out / f"{case.id}.json")
    return proposal
