"""Labels of a data set taken onto new images: the most similar cases are registered to each, and their labels vote."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from autoseg.data import atlas_alignment
from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover, find_cases
from autoseg.data.files import read_case, read_image, read_labels, write_image, write_labels
from autoseg.data.fusion import majority_vote
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ConfigurationError, DatasetError, RegistrationError
from autoseg.log import logger
from autoseg.processes import unordered
from autoseg.records import Record
from autoseg.tasks.registration.methods import RegistrationOptions
from autoseg.tasks.registration.pipeline.resuming import begin
from autoseg.tasks.registration.pipeline.subjects import SubjectRegistration, lay_on, processes_for
from autoseg.tasks.registration.record import StageRecord
from autoseg.tasks.registration.warp import warp_labels
from autoseg.training.runtime import find_device

ATLASES = 10
"""Cases whose labels vote for a target, unless another number is asked for (Aljabar et al. 2009)."""

FILE = "propagation.json"
"""In the output folder: what was asked (`PropagationRequest`), so that a call can go on with it."""

VOTES = "votes"
"""In the output folder while it is worked on: <target>/<atlas>.nii.gz in training values."""

DISAGREEMENT = "disagreement"
"""In the output folder: <target>.nii.gz, the share of atlases that name another label than the one chosen."""

_CANDIDATES = 2  # times the atlases that vote, registered affinely on a coarse grid; the others are passed over before


class PropagationRequest(Record):
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
    *,
    atlases: int = ATLASES,
    method: str = "multi-stage",
    options: RegistrationOptions | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    resume: bool = False,
    plugin_files: Sequence[Path] = (),
) -> Propagation:
    """Writes OUT/<target> with label proposals, OUT/disagreement/<target>.nii.gz and OUT/<target>.json.

    The cases that resemble a target most are registered to it; each voxel gets the label that most of them name
    (Heckemann et al. 2006). An atlas whose file is the target itself does not vote. An atlas that cannot be registered
    is named in the target's JSON, and the others vote.

    Args:
        atlas_cases: folder of a data set with labels, in any accepted layout.
        targets: a folder, or image files, with the data set's channels.
        out: folder to write to.
        atlases: how many vote; all where there are fewer.
        method, options, seed, device: as of `registration.methods.register`.
        workers: processes; one a usable core by default.
        resume: go on in a folder where the same was begun; else it must hold no such work.
        plugin_files: Python files that register plug-ins, for other processes.

    Raises:
        DatasetError: no labelled case, or no target.
        ConfigurationError: fewer than one atlas asked for.
        WorkspaceError: `out` is in use and `resume` is off, or was begun with other choices.
    """
    if atlases < 1:
        raise ConfigurationError("is no number of atlases", where="atlases", got=atlases, expected="1, 2, 3, ...")
    data = discover(atlas_cases)
    if not data.training:
        raise DatasetError("no case has labels", where=atlas_cases, remedy="give a data set with labels")
    cases = find_cases(targets, len(data.channels))
    fit = SubjectRegistration(method, options or RegistrationOptions(), seed, find_device(device), tuple(plugin_files))
    request = PropagationRequest(
        dataset=str(data.folder), method=method, options=fit.options, atlases=atlases, seed=seed
    )
    begin(out / FILE, request, resume=resume)
    work = _Work(data, fit, out, atlases, processes_for(fit.device, workers))
    done = {case.id: Proposal.load(path) for case in cases if (path := out / f"{case.id}.json").exists()}
    if done:
        logger.info("%d of %d targets are done already", len(done), len(cases))
    left = [case for case in cases if case.id not in done]
    chosen = _choose(work, left)
    errors: dict[str, AutosegError] = {}
    _register(work, left, chosen)
    for case in left:
        try:
            done[case.id] = _fuse(work, case, chosen[case.id])
        except AutosegError as error:
            errors[case.id] = error
    shutil.rmtree(out / VOTES, ignore_errors=True)
    return Propagation({case.id: done[case.id] for case in cases if case.id in done}, errors)


@dataclass(frozen=True)
class _Work:
    """What all targets share."""

    data: Dataset
    fit: SubjectRegistration
    out: Path
    atlases: int
    workers: int

    def vote(self, target: str, atlas: str) -> Path:
        """The file of an atlas's labels on a target; its JSON beside it is written last."""
        return self.out / VOTES / target / f"{atlas}.nii.gz"


@dataclass(frozen=True)
class _VoteJob:
    """One atlas to be registered to one target, with everything a process needs."""

    target: Case
    atlas: Case
    similarity: float | None
    channels: int
    scheme: LabelScheme
    fit: SubjectRegistration
    path: Path


