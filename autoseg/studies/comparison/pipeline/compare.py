"""Methods compared on a data set: the same folds, the same cases and the same metrics for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg import provenance
from autoseg.data.annotation_table import annotated_of_cases
from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover
from autoseg.data.splits import Split, SplitRule, load_splits, make_splits, save_splits
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup, WorkspaceError
from autoseg.evaluation.advice import advise
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.evaluation.scores import Scores
from autoseg.log import counted, logger
from autoseg.processes import usable_cores
from autoseg.studies.comparison.pipeline.methods import OWN, ComparedMethod, ComparisonRequest, choose_methods
from autoseg.studies.comparison.pipeline.process import MethodJob, run_fold, written_options
from autoseg.studies.comparison.report.page import write_comparison_report
from autoseg.studies.comparison.statistics import comparison as statistics
from autoseg.studies.comparison.statistics.findings import exclusions, findings
from autoseg.studies.comparison.statistics.method_comparison import FILE, MethodComparison, main_label, score_columns
from autoseg.studies.comparison.statistics.method_run import MethodFold, failures_of, places_of, summarise_method
from autoseg.studies.comparison.statistics.score_table import score_table
from autoseg.workspace import Run

METRICS = ("dice", "nsd", "hd95", "assd")
"""What is compared; all other metrics are in each method's summary.json."""


def compare(dataset: Path, out: Path, request: ComparisonRequest) -> MethodComparison:
    """Fits each method on the training cases of each fold, predicts the validation cases, and compares the scores.

    Writes into `out`: `<method>/` with the predictions, `fold_<k>.json` (times, memory, failures) and `summary.json`
    (scores in the form of `autoseg evaluate`), then comparison.json and report.html. A method that fails on a case, or
    altogether, goes on being compared: with the worst values.

    Args:
        dataset: folder in one of the accepted layouts.
        out: folder to make, or to go on with (`resume`).
        request: which methods on which folds, and how.

    Raises:
        ConfigurationError: an unknown method or fold, or an option that is missing.
        DatasetError: the folder is no data set, or the folds do not fit it.
        WorkspaceError: `out` is in use and `resume` is off, or it holds results of other choices.
        ErrorGroup: no method has a single prediction.
    """
    methods = choose_methods(request.methods)
    data = discover(dataset)
    divided = _splits(data, request.splits, request.methods.run)
    names = _folds(request.folds, len(divided))
    _open(out, data, divided, request.resume)
    count = usable_cores() if request.workers is None else max(1, request.workers)
    work = _Work(out, data, divided, names, request.seed, count, request.plugin_files)
    if annotated_of_cases(data.training):
        logger.warning(
            "not every class was looked for in every case: methods are scored on what was, but all except %s learn "
            "what was not looked for as background", OWN,
        )  # fmt: skip
    results, ran = {}, {}
    for number, method in enumerate(methods, start=1):
        logger.info("method %d of %d: %s", number, len(methods), method.name)
        ran[method.name] = tuple(_fold(work, method, name, request.resume) for name in names)
        results[method.name] = _scores(work, method.name, ran[method.name])
    comparison = _conclude(work, ran, results, request.command)
    comparison.save(out / FILE)
    write_comparison_report(comparison, out / "report.html")
    return comparison


@dataclass(frozen=True)
class _Work:
    """What all methods share."""

    out: Path
    dataset: Dataset
    splits: tuple[Split, ...]
    folds: tuple[str, ...]
    seed: int
    workers: int
    plugin_files: tuple[Path, ...]

    @property
    def validated(self) -> tuple[Case, ...]:
        """The validation cases of all compared folds."""
        identifiers = {case for name in self.folds for case in self.splits[int(name)].validation}
        return tuple(case for case in self.dataset.training if case.id in identifiers)


def _splits(data: Dataset, file: Path | None, run: Path | None) -> tuple[Split, ...]:
    """The folds of a file, or those that the given run was trained on, or nnU-Net's."""
    if file is None and run is not None:
        other_run = Run(run)
        return load_splits(other_run.require(other_run.splits, "autoseg plan-and-train"), data.identifiers)
    return make_splits(data.identifiers, SplitRule(file=file))


def _folds(chosen: str, count: int) -> tuple[str, ...]:
    names = tuple(str(number) for number in range(count))
    asked = names if chosen == "all" else tuple(dict.fromkeys(part.strip() for part in chosen.split(",")))
    for name in asked:
        if name not in names:
            raise ConfigurationError(
                f"there is no fold {name!r} to compare on", expected="all, or some of " + ",".join(names)
            )
    return asked


def _open(out: Path, data: Dataset, splits: tuple[Split, ...], resume: bool) -> None:
    """Makes the folder, or refuses one that holds another comparison."""
    folder = Run(out)  # the same files of data and folds as in a run
    if folder.dataset.exists():
        if not resume:
            raise WorkspaceError(
                "the folder is in use", where=out, remedy="add --resume to go on with it, or give another --out"
            )
        begun = Dataset.load(folder.dataset)
        if begun.folder != data.folder or load_splits(folder.splits, data.identifiers) != splits:
            raise WorkspaceError(
                "the comparison was begun on other data or folds",
                where=out,
                got=data.folder,
                expected=f"{begun.folder}, with the folds of {folder.splits}",
                remedy="give another --out",
            )
        return
    data.save(folder.dataset)
    save_splits(folder.splits, splits)


