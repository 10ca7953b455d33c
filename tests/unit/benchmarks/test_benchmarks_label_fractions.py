"""The experiment with few labels: which cases it draws, what it computes of them, what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap

from autoseg.data.splits import Split
from benchmarks.pretraining.draws import Draw, draws_of
from benchmarks.pretraining.experiment import SCRATCH, Arm, Experiment, StageFailed
from benchmarks.pretraining.outcomes import effects, scores
from benchmarks.pretraining.page import Row, csv_rows, page, panels, plot

CASES = tuple(f"c{i:02d}" for i in range(30))
SPLIT = Split(train=CASES[:24], validation=CASES[24:])


def test_draws_are_nested_training_cases_and_the_same_each_time() -> None:
    draws = draws_of(SPLIT)
    assert [(draw.cases, draw.number) for draw in draws] == [
        (n, k) for n in (5, 10, 20) for k in range(3)
    ]  # 50: too many
    for draw in draws:
        assert len(set(draw.split.train)) == draw.cases
        assert set(draw.split.train) <= set(SPLIT.train)
        assert draw.split.validation == SPLIT.validation
    by_number = {(draw.cases, draw.number): set(draw.split.train) for draw in draws}
    assert all(by_number[5, k] < by_number[10, k] < by_number[20, k] for k in range(3))
    assert by_number[5, 0] != by_number[5, 1]
    assert draws_of(Split(train=CASES[23::-1], validation=SPLIT.validation)) == draws


def test_effects_are_paired_means_and_intervals_over_cases() -> None:
    rng = np.random.default_rng(0)
    draws = [draw for draw in draws_of(SPLIT) if draw.cases == 5]
    fresh = {draw: rng.uniform(0.6, 0.9, 6) for draw in draws}
    tuned = {draw: values + rng.normal(0.03, 0.02, 6) for draw, values in fresh.items()}
    (effect,) = effects(tuned, fresh, 150)
    differences = np.stack([tuned[draw] - fresh[draw] for draw in draws])
    assert effect.dice == pytest.approx(np.mean(list(tuned.values())))
    assert effect.difference == pytest.approx(differences.mean())
    assert effect.draws == pytest.approx(tuple(differences.mean(axis=1)))
    expected = bootstrap((differences.mean(axis=0),), np.mean, n_resamples=20000, random_state=0).confidence_interval
    assert effect.interval == pytest.approx((expected.low, expected.high), abs=2e-3)
    (base,) = effects(fresh, fresh, 150)
    assert (base.difference, base.interval) == (None, None)


def test_draws_that_fresh_weights_have_not_seen_are_not_compared() -> None:
    draws = draws_of(SPLIT)
    fresh = {draws[0]: np.full(6, 0.8)}
    tuned = {draws[0]: np.full(6, 0.9), draws[1]: np.full(6, 0.1), draws[3]: np.full(6, 0.1)}
    (effect,) = effects(tuned, fresh, 150)
    assert effect.dice == pytest.approx(0.9)
    assert effect.difference == pytest.approx(0.1)


def test_scores_are_read_from_the_folds_of_the_draws(tmp_path: Path) -> None:
    experiment, arm = Experiment(tmp_path, tmp_path / "out"), Arm.of("byol:sawtooth")
    folder = experiment.run_of(arm, 1).fold("3d_fullres", 1).validation
    folder.mkdir(parents=True)
    cases = {"b": {"x": {"dice": 0.5}, "y": {"dice": 0.7}}, "a": {"x": {"dice": None}, "y": {"dice": 0.9}}}
    (folder / "summary.json").write_text(json.dumps({"cases": cases}), encoding="utf-8")
    draws = draws_of(SPLIT)
    found = scores(experiment, arm, draws, experiment.steps)
    assert list(found) == [draws[1]]
    np.testing.assert_allclose(found[draws[1]], [0.9, 0.6])
    assert scores(experiment, arm, draws, 999) == {}


def test_lengths_are_those_of_the_trainings_that_there_are(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path, tmp_path / "out", steps=100)
    assert experiment.lengths == [100]
    for steps in (250, 50):
        experiment.run_of(Arm("byol"), 0, steps).root.mkdir(parents=True)
    assert experiment.lengths == [100, 50, 250]


def test_ways_of_fine_tuning_are_named_behind_a_colon() -> None:
    assert Arm.of("byol") == Arm("byol", "plain")
    assert Arm.of("byol:slow-encoder").name == "byol:slow-encoder"
    long = Arm.of("byol@1h:sawtooth")
    assert (long.method, long.budget, long.encoder, long.name) == ("byol", "1h", "byol@1h", "byol@1h:sawtooth")
    with pytest.raises(ValueError, match="none of plain, warm-up"):
        Arm.of("byol:fast")


def test_other_seeds_are_those_of_the_training_on_labels_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = Arm.of("byol@1h+10:sawtooth")
    assert (arm.method, arm.budget, arm.other_seeds, arm.fine_tuning) == ("byol", "1h", 10, "sawtooth")
    assert (arm.encoder, arm.name) == ("byol@1h", "byol@1h+10:sawtooth")
    assert Arm.of("scratch+10") != Arm(SCRATCH)
    ran: list[list[str]] = []
    monkeypatch.setattr(Experiment, "_command", lambda self, stage, *words: ran.append([str(word) for word in words]))
    experiment, draws = Experiment(tmp_path, tmp_path / "out", seed=5), draws_of(SPLIT)
    experiment.pretrain(arm)
    experiment.train(arm, {1: draws[1]})
    assert [words[words.index("--seed") + 1] for words in ran] == ["5", str(15 + draws[1].number)]


def test_the_page_has_a_table_for_each_number_of_cases_and_steps_and_what_failed(tmp_path: Path) -> None:
    draws = [draw for draw in draws_of(SPLIT) if draw.number == 0]
    fresh = {draw: np.full(6, 0.7) for draw in draws}
    tuned: dict[Draw, np.ndarray] = {draws[0]: np.full(6, 0.725)}
    longer = {draws[0]: np.full(6, 0.8)}
    rows = [
        Row(Arm(SCRATCH), (*effects(fresh, fresh, 150), *effects(longer, longer, 300)), None),
        Row(Arm("byol"), tuple(effects(tuned, fresh, 150)), None),
        Row(Arm("dino"), (), None, "collapsed"),
    ]
    text = page(Experiment(tmp_path, tmp_path / "out", steps=150), rows, 6, "x.svg")
    tables = {part.splitlines()[0]: part for part in text.split("## ")}
    assert "| byol | 0.7250 | +2.50 | +2.50 to +2.50 | +2.5 |" in tables["5 labelled cases, 150 steps"]
    assert "| byol | not run |" in tables["10 labelled cases, 150 steps"]
    assert "byol" not in tables["5 labelled cases, 300 steps"]  # of other lengths only what there is
    assert "- dino: collapsed" in text
    lines = csv_rows({(Arm("byol"), 150): tuned}).splitlines()
    assert lines[:2] == ["arm,steps,cases,draw,case,dice", "byol,150,5,0,c24,0.725000"]


def test_the_picture_has_a_panel_for_cases_and_one_for_steps(tmp_path: Path) -> None:
    draws = [draw for draw in draws_of(SPLIT) if draw.number == 0]
    fresh = {draw: np.full(6, 0.1 * number) for number, draw in enumerate(draws)}  # 5, 10, 20 cases
    longer = {draws[1]: np.full(6, 0.9)}
    base = Row(Arm(SCRATCH), (*effects(fresh, fresh, 150), *effects(longer, longer, 100)), None)
    once = Row(Arm("byol"), tuple(effects({draws[0]: np.full(6, 0.5)}, fresh, 150)), None)
    cases, steps = panels([base, once], 150)
    assert (cases.ticks, steps.ticks) == ((5, 10, 20), (100, 150))
    assert cases.lines == {Arm(SCRATCH): pytest.approx((0.0, 0.1, 0.2))}  # one point makes no line
    assert steps.lines == {Arm(SCRATCH): pytest.approx((0.9, 0.1))}
    assert panels([once], 150) == []
    plot([cases, steps], str(tmp_path / "x.svg"))
    assert "<svg" in (tmp_path / "x.svg").read_text(encoding="utf-8")


def test_a_stage_that_fails_says_why_and_where_its_log_is(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(StageFailed, match=r"ended with 2: .*does not exist.; see logs.plan\.log$"):
        experiment.plan(draws_of(SPLIT)[:1])
    assert "does not exist" in (tmp_path / "out" / "logs" / "plan.log").read_text(encoding="utf-8")
