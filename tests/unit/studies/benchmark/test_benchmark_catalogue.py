"""Every specification of the catalogue loads, and says where its facts come from."""

from __future__ import annotations

import re
import statistics
import tomllib
from pathlib import Path

import pytest

import datasets_spec
from autoseg.cli.main import run
from autoseg.data.description import parse_channels, parse_labels
from autoseg.data.splits import SplitRule, make_splits
from autoseg.errors import ConfigurationError
from autoseg.studies.benchmark import catalogue
from autoseg.studies.benchmark.convert import splits_of
from autoseg.studies.benchmark.specification import Specification

CHALLENGES = {
    *(f"msd_task{number:02d}" for number in range(1, 11)),
    *("acdc", "btcv", "amos22", "kits23", "lits", "brats21", "promise12", "isles22"),
    *("drive", "isbi2012", "dsb2018", "jsrt", "glas"),
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, Specification]:
    return {name: catalogue.load(name) for name in catalogue.names()}


def test_all_challenges_are_there(loaded: dict[str, Specification]) -> None:
    known = {re.match(r"msd_task\d\d|isbi2012|[a-z0-9]+", name)[0] for name in loaded}  # type: ignore[index]
    assert known >= CHALLENGES


@pytest.mark.parametrize("name", catalogue.names())
def test_each_specification_is_sound(name: str, loaded: dict[str, Specification]) -> None:
    made = loaded[name]
    assert made.name == name
    text = datasets_spec.path_of(name).read_text(encoding="utf-8")
    unused = [key for key in made.sources if f'"{key}"' not in text]
    assert not unused, "a source that nothing is said to be from"
    ending = made.layout.ending or ".nii.gz"
    description = made.description(ending, made.cases.training)
    assert len(parse_channels(description, name)) == len(made.channels)
    scheme = parse_labels(description, name)
    assert list(scheme.foreground) == list(made.labels.scored)
    if made.dimension == 2:
        assert len(made.cases.smallest_shape) in (0, 2)
    for result in made.results:
        assert result.setting != "cross-validation" or result.cases == made.cases.training
        if result.setting == "test" and result.cases is not None:
            assert result.cases == made.cases.test


@pytest.mark.parametrize("name", catalogue.names())
def test_numbers_of_a_result_fit_each_other(name: str, loaded: dict[str, Specification]) -> None:
    for result in loaded[name].results:
        if result.mean is not None and set(result.per_label) == set(loaded[name].labels.scored):
            assert statistics.mean(result.per_label.values()) == pytest.approx(result.mean, abs=2e-4)
        means = [fold.mean for fold in result.folds if fold.mean is not None]
        if result.mean is not None and len(means) == 5:
            assert statistics.mean(means) == pytest.approx(result.mean, abs=2e-4)
        for fold in result.folds:
            if fold.mean is not None and fold.per_label:
                assert statistics.mean(fold.per_label.values()) == pytest.approx(fold.mean, abs=2e-4)


def test_a_specification_is_saved_and_read(tmp_path: Path, loaded: dict[str, Specification]) -> None:
    for made in loaded.values():
        made.save(tmp_path / "specification.json")
        assert Specification.load(tmp_path / "specification.json") == made


def test_hippocampus_has_a_hash_a_case(loaded: dict[str, Specification]) -> None:
    made = loaded["msd_task04_hippocampus"]
    assert set(made.label_hashes) == set(made.cases.all_identifiers)
    assert len(set(made.label_hashes.values())) > 200


def test_acdc_keeps_the_frames_of_a_patient_together(loaded: dict[str, Specification]) -> None:
    names = [f"patient{patient:03d}_frame{frame:02d}" for patient in range(1, 101) for frame in (1, 12)]
    splits = splits_of(loaded["acdc"], names)
    assert [len(split.validation) for split in splits] == [40] * 5
    assert sorted(name for split in splits for name in split.validation) == sorted(names)
    for split in splits:
        assert not {name[:10] for name in split.train} & {name[:10] for name in split.validation}


def test_default_splits_are_those_of_nnunet(loaded: dict[str, Specification]) -> None:
    made = loaded["msd_task04_hippocampus"]
    names = list(made.cases.all_identifiers)
    assert splits_of(made, names) == make_splits(names, SplitRule())
    # the first validation cases of nnU-Net 2.8.1's fold 0
    assert splits_of(made, names)[0].validation[:3] == ("hippocampus_017", "hippocampus_019", "hippocampus_033")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="msd_task04_hippocampus"):
        catalogue.load("msd_task04_hipocampus")


def test_the_list_has_one_line_for_each_challenge(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what its own file says, cell by cell."""
    assert run(["list", "specs"]) == 0
    rows = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines() if "D  " in line]
    expected = []
    for name in sorted(path.stem for path in Path(datasets_spec.path_of("drive")).parent.glob("*.toml")):
        written = tomllib.loads(datasets_spec.path_of(name).read_text(encoding="utf-8"))
        images = f"{written['cases']['training']} {written['modality']}, {written['dimension']}D"
        expected.append([name, images, str(len(written.get("results", []))), written["title"]])
    assert rows == expected
    assert ["msd_task04_hippocampus", "260 MRI, 3D"] in [row[:2] for row in rows]


def test_the_example_of_the_documentation_is_complete(tmp_path: Path) -> None:
    page = Path(__file__).parents[4] / "docs" / "benchmarks-catalogue.md"
    examples = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "toy_lesions.toml"
    path.write_text(examples[0], encoding="utf-8")
    made = Specification.load(path)
    assert made.name == "toy_lesions"
    assert made.labels.scored == ("lesion", "core")
    assert made.results[0].mean == 0.81
