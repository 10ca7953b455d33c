"""What is compared with what, and that nothing is trained on data that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from challenge_folders import SHAPE, blobs, specification, volume

from autoseg.cli.main import run
from autoseg.errors import ErrorGroup
from autoseg.studies.benchmark.commands.reproduce import show_reproduction
from autoseg.studies.benchmark.reached import Reached
from autoseg.studies.benchmark.reading import label_digest
from autoseg.studies.benchmark.reproduce import Reproduction, check_data, choose_target, compare, tolerances
from autoseg.studies.benchmark.specification import Specification
from autoseg.studies.benchmark.verify import Difference

pytestmark = pytest.mark.usefixtures("fresh_logging")

NAMES = tuple(f"case_{number}" for number in range(1, 6))
LAYOUT = {"alternatives": [{"images": ["{case}/t1.nii.gz"], "label": "{case}/seg.nii.gz"}]}
RESULT: dict[str, Any] = {
    "method": "nnU-Net", "configuration": "3d_fullres", "metric": "dice", "setting": "cross-validation", "cases": 5,
    "steps": 1000, "mean": 0.8, "per_label": {"front": 0.9, "back": 0.7}, "source": "paper",
}  # fmt: skip
FOLDS = [{"fold": fold, "mean": 0.8, "per_label": {"front": 0.92, "back": 0.68}} for fold in range(5)]
CHANGED = "The label of case case_3 is not the published one: voxels were changed."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five cases as they were published."""
    for seed, name in enumerate(NAMES):
        volume(tmp_path / "data" / name / "t1.nii.gz", blobs(range(9), SHAPE).astype(np.int16))
        volume(tmp_path / "data" / name / "seg.nii.gz", blobs(seed=seed))
    return tmp_path / "data"


def toy(*results: dict[str, Any], **changes: Any) -> Specification:
    cases = {"training": 5, "identifiers": ["case_{1-5}"], "source": "paper"}
    hashes = {name: label_digest(blobs(seed=seed)) for seed, name in enumerate(NAMES)}
    return specification(LAYOUT, **{"cases": cases, "label_hashes": hashes, "results": results or [RESULT], **changes})


def spoil(data: Path) -> None:
    """Takes two cases away and changes a voxel of one label."""
    for name in ("case_2", "case_4"):
        for file in (data / name).iterdir():
            file.unlink()
    changed = blobs(seed=2)
    changed[0, 0, 0] = (changed[0, 0, 0] + 1) % 3
    volume(data / "case_3" / "seg.nii.gz", changed)


def reached(folds: int = 5, steps: int | None = 1000, of_folds: int = 5, cases: int = 40) -> Reached:
    """Dice around 0.9 and 0.7, 0.02 to either side in turn, so that the means are these and the intervals narrow."""
    scores, fold_of = {}, {}
    for fold in range(folds):
        for i in range(cases):
            case, shift = f"case_{fold}_{i:02d}", 0.02 * (-1) ** i
            scores[case] = {"front": {"dice": 0.9 + shift}, "back": {"dice": 0.7 + shift}}
            fold_of[case] = str(fold)
    names = tuple(str(fold) for fold in range(folds))
    return Reached("3d_fullres", "default", names, of_folds, steps, fold_of, scores)


def made(challenge: Specification, found: Reached, **options: Any) -> Reproduction:
    return compare(challenge, Path("data"), choose_target(challenge).published, found, **options)


def test_the_published_data_pass(data: Path) -> None:
    assert check_data(toy(), data) == ()


def test_the_command_names_what_differs_and_trains_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(data)
    toy().save(tmp_path / "toy.json")
    out = tmp_path / "run"
    command = ["reproduce", str(tmp_path / "toy.json"), "--data", str(data), "--out", str(out), "--workers", "1"]
    assert run(command) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-4:] == [
        f"error: {data} is not what was published as toy (2):",
        "- 2 cases are missing: case_2, case_4.",
        f"- {CHANGED}",
        "to do: mend the folder; or go on with --accept-differences, and the verdict will say so",
    ]
    assert [path.name for path in out.iterdir()] == ["run.log"]


def test_content_that_is_not_looked_at_cannot_differ(data: Path) -> None:
    spoil(data)
    with pytest.raises(ErrorGroup) as caught:
        check_data(toy(), data, voxels=False)
    assert [error.subject for error in caught.value.errors] == ["2 cases are missing: case_2, case_4."]


def test_a_verdict_on_data_that_were_not_looked_at_says_so() -> None:
    result = made(toy(), reached(), voxels=False)
    assert result.verified == "names"
    assert result.verdict.text.endswith("The content of the labels was not verified.")


def test_accepted_differences_are_in_the_verdict(data: Path) -> None:
    spoil(data)
    found = check_data(toy(), data, accept=True)
    assert [one.kind for one in found] == ["missing-case", "label-content"]
    result = made(toy(), reached(), differences=found)
    assert result.verdict.outcome == "reproduced"
    assert result.verdict.text.endswith("The data are not those of the publication: 2 differences were accepted.")
    assert result.differences[1] == CHANGED


