"""A published result run again: the data checked, what to train chosen, published beside reproduced.

Between `check_data` and `compare` lies a training, which the command asks of the pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from autoseg.errors import DatasetError, ErrorGroup
from autoseg.log import logger
from autoseg.metrics.table import METRICS
from autoseg.records import Record
from autoseg.studies.benchmark.sections import Publication, Result
from autoseg.studies.benchmark.specification import Specification
from autoseg.studies.benchmark.verdict import (
    BenchmarkVerdict,
    Interval,
    bootstrap_intervals,
    few_of,
    give_verdict,
    mean_of_labels,
)
from autoseg.studies.benchmark.verify import Difference, verify

if TYPE_CHECKING:
    from autoseg.studies.benchmark.reached import (
        Reached,  # draws learning curves, which a check of data need not wait for
    )

FILE = "reproduction.json"
"""Name of the record in a run folder."""

_OTHER_FOLDS = ("missing-case", "extra-case", "case-count", "incomplete")
"""Kinds of differences with which folds hold other cases than the published ones."""


class ReproductionRow(Record):
    """One line of the comparison.

    Attributes:
        name: of the label or region; of the fold, in the table of folds.
        cases: how many were validated.
        published, reproduced: means; None where there is no value.
        interval: of the reproduced mean; None for folds, and for fewer than two cases.
    """

    name: str
    cases: int
    published: float | None
    reproduced: float | None
    interval: Interval | None = None


class PublishedComparison(Record):
    """Published beside reproduced in one metric.

    Attributes:
        metric: as in `metrics.table.METRICS`.
        published_on: folds that the published values are of: "all folds", "fold 0", "folds 0, 1".
        labels: a row per label or region.
        mean: mean of the labels' means.
        folds: the same mean fold by fold, for the folds that were trained.
    """

    metric: str
    published_on: str
    labels: tuple[ReproductionRow, ...]
    mean: ReproductionRow
    folds: tuple[ReproductionRow, ...]


class Reproduction(Record):
    """What became of rerunning a published benchmark; reproduction.json in the run folder.

    Attributes:
        specification, title: of the challenge.
        data: the folder that was used.
        differences: what differs between it and the published data, in sentences; they were accepted.
        verified: "content" if the labels were compared, "names" if the headers alone.
        configuration, planner: what was trained.
        folds, of_folds, steps, cases: how much of it: names of the validated folds, how many there are, optimiser
            steps of the shortest training, validated cases.
        published: the result that it is compared with; None if there is none.
        source: where that was read.
        comparisons: a metric each, the one that is judged first.
        verdict: on the mean of the first metric.
    """

    format: Literal[1] = 1
    specification: str
    title: str
    data: str
    differences: tuple[str, ...]
    verified: Literal["content", "names"]
    configuration: str
    planner: str
    folds: tuple[str, ...]
    of_folds: int
    steps: int | None
    cases: int
    published: Result | None
    source: Publication | None
    comparisons: tuple[PublishedComparison, ...]
    verdict: BenchmarkVerdict


@dataclass(frozen=True)
class PublishedTarget:
    """What to train, and what to compare it with.

    Attributes:
        configurations: to train, joined by commas.
        compared: the one of them whose validation is compared.
        published: the result; None if the specification has none of cross-validation in a metric of this project.
    """

    configurations: str
    compared: str
    published: Result | None


def check_data(
    specification: Specification, data: Path, *, voxels: bool = True, accept: bool = False, workers: int = 1
) -> tuple[Difference, ...]:
    """What differs between a folder and the specification, which is refused unless it is accepted.

    Args:
        data: the unpacked folder.
        voxels: whether the content of labels is compared, and not only names and headers.
        accept: goes on with differences, each of which is a warning then.
        workers: processes.

    Raises:
        ErrorGroup: something differs, all of it in the message.
        DatasetError: no such folder, or no case of the challenge in it.
    """
    differences = verify(specification, data, voxels=voxels, workers=workers)
    if differences and not accept:
        raise ErrorGroup(
            f"{data} is not what was published as {specification.name}",
            [DatasetError(difference.text) for difference in differences],
            remedy="mend the folder; or go on with --accept-differences, and the verdict will say so",
        )
    for difference in differences:
        logger.warning("%s", difference.text)
    return differences


def choose_target(specification: Specification, configurations: str | None = None) -> PublishedTarget:
    """The first published result of the named configurations, else the first of all; and what to train for it.

    Args:
        configurations: names joined by commas, or "auto"; None takes the result's own.
    """
    settings = {"cross-validation"} | ({"validation"} if specification.splits.rule == "fixed" else set())
    results = [result for result in specification.results if result.setting in settings and result.metric in METRICS]
    usual = "3d_fullres" if specification.dimension == 3 else "2d"
    named = [] if configurations in (None, "auto") else [name.strip() for name in str(configurations).split(",")]
    fitting = [result for result in results if (result.configuration in named if named else result.configuration)]
    published = next(iter([*fitting, *results]), None)
    own = usual if published is None else published.configuration or usual
    compared = own if not named or own in named else named[0]
    return PublishedTarget(configurations=configurations or compared, compared=compared, published=published)


def compare(
    specification: Specification,
    data: Path,
    published: Result | None,
    reached: Reached,
    *,
    differences: Sequence[Difference] = (),
    voxels: bool = True,
) -> Reproduction:
    """Published beside reproduced, in the metrics of the challenge, and the verdict.

    Where not all folds are trained and the published result is told fold by fold, the published values are those of
    the trained folds, provided that these hold the same cases.

    Args:
        data: the folder that was used.
        published: of `choose_target`.
        reached: what was trained.
        differences: of `check_data`.
        voxels: whether the labels' content was compared.
    """
    same_folds = not any(difference.kind in _OTHER_FOLDS for difference in differences)
    names = _metrics(specification, published)
    results = [published, *(_same_setting(specification, published, name) for name in names[1:])]
    comparisons = tuple(
        _comparison(name, specification.labels.scored, result, reached, same_folds)
        for name, result in zip(names, results, strict=True)
    )
    first = comparisons[0]
    verdict = give_verdict(
        METRICS[first.metric],
        first.mean.published,
        first.mean.reproduced,
        first.mean.interval,
        where="" if first.published_on == "all folds" else f"on {first.published_on}",
        reasons=tuple(_reasons(published, reached)),
        remarks=tuple(_remarks(published, differences, voxels)),
    )
    return Reproduction(
        specification=specification.name,
        title=specification.title,
        data=str(data),
        differences=tuple(difference.text for difference in differences),
        verified="content" if voxels else "names",
        configuration=reached.configuration,
        planner=reached.planner,
        folds=reached.folds,
        of_folds=reached.of_folds,
        steps=reached.steps,
        cases=len(reached.scores),
        published=published,
        source=None if published is None else specification.sources[published.source],
        comparisons=comparisons,
        verdict=verdict,
    )


def tolerances(specification: Specification) -> dict[str, float]:
    """Tolerances of the surface distance in mm that the challenge scores with; empty if it does not use it."""
    evaluation = specification.evaluation
    return {} if evaluation is None or "nsd" not in evaluation.metrics else dict(evaluation.tolerances_mm)


def _metrics(specification: Specification, published: Result | None) -> tuple[str, ...]:
    """Metrics to compare: the published result's, then the challenge's as far as they are computed here.

    A surface distance whose tolerance is not known is left out: with another tolerance it is another number.
    """
    named = [] if specification.evaluation is None else list(specification.evaluation.metrics)
    chosen = [name for name in named if name in METRICS and (name != "nsd" or tolerances(specification))]
    first = [] if published is None else [published.metric]
    return tuple(dict.fromkeys([*first, *chosen])) or ("dice",)


def _same_setting(specification: Specification, published: Result | None, metric: str) -> Result | None:
    """What the same method reached in another metric, if that was published too."""
    if published is None:
        return None
    setting = (published.method, published.configuration, published.setting, metric)
    matching = (
        result
        for result in specification.results
        if (result.method, result.configuration, result.setting, result.metric) == setting
    )
    return next(matching, None)


def _comparison(
    metric: str, scored: Sequence[str], published: Result | None, reached: Reached, same_folds: bool
) -> PublishedComparison:
    """The rows of one metric. The mean is over the labels that the published mean is of: all, if it does not say."""
    per_label, mean, on = _published_values(published, reached, same_folds)
    averaged = [name for name in scored if name in per_label] if mean is None and per_label else list(scored)
    if mean is None and per_label:
        mean = float(np.mean([per_label[name] for name in averaged]))
    values = reached.values(metric, scored)
    intervals, _ = bootstrap_intervals(values)
    columns = [scored.index(name) for name in averaged]
    labels = tuple(
        ReproductionRow(
            name=name,
            cases=int((~np.isnan(values[:, i])).sum()),
            published=per_label.get(name),
            reproduced=mean_of_labels(values[:, [i]]),
            interval=intervals[i],
        )
        for i, name in enumerate(scored)
    )
    part = values[:, columns]
    row = ReproductionRow(
        name="mean", cases=len(part), published=mean, reproduced=mean_of_labels(part),
        interval=bootstrap_intervals(part)[1],
    )  # fmt: skip
    told = {} if published is None or not same_folds else {str(one.fold): one.mean for one in published.folds}
    folds = tuple(
        ReproductionRow(
            name=fold, cases=len(part), published=told.get(fold), reproduced=mean_of_labels(part[:, columns])
        )
        for fold in reached.folds
        for part in [reached.values(metric, scored, fold)]
    )
    return PublishedComparison(metric=metric, published_on=on, labels=labels, mean=row, folds=folds)


def _published_values(
    published: Result | None, reached: Reached, same_folds: bool
) -> tuple[dict[str, float], float | None, str]:
    """(label -> value, mean, which folds they are of): of the trained folds where possible, else of all."""
    if published is None:
        return {}, None, "all folds"
    published_folds = [fold for fold in published.folds if str(fold.fold) in reached.folds]
    partial = len(reached.folds) < reached.of_folds
    if not (partial and same_folds and len(published_folds) == len(reached.folds)):
        return published.per_label, published.mean, "all folds"
    common = set.intersection(*(set(fold.per_label) for fold in published_folds))
    per_label = {name: float(np.mean([fold.per_label[name] for fold in published_folds])) for name in common}
    means = [fold.mean for fold in published_folds if fold.mean is not None]
    mean = float(np.mean(means)) if len(means) == len(published_folds) else None
    return per_label, mean, ("fold " if len(published_folds) == 1 else "folds ") + ", ".join(reached.folds)


def _reasons(published: Result | None, reached: Reached) -> Iterator[str]:
    """What keeps the two results from being compared."""
    if published is None:
        yield "no result of cross-validation was published"
        return
    if published.configuration not in (None, reached.configuration):
        yield f"{reached.configuration} was trained and {published.configuration} was published"
    if published.steps is not None and reached.steps is not None and reached.steps < published.steps:
        yield f"the training had {reached.steps} steps of the published {published.steps}"
    if len(reached.folds) < reached.of_folds:
        yield few_of(len(reached.folds), reached.of_folds)


def _remarks(published: Result | None, differences: Sequence[Difference], voxels: bool) -> Iterator[str]:
    if published is not None and published.steps is None:
        yield "How long the published training was is not known."
    if not voxels:
        yield "The content of the labels was not verified."
    if differences:
        count = "1 difference was" if len(differences) == 1 else f"{len(differences)} differences were"
        yield f"The data are not those of the publication: {count} accepted."
