"""The choice of a run's model: what is compared, how ties go, what is written."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from validated_runs import PLAIN, logits_of, make_run, validate

from autoseg.data.dataset import Dataset
from autoseg.errors import WorkspaceError
from autoseg.evaluation.candidate import Candidate, best_of, comparable, count_networks
from autoseg.evaluation.run import summarise_run
from autoseg.evaluation.summary import Summary
from autoseg.inference.selection import chosen_configurations, chosen_postprocessing
from autoseg.plan.record import Plan
from autoseg.workspace import Fold, Run

CASES = ("case0", "case1", "case2", "case3")


def _summarise(run: Run, **options: object) -> Summary:
    return summarise_run(run, Dataset.load(run.dataset), Plan.load(run.plan), workers=1, **options)  # type: ignore[arg-type]


def _validated(folder: Path, *, keep: bool = True) -> Run:
    run = make_run(folder)
    for seed, name in enumerate(("2d", "3d")):
        for fold, cases in (("0", CASES[:2]), ("1", CASES[2:])):
            validate(run, name, fold, {case: logits_of(PLAIN, 10 * seed + int(case[-1])) for case in cases}, keep=keep)
    return run


def _candidate(
    names: tuple[str, ...], dice: float | None, networks: int = 1, cases: tuple[str, ...] = CASES
) -> Candidate:
    scores = {case: {"organ": {"dice": dice}} for case in cases}
    return Candidate(names, networks, scores, dict.fromkeys(cases, "0"), {"0": Fold(Path("fold_0"))}, ".nii.gz")


def _plan(folder: Path) -> Plan:
    return Plan.load(make_run(folder, names=("2d", "3d", "low")).plan)


def test_the_highest_dice_wins_and_ties_go_to_the_simpler(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    first, second = _candidate(("2d",), 0.9, 5), _candidate(("3d",), 0.91, 5)
    both = _candidate(("2d", "3d"), 0.92, 10)
    assert best_of([first, second, both], plan) is both
    assert best_of([first, second], plan) is second
    equal = [_candidate(("2d", "3d"), 0.91004, 10), _candidate(("low",), 0.91, 5), _candidate(("3d",), 0.90996, 5)]
    assert best_of(equal, plan).configurations == ("3d",)  # all are 0.9100: fewer networks, then earlier in the plan
    assert best_of([_candidate(("3d",), 0.91, 5), _candidate(("low",), 0.91, 4)], plan).configurations == ("low",)
    assert best_of([_candidate(("2d",), None, 1), _candidate(("3d",), 0.0, 5)], plan).configurations == ("3d",)


def test_only_candidates_of_the_same_cases_are_compared() -> None:
    more, fewer = _candidate(("2d",), 0.5), _candidate(("3d",), 0.9, cases=CASES[:2])
    assert comparable([fewer, more]) == ([more], [fewer])
    other, same = _candidate(("low",), 0.6, cases=CASES[2:]), _candidate(("x",), 0.6, cases=CASES[2:])
    assert comparable([fewer, other, same]) == ([other, same], [fewer])


def test_the_networks_of_a_cascades_first_stage_count_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, names=("low", "cascade", "3d"))
    plan = Plan.load(run.plan)
    plan = plan.with_(
        configurations={
            **plan.configurations,
            "cascade": plan.configurations["cascade"].with_(previous_stage="low"),
        }
    )
    for name in plan.configurations:
        for fold in ("0", "1", "all"):
            path = run.fold(name, fold).validation_summary
            path.parent.mkdir(parents=True)
            path.write_text("{}", encoding="utf-8")
    assert count_networks(run, plan, ("3d",)) == 2
    assert count_networks(run, plan, ("cascade",)) == 4
    assert count_networks(run, plan, ("low", "cascade")) == 4
    assert count_networks(run, plan, ("cascade", "3d")) == 6


def test_configurations_ensemble_and_choice_are_written(tmp_path: Path) -> None:
    run = _validated(tmp_path)
    summary = _summarise(run)
    assert json.loads(run.summary.read_text(encoding="utf-8")).keys() == {
        "configurations",
        "ensembles",
        "best",
        "uncertainty",
    }
    assert list(summary.configurations) == ["2d", "3d"]
    pair = summary.ensembles["2d+3d"]
    assert pair.configurations == ("2d", "3d")
    assert pair.cases == 4
    dice = {name: one.foreground_mean["dice"] for name, one in summary.configurations.items()}
    dice["2d+3d"] = pair.foreground_mean["dice"]
    best = summary.best
    assert best.foreground_mean_dice == max(dice.values())
    assert "+".join(best.configurations) == max(dice, key=lambda name: dice[name])
    assert best.predict == f"autoseg predict {run.root} IMAGES --out DIR"
    assert best.folds == ("0", "1")
    content = json.loads(run.postprocessing.read_text(encoding="utf-8"))
    assert content["configurations"] == list(best.configurations)
    assert content["steps"] == list(best.postprocessing)
    assert content["cases"] == 4


def test_the_choice_is_what_is_predicted_with(tmp_path: Path) -> None:
    run = _validated(tmp_path)
    plan = Plan.load(run.plan)
    best = _summarise(run).best.configurations
    assert chosen_configurations(run, plan) == best
    assert chosen_postprocessing(run, best[::-1]) is not None
    others = [names for names in (("2d",), ("3d",), ("2d", "3d")) if names != best]
    assert all(chosen_postprocessing(run, names) is None for names in others)


def test_an_older_file_of_post_processing_names_one_configuration(tmp_path: Path) -> None:
    run = _validated(tmp_path)
    _summarise(run)
    content = json.loads(run.postprocessing.read_text(encoding="utf-8"))
    del content["configurations"]
    run.postprocessing.write_text(json.dumps({"configuration": "3d", **content}), encoding="utf-8")
    decision = chosen_postprocessing(run, ("3d",))
    assert decision is not None
    assert decision.cases == 4
    assert chosen_postprocessing(run, ("2d",)) is None
    assert chosen_postprocessing(run, ("2d", "3d")) is None


def test_without_probabilities_there_is_no_ensemble_unless_they_are_predicted_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = _validated(tmp_path, keep=False)
    with caplog.at_level(logging.WARNING, "autoseg"):
        summary = _summarise(run)
    assert summary.ensembles == {}
    assert f"autoseg choose {run.root}" in caplog.text
    asked = []

    def again(name: str, fold: str) -> None:
        asked.append((name, fold))
        cases = CASES[:2] if fold == "0" else CASES[2:]
        validate(run, name, fold, {case: logits_of(PLAIN, int(case[-1])) for case in cases})

    for name in ("2d", "3d"):
        for fold in ("0", "1"):
            run.fold(name, fold).final.write_bytes(b"weights")
    summary = _summarise(run, predict_again=again)
    assert asked == [("2d", "0"), ("2d", "1"), ("3d", "0"), ("3d", "1")]
    assert list(summary.ensembles) == ["2d+3d"]
    assert summary.best.configurations == ("2d",)  # all three are equal now


def test_what_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(tmp_path)
    for fold, cases in (("0", CASES[:2]), ("1", CASES[2:])):
        validate(run, "3d", fold, {case: logits_of(PLAIN, 0) for case in cases})
    validate(run, "2d", "0", {case: logits_of(PLAIN, 1) for case in CASES[:2]})
    with caplog.at_level(logging.INFO, "autoseg"):
        summary = _summarise(run)
    assert "2d is not compared: it is validated on 2 cases, folds 0" in caplog.text
    assert summary.best.configurations == ("3d",)
    assert set(summary.configurations) == {"2d", "3d"}
    assert summary.ensembles == {}


def test_the_choice_is_noted_for_the_log_and_left_to_the_tables_on_the_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "autoseg"):
        choice = _summarise(_validated(tmp_path)).best
    noted = [record for record in caplog.records if record.message.startswith(("best: ", "to use it: "))]
    best = "+".join(choice.configurations)
    assert [record.message.partition(",")[0] for record in noted] == [f"best: {best}", f"to use it: {choice.predict}"]
    assert {record.levelno for record in noted} == {logging.DEBUG}


def test_a_model_of_all_data_never_counts_as_validated(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    validate(run, "2d", "all", {case: logits_of(PLAIN, 0) for case in CASES})
    with pytest.raises(WorkspaceError, match="no fold is validated"):
        _summarise(run)
    validate(run, "3d", "0", {"case0": logits_of(PLAIN, 0)})
    summary = _summarise(run)
    assert set(summary.configurations) == {"3d"}


def test_cases_that_several_folds_validate_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(tmp_path)
    validate(run, "2d", "0", {case: logits_of(PLAIN, 0) for case in CASES[:3]})
    validate(run, "2d", "1", {case: logits_of(PLAIN, 1) for case in CASES[2:]})
    with caplog.at_level(logging.WARNING, "autoseg"):
        summary = _summarise(run)
    assert "2d: cases that several folds validate: 1;" in caplog.text
    assert summary.configurations["2d"].cases == 4


def test_models_and_post_processing_are_judged_on_what_was_looked_for(tmp_path: Path) -> None:
    """Predictions and references of the made run have both labels in every case."""
    run = make_run(tmp_path)
    dataset, looked_for = Dataset.load(run.dataset), {"case0": ("organ",), "case2": ("lesion",), "case3": ("lesion",)}
    cases = [case.with_(annotated=looked_for.get(case.id)) for case in dataset.training]
    dataset.with_(training=cases).save(run.dataset)
    for seed, name in enumerate(("2d", "3d")):
        validate(run, name, "0", {case: logits_of(PLAIN, 10 * seed + int(case[-1])) for case in CASES})
    summary = _summarise(run)
    for model in (*summary.configurations.values(), *summary.ensembles.values()):
        assert (model.cases, model.counted) == (4, {"organ": 2, "lesion": 3})
    best = summary.models[summary.best.configurations]
    decision = json.loads(run.postprocessing.read_text(encoding="utf-8"))
    assert decision["before"]["labels"] == pytest.approx(best.dice)
    everywhere = make_run(tmp_path / "all")
    validate(everywhere, "2d", "0", {case: logits_of(PLAIN, int(case[-1])) for case in CASES})
    complete = _summarise(everywhere).configurations["2d"]
    assert complete.counted == {}
    assert complete.dice != summary.configurations["2d"].dice
