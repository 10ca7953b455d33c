"""Which cases belong together, by pattern and by table, and where it looks as if some did."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.data.grouping import group_cases, likely_groups
from autoseg.errors import ConfigurationError, DatasetError

IDS = ["patient1_a", "patient1_b", "patient12_a"]


def test_a_pattern_is_searched_for_in_identifiers() -> None:
    assert group_cases(IDS, r"patient(\d+)_") == {"patient1_a": "1", "patient1_b": "1", "patient12_a": "12"}
    assert group_cases(["x_sub-01_ses-2"], "(sub-[^_]+)") == {"x_sub-01_ses-2": "sub-01"}


def test_identifiers_that_do_not_match_are_all_listed() -> None:
    with pytest.raises(DatasetError, match="2 of 4 cases belong to no group") as caught:
        group_cases([*IDS[:2], "phantom", "other"], r"patient(\d+)_")
    assert "got:      other, phantom" in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("patient(", "is no regular expression"), ("patient", "0 groups"), (r"(a)(b)", "2 groups")],
)
def test_patterns_that_name_no_group(pattern: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        group_cases(IDS, pattern)


@pytest.mark.parametrize(
    "text",
    [
        "site,case,patient\nA,patient1_a,P1\nA,patient1_b,P1\nB,patient12_a,P2\n",
        "Identifier;site;patient\npatient1_a;A;P1\npatient1_b;A;P1\npatient12_a;B;P2\nunknown;B;P3\n",
        "\ufeffscan\tpatient\npatient12_a\tP2\npatient1_a\t P1\npatient1_b\tP1\n\n",
    ],
    ids=["comma", "semicolon", "tab-and-first-column"],
)
def test_a_table_gives_the_groups(text: str, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(text, encoding="utf-8")
    groups = group_cases(IDS, f"{tmp_path / 'cases.csv'}:patient")
    assert groups == {"patient1_a": "P1", "patient1_b": "P1", "patient12_a": "P2"}


def test_wrong_tables(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        group_cases(IDS, f"{path}:patient")
    path.write_text("case,patient\npatient1_a,P1\npatient1_b,\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="did you mean 'patient'"):
        group_cases(IDS, f"{path}:patent")
    with pytest.raises(DatasetError, match="2 of 3 cases belong to no group") as caught:
        group_cases(IDS, f"{path}:patient")
    assert "patient12_a, patient1_b" in str(caught.value)
    path.write_text("case,patient\npatient1_a,P1\npatient1_a,P2\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="in two groups"):
        group_cases(IDS, f"{path}:patient")
    path.write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="unknown column"):
        group_cases(IDS, f"{path}:patient")


@pytest.mark.parametrize(
    ("identifiers", "groups"),
    [
        (["patient12_a", "patient12_b", "patient13_a"], 2),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-x3_ses-1"], 3),
        (["BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00002-000"], 2),
        (["patient001_frame01", "patient001_frame12", "patient002_frame01", "patient002_frame12"], 2),
        (["study1_017_a", "study1_017_b", "study1_018_a"] + [f"study1_{n:03d}_a" for n in range(20, 40)], 22),
        (["knee07L", "knee07R", "knee08L"], 2),
        (["case_a_pre", "case_a_post", "case_b_pre", "case_b_post", "case_c_pre"], 3),
        (["case_a_pre", "case_a_post", "case_b", "case_c"], 3),
        ([f"{patient}_slice_{n:03d}" for patient in (12, 13, 40) for n in range(30)], 3),
        (["anna slice 1", "anna slice 2", "berta slice 1"], 2),
        (["P-ABC.visit2", "P-ABC.visit10", "P-XYZ.visit2"], 2),
    ],
)
def test_identifiers_with_several_cases_a_patient_are_noticed(identifiers: list[str], groups: int) -> None:
    found = likely_groups(identifiers)
    assert found is not None
    assert len(set(group_cases(identifiers, found.pattern).values())) == groups == found.patients
    assert len(found.example) > 1
    assert len(set(group_cases(found.example, found.pattern).values())) == 1


@pytest.mark.parametrize(
    "identifiers",
    [
        [f"hippocampus_{n:03d}" for n in range(20)],
        [f"case_{n:05d}" for n in range(20)],
        [f"s{n:04d}" for n in range(20)],
        [f"site{site}_{n:03d}" for site in (1, 2) for n in range(40)],
        [f"patient{n}_a" for n in range(20)],
        [f"img_{n:04d}" for n in range(20)],
        [f"slice_{n:03d}" for n in range(20)],
        [f"scan{n}" for n in range(20)],
        [f"brain_{n:03d}_t1" for n in range(20)],
        ["06SR5RBREL16DQ6M8LWS", "0RZDK210BSMWAA6467LU", "1D7CUD1955YZPGK8XHJX"],
        ["00ae65c1c663", "077f026f4ab0", "0b0d577159f0"],
        ["a", "b", "c"],
        [],
    ],
)
def test_ordinary_identifiers_are_not(identifiers: list[str]) -> None:
    assert likely_groups(identifiers) is None
