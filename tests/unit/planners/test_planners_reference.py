"""Plans against those of nnU-Net v2.8.1, field by field, and the script that compares them.

`reference/` holds made-up fingerprints with the plans that nnU-Net v2.8.1's planners made of them.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from autoseg.plan.context import PlanContext
from autoseg.plugins import resolve

REFERENCE = Path(__file__).parent / "reference"
SCRIPT = Path(__file__).parents[3] / "benchmarks" / "compare_plans.py"


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_plans", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.json")), ids=lambda path: path.stem)
def test_plans_equal_nnunets(path: Path, compare: ModuleType) -> None:
    reference = json.loads(path.read_text(encoding="utf-8"))
    fingerprint, labels = compare.fingerprint_of(reference), compare.labels_of(reference)
    assert reference["plans"]
    for planner, expected in reference["plans"].items():
        plan = resolve("planner", planner)(fingerprint, labels, PlanContext())
        assert plan.planner == planner
        assert list(compare.differences(expected, compare.as_reference(plan))) == []


def test_references_cover_every_planner_and_configuration() -> None:
    plans = [json.loads(path.read_text(encoding="utf-8"))["plans"] for path in REFERENCE.glob("*.json")]
    assert {name for made in plans for name in made} == {"default", "resenc", "resenc-m", "resenc-l", "resenc-xl"}
    configurations = {name for made in plans for plan in made.values() for name in plan["configurations"]}
    assert configurations == {"2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"}


def test_script_says_that_all_is_equal(compare: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(REFERENCE)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{len(list(REFERENCE.glob('*.json')))} files, 24 plans")
    assert "0 differences" in out


def test_script_prints_each_difference(compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = json.loads((REFERENCE / "ct_with_lowres.json").read_text(encoding="utf-8"))
    plan = reference["plans"]["default"]
    true_batch = plan["configurations"]["2d"]["batch_size"]
    plan["configurations"]["2d"]["batch_size"] = 99
    plan["configurations"]["3d_fullres"]["spacing"][0] += 1e-9
    plan["configurations"]["3d_huge"] = plan["configurations"].pop("3d_cascade_fullres")
    plan["transpose_forward"] = [2, 1, 0]
    (tmp_path / "one.json").write_text(json.dumps(reference), encoding="utf-8")
    assert compare.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"one.json, default/2d, batch_size, 99, {true_batch}" in lines
    assert sum("default/3d_fullres, spacing" in line for line in lines) == 1
    assert sum("default/-, configurations" in line for line in lines) == 1
    assert "one.json, default/-, transpose_forward, [2, 1, 0], [0, 1, 2]" in lines
    assert "4 differences" in lines[-1]


def test_script_refuses_what_it_cannot_read(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(tmp_path / "nowhere")]) == 2
    assert compare.main([str(tmp_path)]) == 2
    (tmp_path / "one.json").write_text("{", encoding="utf-8")
    assert compare.main([str(tmp_path)]) == 2
    (tmp_path / "one.json").write_text("{}", encoding="utf-8")
    assert compare.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("cannot be compared") == 2
