"""What each verb hands on to the pipeline, and what it says of the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import autoseg
import autoseg.pipeline as real_pipeline
from autoseg.cli.main import run
from autoseg.data.labels import LabelScheme
from autoseg.data.splits import SplitRule
from autoseg.errors import AutosegError, DatasetError
from autoseg.evaluation.scores import Scores
from autoseg.evaluation.value_map import ValueMap
from autoseg.pipeline.request import TrainingRequest
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.training.config import OptimizerConfig, TrainingConfig
from autoseg.training.runtime import find_device
from autoseg.workspace import Run

pytestmark = pytest.mark.usefixtures("fresh_logging")


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A pipeline that only notes how it is called."""
    calls = Calls("autoseg.pipeline")
    calls.__path__ = real_pipeline.__path__  # its settings are read before it is called
    monkeypatch.setitem(sys.modules, "autoseg.pipeline", calls)
    monkeypatch.setattr(autoseg, "pipeline", calls, raising=False)
    return calls


class Calls(ModuleType):
    """A module whose every function notes its arguments and returns, raises or runs what `answers` says."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.noted: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*positional: Any, **named: Any) -> Any:
            self.noted.append((name, positional, named))
            answer = self.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call


def write_summary(run_folder: Path) -> None:
    scores = {
        "mean": {"liver [left]": {"dice": 0.9, "nsd": None, "hd95": 2.5, "assd": 0.75}},
        "foreground_mean": {"dice": 0.9, "hd95": 2.5},
        "cases": 4,
    }
    run_folder.mkdir(parents=True, exist_ok=True)
    best = {"configurations": ["2d"], "postprocessing": []}
    values = {"configurations": {"2d": scores, "3d_fullres": scores}, "best": best}
    Run(run_folder).summary.write_text(json.dumps(values), encoding="utf-8")


def test_plan_and_train_hands_every_option_on(pipeline: Calls, tmp_path: Path) -> None:
    out = tmp_path / "run"
    write_summary(out)
    weights = tmp_path / "weights.pt"
    weights.touch()
    arguments = ["plan-and-train", str(tmp_path), "--out", str(out), "--configurations", "2d", "--folds", "1,0"]
    arguments += ["--budget", "1h30m", "--steps", "7", "--device", "cpu", "--planner", "resenc", "--workers", "0"]
    arguments += [
        "--trainer",
        "registration",
        "--loss",
        "dice",
        "--pretrained",
        str(weights),
        "--seed",
        "3",
        "--resume",
    ]
    arguments += ["--memory", "24GB", "--set", "training.optimizer=adamw", "--group-by", "(p[0-9]+)_", "--stratify"]
    without_budget = [one for one in arguments if one not in ("--budget", "1h30m")]
    assert run(arguments) == 2  # a budget and a number of steps
    assert run(without_budget) == 0
    expected = TrainingRequest(
        configurations="2d",
        folds="0,1",
        device="cpu",
        planner="resenc",
        memory=24.0,
        trainer="registration",
        pretrained=weights,
        workers=0,
        resume=True,
        config=TrainingConfig(steps=7, seed=3, losses={"dice": 1.0}, optimizer=OptimizerConfig(name="adamw")),
        splits=SplitRule(group_by="(p[0-9]+)_", stratify=True),
        command=("autoseg", *without_budget),
    )
    assert pipeline.noted == [("plan_and_train", (tmp_path, out, expected), {})]
    with_budget = [one for one in arguments if one not in ("--steps", "7")]
    assert run(with_budget) == 0
    assert pipeline.noted[1][1][2].budget == 5400.0


def test_the_defaults_leave_the_choice_to_the_pipeline(pipeline: Calls, tmp_path: Path) -> None:
    write_summary(tmp_path / "run")
    assert run(["plan-and-train", str(tmp_path), "--out", str(tmp_path / "run")]) == 0
    request = pipeline.noted[0][1][2]
    assert request == TrainingRequest(device=find_device("auto"), command=request.command)


def test_results_are_shown_after_a_run(pipeline: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_summary(tmp_path / "run")
    assert run(["plan-and-train", str(tmp_path), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.strip().startswith(("2d", "3d_fullres"))]
    assert rows == [["2d", "(best)", "0.9000", "4"], ["3d_fullres", "0.9000", "4"]]
    assert "best: 2d" in printed
    assert f"report: {Run(tmp_path / 'run').report}" in printed


def test_choose_shows_its_choice_once(pipeline: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_summary(tmp_path)
    assert run(["choose", str(tmp_path), "--device", "cpu", "--workers", "1"]) == 0
    assert pipeline.noted == [("choose", (tmp_path,), {"device": "cpu", "workers": 1})]
    shown = capsys.readouterr()
    assert shown.out.count("best: 2d") == 1
    assert shown.out.count(f"report: {Run(tmp_path).report}") == 1
    assert shown.err == ""


def test_messages_of_a_run_go_to_its_log(pipeline: Calls, tmp_path: Path) -> None:
    pipeline.answers["fingerprint_dataset"] = DatasetError("two channels are missing", where="case_7")
    assert run(["fingerprint", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "case_7: two channels are missing" in Run(tmp_path / "run").log.read_text(encoding="utf-8")


def test_an_error_of_the_users_is_said_on_standard_error(
    pipeline: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.answers["preprocess"] = AutosegError("is full", where="disk", got=3, expected=5, remedy="make room")
    assert run(["preprocess", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: disk: is full\n  got:      3\n  expected: 5\n  to do:    make room\n"


def test_a_bug_keeps_its_traceback(pipeline: Calls, tmp_path: Path) -> None:
    pipeline.answers["preprocess"] = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        run(["preprocess", str(tmp_path)])
    assert "ZeroDivisionError: a bug" in Run(tmp_path).log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "resume"),
    [
        (["plan-and-train", "{0}", "--out", "{0}/a run"], "autoseg plan-and-train {0} --out '{0}/a run' --resume"),
        (["train", "{0}", "--configuration", "2d", "--fold", "0", "--resume"], "--fold 0 --resume"),
        (["preprocess", "{0}"], "autoseg preprocess {0}"),
    ],
)
def test_control_c_says_how_to_go_on(
    arguments: list[str], resume: str, pipeline: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("plan_and_train", "train_fold", "preprocess"):
        pipeline.answers[name] = KeyboardInterrupt()
    assert run([argument.format(tmp_path) for argument in arguments]) == 130
    assert capsys.readouterr().err.rstrip().endswith(resume.format(tmp_path))


@pytest.mark.parametrize(
    ("severities", "code", "count"),
    [
        ([], 0, "0 errors, 0 warnings"),
        (["warning"], 0, "0 errors, 1 warning"),
        (["warning", "error", "error"], 2, "2 errors, 1 warning"),
    ],
)
def test_check_exits_with_2_on_errors_alone(
    severities: list[str], code: int, count: str, pipeline: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from autoseg.data.check import Problem

    pipeline.answers["check"] = [
        Problem(code="x", severity=severity, what=f"problem {i}", file="a.nii", remedy="mend it")  # type: ignore[arg-type]
        for i, severity in enumerate(severities)
    ]
    assert run(["check", str(tmp_path)]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == count
    assert sum("problem" in line for line in lines) == len(severities)


def test_plan_prints_each_configuration_with_its_costs(
    pipeline: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = ConfigurationPlan(
        spacing=(0.5, 0.5),
        median_shape=(32, 32),
        patch_size=(32, 32),
        batch_size=4,
        strides=((1, 1), (2, 2)),
        kernel_sizes=((3, 3), (3, 3)),
        features_per_stage=(8, 16),
        blocks_per_stage=(1, 1),
        decoder_blocks_per_stage=(1,),
        normalization=("z-score",),
        use_mask_for_norm=(False,),
        batch_dice=False,
    )
    pipeline.answers["make_plan"] = Plan(
        dataset="cells",
        planner="default",
        channels=("grey",),
        labels=LabelScheme(names={"background": 0, "cell": 1}),
        dimension=2,
        transpose_forward=(0, 1, 2),
        intensities=(),
        file_ending=".png",
        configurations={"2d": configuration},
    )
    assert run(["plan", str(tmp_path), "--planner", "default", "--budget", "3m", "--device", "cpu"]) == 0
    options = {"planner": "default", "budget": 180.0, "device": "cpu", "memory": None, "cascade": False}
    assert pipeline.noted == [("make_plan", (tmp_path,), options)]
    printed = capsys.readouterr().out
    lines = {line[:26].strip(): line[26:].strip() for line in printed.splitlines()}
    assert lines["spacing [mm]"] == "0.5 x 0.5"
    assert lines["patch"] == "32 x 32"
    assert lines["receptive field"] == "5 x 5"  # two 3 x 3 kernels, both before or at the only stride
    assert "2d: the receptive field is smaller than the patch" in printed


def test_evaluate_names_what_cannot_be_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = Calls("autoseg.evaluation.evaluate")
    monkeypatch.setitem(sys.modules, "autoseg.evaluation.evaluate", evaluation)
    scores = Scores(cases={}, mean={"a": {"dice": 1.0}}, foreground_mean={"dice": 1.0})
    evaluation.answers["evaluate"] = scores
    arguments = ["evaluate", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "scores.json"), "--workers", "1"]
    assert run(arguments) == 0
    options = {"out": tmp_path / "scores.json", "spec": None, "workers": 1, "value_map": ValueMap()}
    assert evaluation.noted == [("evaluate", (tmp_path, tmp_path), options)]
    assert run([*arguments, "--labels", "2,1", "--map", "255:1", "--map-predictions", "3:0,4:2"]) == 0
    chosen = {"spec": (1, 2), "value_map": ValueMap(references={255: 1}, predictions={3: 0, 4: 2})}
    assert evaluation.noted[1] == ("evaluate", (tmp_path, tmp_path), options | chosen)
    (tmp_path / "dataset.json").write_text("{}", encoding="utf-8")
    assert run([*arguments, "--labels", "1", "--spec", str(tmp_path / "dataset.json")]) == 2
    assert "give --labels or --spec" in capsys.readouterr().err
    evaluation.answers["evaluate"] = scores.with_(errors={"case_7": "case_7: another shape"})
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert "error: case_7: another shape" in shown.err
    assert "scored: 0 of 1 references" in shown.out
    evaluation.answers["evaluate"] = scores.with_(missing_predictions=("a", "b"), extra_predictions=("c",))
    assert run(arguments) == 2
    assert "error: 2 references without a prediction: a, b" in capsys.readouterr().err
    evaluation.answers["evaluate"] = scores.with_(missing_predictions=(), extra_predictions=("c",))
    assert run(arguments) == 0


def test_predict_goes_on_after_a_case_that_fails(
    pipeline: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "a.nii"
    image.touch()
    arguments = ["predict", str(tmp_path), str(image), str(image), "--out", str(tmp_path / "out")]
    pipeline.answers["predict"] = [AutosegError("has 2 channels", where="a", expected=1)]
    assert run([*arguments, "--no-mirroring", "--skip-empty"]) == 2
    assert "error: a: has 2 channels" in capsys.readouterr().err
    pipeline.answers["predict"] = []
    assert run(arguments) == 0
    assert [named["mirroring"] for _, _, named in pipeline.noted] == [False, True]
    assert [named["skip_empty"] for _, _, named in pipeline.noted] == [True, False]
    assert pipeline.noted[0][1] == (tmp_path, [image, image], tmp_path / "out")