def test_the_result_of_the_named_configuration_is_compared() -> None:
    plane = {**RESULT, "configuration": "2d", "mean": 0.78, "per_label": {}}
    test = {**RESULT, "setting": "test", "configuration": "2d"}
    challenge = toy(test, RESULT, plane)
    for asked, trained, compared, mean in (
        (None, "3d_fullres", "3d_fullres", 0.8),
        ("2d", "2d", "2d", 0.78),
        ("2d, 3d_fullres", "2d, 3d_fullres", "3d_fullres", 0.8),
        ("auto", "auto", "3d_fullres", 0.8),
        ("3d_lowres", "3d_lowres", "3d_lowres", 0.8),
    ):
        target = choose_target(challenge, asked)
        assert (target.configurations, target.compared) == (trained, compared)
        assert target.published is not None
        assert target.published.mean == mean


def test_without_a_comparable_result_the_usual_configuration_is_trained() -> None:
    challenge = toy({**RESULT, "setting": "test"}, {**RESULT, "metric": "rand error"})
    target = choose_target(challenge)
    assert (target.configurations, target.published) == ("3d_fullres", None)
    result = made(challenge, reached())
    assert result.verdict.text == (
        "not comparable: no result of cross-validation was published. "
        "Dice 0.8000 reproduced (95 % interval 0.7972 to 0.8028)."  # 1.96 x 0.02 / sqrt(200)
    )
    assert result.published is None


def test_a_validation_set_is_compared_where_it_is_fixed() -> None:
    own = {**RESULT, "setting": "validation"}
    fixed = {"rule": "fixed", "official": "one", "validation": [["case_1"]]}
    assert choose_target(toy(own)).published is None
    assert choose_target(toy(own, splits=fixed)).published is not None


def test_a_whole_cross_validation_is_judged() -> None:
    result = made(toy(), reached())
    assert result.verdict.outcome == "reproduced"
    (comparison,) = result.comparisons
    assert [(row.name, row.published, row.cases) for row in comparison.labels] == [
        ("front", 0.9, 200),
        ("back", 0.7, 200),
    ]
    assert comparison.mean.reproduced == pytest.approx(0.8)
    assert [row.name for row in comparison.folds] == ["0", "1", "2", "3", "4"]
    assert made(toy({**RESULT, "mean": 0.81}), reached()).verdict.outcome == "below"
    assert made(toy({**RESULT, "mean": 0.79}), reached()).verdict.outcome == "above"


def test_a_shorter_training_and_fewer_folds_are_not_comparable() -> None:
    result = made(toy(), reached(folds=1, steps=60))
    assert result.verdict.reasons == ("the training had 60 steps of the published 1000", "one fold of five")
    assert "Dice 0.8000 published, 0.8000 reproduced" in result.verdict.text
    assert made(toy(), reached(steps=None)).verdict.outcome == "reproduced"
    unknown = made(toy({**RESULT, "steps": None}), reached(steps=60))
    assert unknown.verdict.text.endswith("How long the published training was is not known.")


def test_trained_folds_are_held_against_the_published_ones() -> None:
    challenge = toy({**RESULT, "folds": FOLDS})
    result = made(challenge, reached(folds=1))
    assert result.comparisons[0].published_on == "fold 0"
    assert [row.published for row in result.comparisons[0].labels] == pytest.approx([0.92, 0.68])
    assert "Dice on fold 0: 0.8000 published" in result.verdict.text
    two = made(challenge, reached(folds=2))
    assert two.comparisons[0].published_on == "folds 0, 1"
    assert two.verdict.reasons == ("two folds of five",)
    whole = made(challenge, reached())
    assert whole.comparisons[0].published_on == "all folds"
    assert [row.published for row in whole.comparisons[0].labels] == [0.9, 0.7]


def test_folds_of_other_cases_are_not_held_against_each_other() -> None:
    missing = Difference("missing-case", "1 case is missing: case_1.", ("case_1",))
    result = made(toy({**RESULT, "folds": FOLDS}), reached(folds=1), differences=[missing])
    assert result.comparisons[0].published_on == "all folds"
    assert result.comparisons[0].folds[0].published is None


def test_a_mean_over_some_labels_is_compared_over_these() -> None:
    part = {**RESULT, "mean": None, "per_label": {"front": 0.9}}
    mean = made(toy(part), reached()).comparisons[0].mean
    assert (mean.published, mean.reproduced) == pytest.approx((0.9, 0.9))


def test_surface_distances_are_compared_where_their_tolerance_is_known() -> None:
    scoring = {"metrics": ["dice", "nsd", "rand error"], "source": "paper"}
    assert [one.metric for one in made(toy(evaluation=scoring), reached()).comparisons] == ["dice"]
    known = toy(evaluation={**scoring, "tolerances_mm": {"front": 2.0}})
    assert tolerances(known) == {"front": 2.0}
    assert [one.metric for one in made(known, reached()).comparisons] == ["dice", "nsd"]


def test_a_reproduction_is_saved_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = made(toy({**RESULT, "folds": FOLDS, "place": "table 2"}), reached(folds=1))
    result.save(tmp_path / "reproduction.json")
    assert Reproduction.load(tmp_path / "reproduction.json") == result
    show_reproduction(result)
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:3] for line in printed.splitlines() if len(line.split()) > 2}
    assert rows["front"] == ["0.9200", "0.9000"]
    assert rows["mean"] == ["0.8000", "0.8000"]
    assert "published: nnU-Net; Toys (https://example.org/toys, table 2)" in printed
    assert "verdict: not comparable: one fold of five. Dice on fold 0: 0.8000 published, 0.8000 reproduced" in printed
