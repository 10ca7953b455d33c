"""Ensembles from saved probabilities: against whole float volumes, kept while fresh, whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from validated_runs import PLAIN, PROPERTIES, REGIONS, logits_of, make_run, validate

from autoseg.data.dataset import Dataset
from autoseg.data.files import read_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import WorkspaceError
from autoseg.evaluation import ensemble
from autoseg.evaluation.candidate import Candidate, validated_configuration
from autoseg.evaluation.ensemble import validated_ensemble
from autoseg.evaluation.evaluate import evaluate
from autoseg.inference.export import slabs
from autoseg.inference.rows import WholeLogits
from autoseg.plan.record import Plan
from autoseg.workspace import Run


def _members(run: Run, names: tuple[str, ...] = ("2d", "3d")) -> list[Candidate]:
    plan = Plan.load(run.plan)
    found = [validated_configuration(run, plan, name) for name in names]
    return [one for one in found if one is not None]


def _ensemble(run: Run) -> Candidate:
    return validated_ensemble(run, Dataset.load(run.dataset), Plan.load(run.plan), _members(run), workers=1)


def _two_configurations(folder: Path, scheme: LabelScheme = PLAIN) -> Run:
    run = make_run(folder, scheme)
    for seed, name in enumerate(("2d", "3d")):
        for fold, cases in (("0", ("case0", "case1")), ("1", ("case2", "case3"))):
            validate(run, name, fold, {case: logits_of(scheme, 10 * seed + int(case[-1])) for case in cases})
    return run


def _contents(run: Run) -> dict[str, np.ndarray]:
    folder = run.ensemble(("2d", "3d")).validation
    return {path.name: read_labels(path).array[0] for path in sorted(folder.glob("*.nii.gz"))}


@pytest.mark.parametrize("scheme", [PLAIN, REGIONS])
def test_labels_are_those_of_the_mean_of_whole_volumes(scheme: LabelScheme, tmp_path: Path) -> None:
    run = _two_configurations(tmp_path, scheme)
    _ensemble(run)
    for i in range(4):
        volumes = []
        for seed in (i, 10 + i):
            parts = [slab.probabilities for slab in slabs([(WholeLogits(logits_of(scheme, seed)), PROPERTIES)], scheme)]
            volumes.append(torch.cat(parts, dim=1).double().numpy())
        mean = (volumes[0] + volumes[1]) / 2
        if scheme.regions:
            expected = np.where(mean[1] > 0.5, 2, np.where(mean[0] > 0.5, 1, 0))
            clear = (np.abs(mean - 0.5) > 1 / 255).all(0)
        else:
            expected = np.array([0, 3, 7])[mean.argmax(0)]
            best = np.sort(mean, axis=0)
            clear = best[-1] - best[-2] > 1 / 255
        found = _contents(run)[f"case{i}.nii.gz"].transpose(1, 0, 2)
        inside = found[1:13, :, 2:12]
        assert clear.mean() > 0.95
        assert np.array_equal(inside[clear], expected[clear])
        assert np.count_nonzero(found) == np.count_nonzero(inside)


def test_slabs_and_processes_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _two_configurations(tmp_path)
    _ensemble(run)
    expected = _contents(run)
    dice = json.loads(run.ensemble(("2d", "3d")).expected_dice.read_text(encoding="utf-8"))
    run.ensemble(("2d", "3d")).validation_summary.unlink()
    monkeypatch.setattr(ensemble, "_SLAB_BYTES", 1)
    _ensemble(run)
    found = _contents(run)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)
    again = json.loads(run.ensemble(("2d", "3d")).expected_dice.read_text(encoding="utf-8"))
    for case, row in dice.items():
        assert again[case] == pytest.approx(row, rel=1e-5)


def test_scores_are_those_of_an_independent_evaluation(tmp_path: Path) -> None:
    run = _two_configurations(tmp_path)
    found = _ensemble(run)
    again = evaluate(run.ensemble(("2d", "3d")).validation, tmp_path / "labels", spec=PLAIN, workers=1)
    assert found.name == "2d+3d"
    assert found.networks == 4
    assert found.dice == pytest.approx(again.foreground_dice)
    folds = found.model_scores().folds
    assert set(folds) == {"0", "1"}
    mean = np.mean([again.cases[case]["organ"]["dice"] for case in ("case0", "case1")])
    assert folds["0"]["organ"] == pytest.approx(mean)
    assert folds["0"]["foreground_mean"] == pytest.approx((folds["0"]["organ"] + folds["0"]["lesion"]) / 2)


def test_it_is_kept_while_fresh_and_made_again_when_its_inputs_change(tmp_path: Path) -> None:
    run = _two_configurations(tmp_path)
    _ensemble(run)
    summary = run.ensemble(("2d", "3d")).validation_summary
    made = summary.stat().st_mtime_ns
    _ensemble(run)
    assert summary.stat().st_mtime_ns == made
    before = _contents(run)["case0.nii.gz"]
    validate(run, "3d", "0", {case: logits_of(PLAIN, 50) for case in ("case0", "case1")})
    os.utime(run.fold("3d", "0").validation_summary, ns=(made + 10**9, made + 10**9))
    _ensemble(run)
    assert not np.array_equal(_contents(run)["case0.nii.gz"], before)


def test_a_new_fold_is_taken_in_and_a_case_that_is_gone_is_removed(tmp_path: Path) -> None:
    run = _two_configurations(tmp_path)
    _ensemble(run)
    for name in ("2d", "3d"):
        run.fold(name, "1").validation_summary.unlink()
    assert _ensemble(run).cases == {"case0", "case1"}
    assert set(_contents(run)) == {"case0.nii.gz", "case1.nii.gz"}


@pytest.mark.parametrize("place", ["write_labels", "score_validation"])
def test_one_that_is_interrupted_is_not_taken_for_whole(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _two_configurations(tmp_path)
    _ensemble(run)
    expected = _contents(run)
    old = run.ensemble(("2d", "3d")).validation_summary
    os.utime(old, ns=(0, 0))
    calls = []
    real = getattr(ensemble, place)

    def interrupted(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) > 1 or place == "score_validation":
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ensemble, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ensemble(run)
    assert not old.exists()
    assert not [path for path in old.parent.iterdir() if path.name.startswith(".")]
    _ensemble(run)
    assert old.exists()
    assert all(np.array_equal(array, expected[name]) for name, array in _contents(run).items())


def test_probabilities_of_other_voxels_are_refused(tmp_path: Path) -> None:
    run = _two_configurations(tmp_path)
    wrong = run.fold("3d", "0").probabilities / "case0.b2nd"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("validated_runs.PROPERTIES", PROPERTIES.with_(crop_box=((1, 12), (0, 8), (2, 12))))
        other = make_run(tmp_path / "other")
        validate(other, "3d", "0", {"case0": logits_of(PLAIN, 0)})
    wrong.write_bytes((other.fold("3d", "0").probabilities / "case0.b2nd").read_bytes())
    with pytest.raises(WorkspaceError, match="not of the same voxels"):
        _ensemble(run)