def _choose(work: _Work, targets: Sequence[Case]) -> dict[str, list[tuple[Case, float | None]]]:
    """Target -> the atlases that vote with their similarity, best first; all of them where there are few enough."""
    usable = {case.id: [one for one in work.data.training if not _same(one, case)] for case in targets}
    if all(len(found) <= work.atlases for found in usable.values()):
        return {target: [(one, None) for one in found] for target, found in usable.items()}
    read = partial(_coarse, channels=len(work.data.channels))
    small = dict(unordered(read, work.data.training, "reading atlases", workers=work.workers))
    rank = partial(_rank, atlases=small, channels=len(work.data.channels), count=work.atlases)
    pairs = [(case, tuple(one.id for one in usable[case.id])) for case in targets]
    by_id = {one.id: one for one in work.data.training}
    found: dict[str, list[tuple[Case, float | None]]] = {}
    for target, best in unordered(rank, pairs, "choosing atlases", workers=work.workers):
        found[target] = [(by_id[atlas], similarity) for atlas, similarity in best]
    return found


def _same(atlas: Case, target: Case) -> bool:
    return {path.resolve() for path in atlas.images} == {path.resolve() for path in target.images}


def _coarse(case: Case, channels: int) -> tuple[str, atlas_alignment.Pyramid | None]:
    """A case on a coarse grid; None if it cannot be read, which its registration will say."""
    try:
        image = read_case(case, channels)
    except AutosegError:
        return case.id, None
    made = atlas_alignment.pyramid(image)
    return case.id, atlas_alignment.Pyramid(made.coarse, made.coarse, made.geometry, made.shape)


def _rank(
    job: tuple[Case, tuple[str, ...]],
    atlases: dict[str, atlas_alignment.Pyramid | None],
    channels: int,
    count: int,
) -> tuple[str, list[tuple[str, float]]]:
    """The atlases most like a target: centred, the best of them registered affinely, the best of these."""
    case, names = job
    _, target = _coarse(case, channels)
    if target is None:
        return case.id, []
    sources = {name: found for name in names if (found := atlases[name]) is not None}
    dimension = target.geometry.dimension
    started = []
    for name, source in sources.items():
        if source.geometry.dimension == dimension:
            alignment = atlas_alignment.centre(target, source)
            started.append((atlas_alignment.similarity(target, source, alignment), name, alignment))
    aligned = []
    for _, name, alignment in sorted(started, key=lambda one: -one[0])[: _CANDIDATES * count]:
        better = atlas_alignment.affine(target, sources[name], alignment)
        aligned.append((name, atlas_alignment.similarity(target, sources[name], better)))
    return case.id, sorted(aligned, key=lambda one: -one[1])[:count]


def _register(work: _Work, targets: Sequence[Case], chosen: dict[str, list[tuple[Case, float | None]]]) -> None:
    """Registers every chosen atlas to its target, but for those that an interrupted call has done."""
    jobs = [
        _VoteJob(case, atlas, score, len(work.data.channels), work.data.labels, work.fit, work.vote(case.id, atlas.id))
        for case in targets
        for atlas, score in chosen[case.id]
        if not _report(work.vote(case.id, atlas.id)).exists()
    ]
    for _ in unordered(_cast, jobs, "registering atlases", workers=work.workers):
        pass


def _cast(job: _VoteJob) -> None:
    """Registers an atlas to a target and writes its labels there, and how that went."""
    try:
        target, image = read_case(job.target, job.channels), read_case(job.atlas, job.channels)
        assert job.atlas.label is not None
        labels = job.scheme.encode(read_labels(job.atlas.label).array)
        _, result = lay_on(target, image, job.fit)
        abstains = len(job.scheme.values)  # as voxels without annotation do
        moving = Image(labels, image.geometry)
        warped = warp_labels(moving, result.transform, target.geometry, target.shape, outside=abstains)
        write_labels(job.path, warped.array[0], target.geometry)
        stages = tuple(
            StageRecord(**{name: getattr(stage, name) for name in StageRecord.model_fields}) for stage in result.stages
        )
        vote = Vote(atlas=job.atlas.id, similarity=job.similarity, stages=stages, warnings=result.warnings)
    except AutosegError as error:
        vote = Vote(atlas=job.atlas.id, similarity=job.similarity, failure=str(error))
    vote.save(_report(job.path))


def _report(vote: Path) -> Path:
    return vote.with_name(vote.name.removesuffix(".nii.gz") + ".json")


def _fuse(work: _Work, case: Case, chosen: Sequence[tuple[Case, float | None]]) -> Proposal:
    """The majority of a target's votes, written with its disagreement; the JSON comes last."""
    target = read_case(case, len(work.data.channels))
    votes = [Vote.load(_report(work.vote(case.id, atlas.id))) for atlas, _ in chosen]
    cast = [vote for vote in votes if vote.failure is None]
    if not cast:
        reasons = "; ".join(f"{vote.atlas}: {vote.failure}" for vote in votes) or "no atlas of its dimension"
        raise RegistrationError("no atlas could be registered", where=case.id, got=reasons)
    scheme = work.data.labels
    arrays = [read_image(work.vote(case.id, vote.atlas)).array[0] for vote in cast]
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
