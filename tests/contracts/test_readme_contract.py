"""What the README tells people to type works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

import autoseg
from autoseg import plugins
from autoseg.cli.main import VERBS, app

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:\w*)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("autoseg ")
] + re.findall(r"^\| `(autoseg [^`]+)`", README, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_verb_and_options_that_exist(command: str) -> None:
    words = re.sub(r"^autoseg (--plugin \S+ )?", "", command).split()
    verb = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    known = {name for parameter in verb.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_table_of_commands_is_complete() -> None:
    assert re.findall(r"^\| `autoseg (\S+?)[ `]", README, flags=re.MULTILINE) == list(VERBS)


def test_make_demo_and_make_test_come_first() -> None:
    assert [line.split()[:2] for line in BLOCKS[0].splitlines()] == [["make", "demo"], ["make", "test"]]


def test_public_names_exist() -> None:
    used = set(re.findall(r"autoseg\.(\w+)", next(block for block in BLOCKS if "import autoseg\n" in block)))
    assert used == set(autoseg.__all__) - {"__version__"}
    assert all(callable(getattr(autoseg, name)) for name in used)
    assert used < set(dir(autoseg))
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        autoseg.predict  # noqa: B018


def test_the_plug_in_of_one_file_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    file = tmp_path / "wide.py"
    file.write_text(next(block for block in BLOCKS if block.startswith("# wide.py")), encoding="utf-8")
    plugins.load_file(file)
    plain, wide = (plugins.resolve("planner", name)(*planner_input()) for name in ("default", "wide"))
    assert wide.planner == "wide"
    for name, configuration in plain.configurations.items():
        doubled = tuple(2 * width for width in configuration.features_per_stage)
        assert wide.configurations[name].features_per_stage == doubled


def planner_input() -> tuple:
    """A fingerprint, labels and context such as planners take: four small isotropic CT scans of one organ."""
    from autoseg.data.image import IntensityStatistics
    from autoseg.data.labels import LabelScheme
    from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
    from autoseg.plan.context import PlanContext

    statistics = IntensityStatistics(
        mean=50.0, median=50.0, std=10.0, min=0.0, max=100.0, percentile_00_5=20.0, percentile_99_5=80.0
    )
    cases = tuple(
        CaseFingerprint(
            id=f"case_{i}",
            shape=(40, 48, 48),
            spacing=(1.0, 1.0, 1.0),
            crop_box=((0, 40), (0, 48), (0, 48)),
            relative_size=1.0,
            intensities=(statistics,),
            class_voxels={"organ": 500},
            class_volumes={"organ": 500.0},
        )
        for i in range(4)
    )
    fingerprint = Fingerprint(
        name="scans",
        dimension=3,
        channels=("CT",),
        outputs=2,
        labels_with_background=2,
        intensities=(statistics,),
        cases=cases,
        median_relative_size=1.0,
    )
    return fingerprint, LabelScheme(names={"background": 0, "organ": 1}), PlanContext()