def _fold(work: _Work, method: ComparedMethod, fold: str, resume: bool) -> MethodFold:
    """What the method does on the fold; one that could be fit before is kept."""
    folder = work.out / method.name
    path = folder / f"fold_{fold}.json"
    split = work.splits[int(fold)]
    chosen = set(chosen_cases(split.train, method.training_cases, work.seed))
    if resume and path.exists():
        kept = MethodFold.load(path)
        _check_kept(kept, method, chosen, work.seed, folder)
        if kept.failure is None:
            logger.info("%s, fold %s: is there already", method.name, fold)
            return kept
    by_id = {case.id: case for case in work.dataset.training}
    job = MethodJob(
        method=method,
        fold=fold,
        dataset=work.dataset,
        training=tuple(by_id[case] for case in split.train if case in chosen),
        of_training=len(split.train),
        validation=tuple(by_id[case] for case in split.validation),
        seed=work.seed,
        workers=work.workers,
        folder=folder,
        options={**method.options, "fold": fold, "splits": Run(work.out).splits},
        plugin_files=work.plugin_files,
    )
    fold_run = run_fold(job)
    fold_run.save(path)
    (folder / "summary.json").unlink(missing_ok=True)  # scores of before
    return fold_run


def chosen_cases(cases: Sequence[str], most: int | None, seed: int) -> tuple[str, ...]:
    """At most so many of the cases, drawn at random and in their order; more of them hold all that fewer hold."""
    if most is None or most >= len(cases):
        return tuple(cases)
    drawn = np.random.default_rng((seed, len(cases))).permutation(len(cases))[:most]
    return tuple(cases[index] for index in sorted(drawn.tolist()))


def _check_kept(kept: MethodFold, method: ComparedMethod, training: set[str], seed: int, folder: Path) -> None:
    """Refuses a result that was made with other choices than are wanted now."""
    expected = (method.plugin, seed, written_options(method.options), training)
    if (kept.plugin, kept.seed, kept.options, set(kept.training)) != expected:
        raise WorkspaceError(
            f"the result of {method.name} was made with other choices",
            where=folder,
            got=_choices(kept.plugin, kept.seed, kept.training, kept.options),
            expected=_choices(method.plugin, seed, training, expected[2]),
            remedy="remove its folder to run the method anew, or give another --out",
        )


def _choices(plugin: str, seed: int, training: Collection[str], options: object) -> str:
    return f"{plugin}, seed {seed}, {counted(len(training), 'training case')}, options {options}"


def _scores(work: _Work, name: str, folds: Sequence[MethodFold]) -> Scores:
    """The method's summary.json, made if it is not there; failed cases stand under "errors"."""
    folder = work.out / name
    path, failed = folder / "summary.json", failures_of(folds)
    ids = {case.id for case in work.validated}
    if path.exists():
        kept = Scores.load(path)
        if {*kept.cases, *kept.errors} == ids:
            return kept
    pairs = {
        case.id: (folder / f"{case.id}{work.dataset.label_ending}", case.label)
        for case in work.validated
        if case.id not in failed and case.label is not None
    }
    try:
        annotated = annotated_of_cases(work.dataset.training)
        scores = evaluate_files(
            pairs, work.dataset.labels, workers=work.workers, annotated=annotated, reading=work.dataset.reading
        )
    except ErrorGroup as group:
        unscored = dict(zip(sorted(pairs), group.errors, strict=True))
        scores = Scores(cases={}, errors={case: str(error) for case, error in unscored.items()})
    scores = scores.with_(errors=dict(sorted({**scores.errors, **failed}.items())))
    scores.save(path)
    return scores


def _conclude(
    work: _Work,
    ran: Mapping[str, Sequence[MethodFold]],
    results: Mapping[str, Scores],
    command: Sequence[str],
) -> MethodComparison:
    """Statistics, sentences and advice about the scores."""
    if not any(result.cases for result in results.values()):
        reasons = {name: next(iter(result.errors.values()), "no case") for name, result in results.items()}
        raise ErrorGroup(
            "no method has a prediction", [AutosegError(reason, where=name) for name, reason in reasons.items()]
        )
    diagonals, spacings = places_of(fold for folds in ran.values() for fold in folds)
    ids = [case.id for case in work.validated]
    table = score_table(results, cases=ids, metrics=METRICS, diagonals=diagonals)
    reference = OWN if OWN in results and len(results) > 1 else None
    logger.info("statistics of %s on %s", counted(len(results), "method"), counted(len(ids), "case"))
    comparison = statistics.compare(table, reference=reference, seed=work.seed)
    main = main_label(table)
    rank = next(ranking for ranking in comparison.rankings if (ranking.metric, ranking.label) == ("dice", main)).place
    advised = min((name for name in results if results[name].cases), key=lambda name: rank.get(name, 1))
    cases = results[advised].cases
    return MethodComparison(
        dataset=work.dataset.name,
        folder=str(work.dataset.folder),
        command=tuple(command),
        folds=work.folds,
        of_folds=len(work.splits),
        seed=work.seed,
        methods=tuple(summarise_method(folds) for folds in ran.values()),
        main=main,
        comparison=comparison,
        scores=score_columns(table),
        findings=findings(comparison, "dice", label=main),
        details=tuple(
            text for label in table.labels if label != main for text in findings(comparison, "dice", label=label)
        ),
        exclusions=exclusions(comparison),
        advised=advised,
        advice=advise(cases, spacings=spacings if all(case in spacings for case in cases) else None),
        machine=provenance.machine(),
    )
