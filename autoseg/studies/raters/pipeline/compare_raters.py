"""Several raters' label files: how far they agree, and one label file per case of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.files import read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup, ImageError
from autoseg.evaluation.matching import check_geometry, files_by_name
from autoseg.evaluation.scheme import read_scheme, scheme_of_values
from autoseg.log import counted, logger
from autoseg.processes import unordered, usable_cores
from autoseg.records import read_mapping, unknown_name
from autoseg.studies.raters.agreement import Agreement, CaseAgreement, agree, summarise_raters
from autoseg.studies.raters.consensus import CONSENSUS_KINDS, ConsensusKind, majority, shares, staple

FILE = "agreement.json"
"""In the output folder: an `evaluation.raters.Agreement`."""

CONSENSUS = "consensus"
"""In the output folder: a label file per case."""

_DATASET = "dataset.json"
_PATIENCE = 0.5  # seconds of work in this process before others are started
_NAMED = 10  # missing cases in a message


def compare_raters(
    folders: Sequence[Path],
    out: Path,
    *,
    spec: Path | None = None,
    consensus: str | None = None,
    workers: int | None = None,
) -> Agreement:
    """Compares raters case by case and writes OUT/agreement.json and, if asked for, OUT/consensus/<case>.nii.gz.

    A case counts with the raters who labelled it. Cases of a single rater, and cases whose files do not fit together,
    stand under "errors"; the others go on.

    Args:
        folders: one per rater, with label files named by case. Raters are named by their folders.
        out: folder to write to.
        spec: dataset.json that says what the values mean; else one in any of the folders; else every non-zero value
            is a label, named by its value.
        consensus: "majority", "staple" (label files) or "soft" (float32 files, a channel per label or region with the
            share of raters).
        workers: processes; one for each available core by default.

    Raises:
        ConfigurationError: fewer than two folders, one given twice, no case of two raters, an unknown consensus, soft
            labels without a `spec`, or an output folder with another kind of consensus.
        ErrorGroup: not a single case can be compared.
    """
    raters = name_raters(folders)
    kind = _kind(consensus)
    scheme = _scheme(raters, spec)
    if kind == "soft" and scheme is None:
        raise ConfigurationError(
            "soft labels need names, so that all cases have the same channels",
            remedy="give a dataset.json with --spec",
        )
    _refuse_another_kind(out, kind)
    files = {name: files_by_name(folder, f"label files of {name}") for name, folder in raters.items()}
    jobs, errors = _jobs(files, scheme, out, kind)
    missing = {name: sorted({job.case for job in jobs} - own.keys()) for name, own in files.items()}
    _name_missing(missing)
    agreements: dict[str, CaseAgreement] = {}
    count = usable_cores() if workers is None else workers
    for case, result in unordered(_compare, jobs, "raters", workers=count, patience=_PATIENCE):
        if isinstance(result, AutosegError):
            errors[case] = result
        else:
            agreements[case] = result
    if not agreements:
        raise ErrorGroup("no case can be compared", [errors[case] for case in sorted(errors)])
    agreement = summarise_raters(
        agreements,
        {name: str(folder) for name, folder in raters.items()},
        missing=missing,
        errors={case: str(errors[case]) for case in sorted(errors)},
        consensus=kind,
        channels=tuple(scheme.foreground) if kind == "soft" and scheme is not None else (),
    )
    agreement.save(out / FILE)
    return agreement


def name_raters(folders: Sequence[Path]) -> dict[str, Path]:
    """Rater -> folder: the folder's name, or as many of the last parts of its path as tell the raters apart.

    Raises:
        ConfigurationError: fewer than two folders, or the same twice.
    """
    paths = [Path(folder).resolve() for folder in folders]
    if len(paths) < 2:
        raise ConfigurationError(
            "one rater cannot agree with anybody", got=counted(len(paths), "folder"), expected="at least two folders"
        )
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigurationError("a rater's folder is given twice", where=path, remedy="give each rater once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return {"/".join(path.parts[-depth:]): Path(folder) for path, folder in zip(paths, folders, strict=True)}


@dataclass(frozen=True)
class _RaterJob:
    """One case, with everything a process needs."""

    case: str
    files: Mapping[str, Path]
    scheme: LabelScheme | None
    kind: ConsensusKind | None
    target: Path


def _jobs(
    files: Mapping[str, Mapping[str, Path]], scheme: LabelScheme | None, out: Path, kind: ConsensusKind | None
) -> tuple[list[_RaterJob], dict[str, AutosegError]]:
    """The cases of several raters, and an error for each of the others."""
    jobs: list[_RaterJob] = []
    errors: dict[str, AutosegError] = {}
    for case in sorted({case for own in files.values() for case in own}):
        of_case = {name: own[case] for name, own in files.items() if case in own}
        if len(of_case) > 1:
            jobs.append(_RaterJob(case, of_case, scheme, kind, out / CONSENSUS / f"{case}.nii.gz"))
        else:
            errors[case] = ConfigurationError(
                "only one rater labelled the case",
                where=case,
                got=f"a file of {next(iter(of_case))}",
                expected="files of at least two raters with equal names",
                remedy="add another rater's file or leave the case out",
            )
    if not jobs:
        examples = {name: next(iter(sorted(own)), "no label file") for name, own in files.items()}
        raise ConfigurationError(
            "no case was labelled by two raters",
            got="; ".join(f"{name}: {example}, ..." for name, example in examples.items()),
            expected="equal file names without the ending",
            remedy="check the folders or rename the files",
        )
    return jobs, errors


def _compare(job: _RaterJob) -> tuple[str, CaseAgreement | AutosegError]:
    try:
        images = {name: read_labels(path) for name, path in job.files.items()}
        first, *rest = images
        for name in rest:
            check_geometry(images[name], images[first], job.case, ours=f"{name}'s", theirs=f"{first}'s")
        scheme = job.scheme or scheme_of_values(*(image.array for image in images.values()))
        votes = {name: _encode(image, scheme, job.files[name]) for name, image in images.items()}
        geometry = images[first].geometry
        agreement = agree(
            votes,
            scheme.training_foreground,
            geometry.spacing,
            dimension=geometry.dimension,
            ignore=scheme.training_ignore,
        )
        if job.kind is not None:
            _write(job.target, list(votes.values()), scheme, geometry, job.kind)
    except AutosegError as error:
        return job.case, error
    return job.case, agreement


def _write(
    path: Path, votes: Sequence[np.ndarray], scheme: LabelScheme, geometry: Geometry, kind: ConsensusKind
) -> None:
    """Writes the consensus of a case; voxels that most raters left out have the ignore value."""
    if kind == "soft":
        write_image(path, Image(shares(votes, scheme.training_foreground), geometry))
        return
    values = np.array([0, *scheme.values[1:], *([] if scheme.ignore is None else [scheme.ignore])])
    fused = staple(votes, len(values)) if kind == "staple" else majority(votes, len(values))[0]
    write_labels(path, values[fused], geometry)


def _encode(image: Image, scheme: LabelScheme, path: Path) -> np.ndarray:
    try:
        return scheme.encode(image.array[0])
    except ConfigurationError as error:
        raise ImageError(error.subject, where=path, got=error.got, expected=error.expected) from None


def _kind(name: str | None) -> ConsensusKind | None:
    for kind in CONSENSUS_KINDS:
        if name == kind:
            return kind
    if name is not None:
        raise unknown_name("consensus", name, CONSENSUS_KINDS)
    return None


def _scheme(raters: Mapping[str, Path], spec: Path | None) -> LabelScheme | None:
    """The labels that `spec` names, or the first dataset.json beside the raters' files."""
    if spec is None:
        spec = next((path for folder in raters.values() if (path := folder / _DATASET).is_file()), None)
        if spec is not None:
            logger.info("labels as in %s", spec)
    return None if spec is None else read_scheme(spec)


def _refuse_another_kind(out: Path, kind: ConsensusKind | None) -> None:
    """Files of two kinds in one folder could not be told apart."""
    if kind is None or not (out / CONSENSUS).exists() or not (out / FILE).exists():
        return
    earlier = read_mapping(out / FILE).get("consensus")
    if earlier not in (None, kind):
        raise ConfigurationError(
            "the folder holds a consensus of another kind",
            where=out / CONSENSUS,
            got=earlier,
            expected=kind,
            remedy="remove the folder or give another --out",
        )


def _name_missing(missing: Mapping[str, Sequence[str]]) -> None:
    for name, cases in missing.items():
        if cases:
            shown = ", ".join(cases[:_NAMED]) + (", ..." if len(cases) > _NAMED else "")
            logger.warning("%s lacks %d of the cases: %s", name, len(cases), shown)
