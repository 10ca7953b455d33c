"""The page of a whole cross-validation: every model and fold, the choice, and trust in estimates."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from autoseg.evaluation.uncertainty import summarise_uncertainty, uncertainty_cases
from autoseg.inference.estimate import FlagCheck
from autoseg.report.build import write_report
from autoseg.report.gather import gather
from autoseg.report.results import results
from autoseg.report.uncertainty_section import flag_words, uncertainty_section
from autoseg.report.verdict import verdict
from autoseg.workspace import Run

BEST = ("2d", "3d_fullres")


def source_of(run: Run) -> str:
    return run.report.read_text(encoding="utf-8")


def words_of(source: str) -> str:
    text = re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", source, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(text))


def row_values(source: str, model: str, fold: int | None = None) -> list[float]:
    where = f'data-model="{model}"' + ("" if fold is None else f' data-fold="{fold}"')
    row = re.search(rf"<tr[^>]*{re.escape(where)}>(.*?)</tr>", source)
    assert row is not None
    return [float(value) for value in re.findall(r'data-value="([^"]+)"', row.group(1))]


def write(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_every_model_has_its_mean_and_its_folds(crossvalidated_run: Run) -> None:
    source = source_of(crossvalidated_run)
    for name in ("2d", "3d_fullres", "2d + 3d_fullres"):
        names = tuple(name.split(" + "))
        for fold in (0, 1, 2):
            pairs = {
                case: pairs
                for case, (inside, pairs) in uncertainty_cases(crossvalidated_run, names).items()
                if inside == str(fold)
            }
            assert len(pairs) == 12
            dice = [np.mean([one[label][1] for one in pairs.values()]) for label in ("organ", "lesion")]
            assert row_values(source, name, fold) == pytest.approx([np.mean(dice), *dice])
    assert row_values(source, "2d")[0] == pytest.approx(row_values(source, "3d_fullres")[0] - 0.02)


def test_the_chosen_ensemble_leads_and_the_choice_is_explained(crossvalidated_run: Run) -> None:
    records = gather(crossvalidated_run)
    found = results(records)
    assert found is not None
    assert [(one.name, one.chosen) for one in found.models] == [
        ("2d + 3d_fullres", True),
        ("2d", False),
        ("3d_fullres", False),
    ]
    assert found.choice == (
        "2d + 3d_fullres has the highest mean foreground Dice of those validated on the same 36 cases."
    )
    head = verdict(records)
    assert (head.configuration, head.cases, head.folds) == ("2d + 3d_fullres", 36, 3)
    case = found.models[0].cases[0]
    assert records.validation_folder(BEST, case) == crossvalidated_run.ensemble(BEST).validation


def test_ties_and_unfinished_models_are_explained(changeable_crossvalidation: Run) -> None:
    run = changeable_crossvalidation
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    for model in (*summary["configurations"].values(), *summary["ensembles"].values()):
        model["foreground_mean"]["dice"] = 0.81231
    summary["best"]["configurations"] = ["3d_fullres"]
    run.summary.write_text(json.dumps(summary), encoding="utf-8")
    run.fold("2d", 2).validation_summary.unlink()
    found = results(gather(run))
    assert found is not None
    assert "3d_fullres and 2d + 3d_fullres have the same mean foreground Dice to four places" in found.choice
    assert "Not compared, since validated on fewer cases: 2d." in found.choice


def test_trust_is_told_in_words_and_numbers(crossvalidated_run: Run) -> None:
    made = summarise_uncertainty(uncertainty_cases(crossvalidated_run, BEST))
    words = words_of(source_of(crossvalidated_run))
    assert made.foreground.interval is not None
    low, high = made.foreground.interval
    assert f"rank correlation {made.foreground.correlation:.2f}, 95 % interval {low:.2f} to {high:.2f}" in words
    assert "of the 36 validation cases would have been flagged" in words
    section = uncertainty_section(gather(crossvalidated_run))
    assert section is not None
    assert [name for name, _ in section.rows] == ["foreground", "organ", "lesion"]
    assert section.rows[1][1].correlation == pytest.approx(1)
    assert made.check is not None
    assert {one.id for one in section.flagged} == set(made.check.flagged)
    assert "autoseg predict run IMAGES --out DIR" in words


def test_the_picture_has_a_point_a_case_and_class(crossvalidated_run: Run) -> None:
    section = uncertainty_section(gather(crossvalidated_run))
    assert section is not None
    assert section.picture is not None
    points = re.search(r'id="uncertainty-PathCollection_1".*?id="uncertainty-line2d', section.picture, re.DOTALL)
    assert points is not None
    assert points.group().count("<use ") == 2 * 36


def test_a_summary_without_uncertainty_is_made_good_from_the_folds(changeable_crossvalidation: Run) -> None:
    run = changeable_crossvalidation
    stated = gather(run).reliability
    write(run.summary, uncertainty=None)
    assert gather(run).reliability == stated
    for fold in (0, 1, 2):
        run.fold("2d", fold).expected_dice.unlink()
    run.ensemble(BEST).expected_dice.unlink()
    assert uncertainty_section(gather(run)) is None
    assert "did not record" in words_of(write_report(run).read_text(encoding="utf-8"))


def test_few_cases_are_not_judged(finished_run: Run) -> None:
    expected = {f"case_{letter}": {"organ": 0.9, "lesion": None} for letter in "abcd"}
    finished_run.fold("3d_fullres", 0).expected_dice.write_text(json.dumps(expected), encoding="utf-8")
    section = uncertainty_section(gather(finished_run))
    assert section is not None
    assert section.judgement == "cannot be judged: too few validated cases with a value (4)"
    assert section.flagged == ()
    assert section.flags.startswith("Fewer than ten cases were validated")
    words = words_of(write_report(finished_run).read_text(encoding="utf-8"))
    assert "The estimate cannot be judged: too few validated cases" in words
    assert "3 unseen" in words  # the lesion has a true Dice in three cases


def test_flags_are_set_beside_chance() -> None:
    ids = tuple(f"c{i}" for i in range(100))
    text = flag_words(FlagCheck(cases=100, flagged=ids[5:25], worst=ids[:10]))
    assert "20 of the 100 validation cases would have been flagged" in text
    assert (
        "Of the 10 worst cases 5 would have been among them; as many flags given by lot would have found 2.0." in text
    )
