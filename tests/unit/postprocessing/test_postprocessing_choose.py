"""The choice of post-processing, on cases where the right decision is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from autoseg.postprocessing.apply import apply
from autoseg.postprocessing.choose import Decision, choose, choose_from_graphs
from autoseg.postprocessing.components import keep_largest
from autoseg.postprocessing.graph import component_graph

Case = tuple[np.ndarray, np.ndarray]
ALL, FIRST, SECOND = (f"largest-component:{name}" for name in ("all-foreground", "first", "second"))
FOREGROUND = {"first": (1,), "second": (2,)}


def _case(reference_islands: bool = False, **islands: tuple[int, int]) -> Case:
    """Label 1 beside label 2 in both images; named islands (label, z) far off, only in the prediction or in both."""
    reference = np.zeros((8, 20, 30), np.int16)
    reference[1:7, 4:14, 4:12] = 1
    reference[1:7, 4:14, 12:18] = 2
    prediction = reference.copy()
    prediction[1:7, 4:6, 4:18] = 0  # an imperfect prediction
    for value, z in islands.values():
        for image in (prediction, reference) if reference_islands else (prediction,):
            image[z, 17:19, 24:28] = value
    return prediction, reference


def _mean_dice(cases: list[Case], values: tuple[int, ...]) -> float:
    """Brute force on masks."""
    scores = []
    for prediction, reference in cases:
        ours, theirs = np.isin(prediction, values), np.isin(reference, values)
        if (ours | theirs).any():
            scores.append(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
    return float(np.mean(scores))


def _verify(decision: Decision, cases: list[Case], foreground: Mapping[str, tuple[int, ...]]) -> None:
    """The evidence equals scores of images on which the decision was carried out."""
    processed = [(apply(prediction, decision, foreground), reference) for prediction, reference in cases]
    for name, values in foreground.items():
        assert decision.before.labels[name] == pytest.approx(_mean_dice(cases, values), abs=1e-12)
        assert decision.after.labels[name] == pytest.approx(_mean_dice(processed, values), abs=1e-12)
    assert decision.after.foreground == pytest.approx(np.mean([decision.after.labels[name] for name in foreground]))


def test_false_islands_of_all_labels_are_removed_together() -> None:
    cases = [_case(a=(1, 2), b=(2, 3)), _case(a=(2, 5))]
    decision = choose(cases, FOREGROUND)
    assert decision.steps == (ALL,)
    assert decision.cases == 2
    assert [trial.accepted for trial in decision.trials] == [True, False, False]
    assert decision.after.foreground > decision.before.foreground  # type: ignore[operator]
    _verify(decision, cases, FOREGROUND)


def test_true_islands_stay() -> None:
    decision = choose([_case(reference_islands=True, a=(1, 2))] * 2, FOREGROUND)
    assert decision.steps == ()
    assert decision.before == decision.after


def test_one_label_may_gain_only_if_none_loses() -> None:
    """All foreground together helps label 2 and harms label 1; label 2 alone helps and harms none."""
    harmed = _case(reference_islands=True, a=(1, 2))
    helped = _case(a=(2, 2), b=(2, 5))
    cases = [harmed, helped]
    decision = choose(cases, FOREGROUND)
    assert decision.steps == (SECOND,)
    together = decision.trials[0]
    assert together.after.labels["first"] < together.before.labels["first"]  # type: ignore[operator]
    assert together.after.labels["second"] > together.before.labels["second"]  # type: ignore[operator]
    _verify(decision, cases, FOREGROUND)


def test_a_label_step_adds_to_the_step_for_all() -> None:
    """An island of label 2 that touches label 1 survives the first step and falls in the second."""
    prediction, reference = _case(a=(1, 2))
    prediction[3:5, 8:10, 2:4] = 2
    cases = [(prediction, reference)]
    decision = choose(cases, FOREGROUND)
    assert decision.steps == (ALL, SECOND)
    _verify(decision, cases, FOREGROUND)


def test_a_single_label_is_tried_once() -> None:
    prediction, reference = _case(a=(1, 2))
    decision = choose([(prediction > 0, reference > 0)], {"organ": (1,)})
    assert decision.steps == (ALL,)
    assert len(decision.trials) == 1


def test_regions_that_would_harm_another_are_left() -> None:
    """Keeping the largest part of a region removes a label that another region needs."""
    prediction, reference = _case(reference_islands=True, a=(2, 2))
    prediction[2, 18, 1] = 1
    reference[2, 17:19, 24:28] = 2
    cases = [(prediction, reference)]
    regions = {"whole": (1, 2), "core": (2,)}
    decision = choose(cases, regions)
    assert decision.steps == ()
    _verify(decision, cases, regions)


def test_ignored_voxels_do_not_decide() -> None:
    prediction, reference = _case(a=(1, 2))
    reference[:, 16:] = 3
    assert choose([(prediction, reference)], FOREGROUND, ignore=3).steps == ()
    assert choose([(prediction, reference)], FOREGROUND).steps == (ALL,)


def test_a_label_nobody_has_does_not_decide() -> None:
    decision = choose([_case(a=(1, 2))], {**FOREGROUND, "absent": (7,)})
    assert decision.steps == (ALL,)
    assert decision.before.labels["absent"] is None


def _search_on_images(cases: list[Case], foreground: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The rule carried out on images: every try makes new predictions and scores them."""
    current, steps = [prediction for prediction, _ in cases], []
    everything = tuple(sorted({value for values in foreground.values() for value in values}))
    for target, kept in {"all-foreground": everything, **foreground}.items():
        tried = [keep_largest(image, kept) for image in current]
        gains = []
        for values in foreground.values():
            scores = [
                _mean_dice([(image, reference) for image, (_, reference) in zip(images, cases, strict=True)], values)
                for images in (current, tried)
            ]
            gains.append(scores[1] - scores[0])
        if min(gains) >= 0 and max(gains) > 0:
            current = tried
            steps.append(f"largest-component:{target}")
    return steps


def test_the_decision_is_that_of_a_search_on_images() -> None:
    decisions = set()
    schemes = ({"a": (1,), "b": (2,), "c": (3,)}, {"whole": (1, 2, 3), "inner": (2, 3), "core": (3,)})
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cases = []
        for _ in range(2):
            reference = np.zeros((3, 12, 12), np.int16)
            for value in (1, 2, 3):
                corner = rng.integers(0, 8, 2)
                reference[:, corner[0] : corner[0] + 5, corner[1] : corner[1] + 5] = value
            prediction = reference.copy()
            for value in rng.integers(0, 4, 6):  # errors of all kinds, islands and holes
                z, y, x = (int(rng.integers(side)) for side in reference.shape)
                prediction[z : z + 2, y : y + 2, x : x + 2] = value
            cases.append((prediction, reference))
        foreground = schemes[seed % 2]
        decision = choose(cases, foreground)
        assert list(decision.steps) == _search_on_images(cases, foreground)
        _verify(decision, cases, foreground)
        decisions.add(decision.steps)
    assert len(decisions) > 3


def test_no_cases_no_steps() -> None:
    decision = choose([], FOREGROUND)
    assert (decision.steps, decision.cases, decision.before.foreground) == ((), 0, None)


def test_cases_are_taken_one_at_a_time() -> None:
    assert choose((_case(a=(1, z)) for z in (2, 3)), FOREGROUND).cases == 2


def test_a_decision_survives_its_file(tmp_path: Path) -> None:
    decision = choose([_case(a=(1, 2), b=(2, 3))], FOREGROUND)
    decision.save(tmp_path / "postprocessing.json")
    assert Decision.load(tmp_path / "postprocessing.json") == decision


def test_labels_that_were_not_looked_for_do_not_count() -> None:
    """Case 1 shows an island of each label; the first is false, and of the second nothing is known there."""
    cases = [_case(), _case(a=(1, 2)), _case(b=(2, 3))]
    for _, reference in cases[1:]:
        reference[reference == 2] = 0  # not looked for
    graphs = [component_graph(*case) for case in cases]
    decision = choose_from_graphs(graphs, FOREGROUND, [None, ("first",), ("first",)])
    assert decision.before.labels["second"] == pytest.approx(_mean_dice(cases[:1], (2,)))
    assert decision.after.labels["second"] == decision.before.labels["second"]
    assert decision.steps == (ALL,)
    naive = choose_from_graphs(graphs, FOREGROUND)
    assert naive.before.labels["second"] == pytest.approx(_mean_dice(cases[:1], (2,)) / 3)
