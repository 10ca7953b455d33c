"""A published benchmark run again, from a specification of one's own to the verdict."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from small_runs import small_networks

from autoseg import pipeline
from autoseg.cli.main import run
from autoseg.data.splits import k_fold, load_splits
from autoseg.evaluation.evaluate import evaluate
from autoseg.studies.benchmark.convert import convert, split_rule
from autoseg.studies.benchmark.specification import Specification
from autoseg.workspace import Run

SPECIFICATION = """
name = "phantom"
title = "Phantom challenge"
task = "an organ, its lesion and a vessel"
modality = "MRI"
body_part = "phantom"
dimension = 3
home = "https://example.org/phantom"
paper = "paper"
download = "draw it anew"

[sources.paper]
title = "Phantoms"
url = "https://example.org/phantoms"

[[channels]]
name = "MR"

[labels.names]
background = 0
organ = 1
lesion = 2
vessel = 3

[layout]
description = "as nnU-Net has it"
form = "nnunet"
source = "paper"

[cases]
training = 6
source = "paper"

[splits]
official = "none"

[evaluation]
metrics = ["dice", "nsd"]
tolerances_mm = { organ = 3.0 }
source = "paper"

[[results]]
method = "nnU-Net"
configuration = "3d_fullres"
metric = "dice"
setting = "cross-validation"
cases = 6
steps = 1000
mean = 0.8
source = "paper"
"""


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("challenge") / "phantom.toml"
    path.write_text(SPECIFICATION, encoding="utf-8")
    return path


def test_a_benchmark_is_reproduced_in_one_command(
    phantom: Path, specification: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Run(tmp_path / "run")
    # planned beforehand, as if interrupted, so that the networks can be narrowed
    dataset = convert(Specification.load(specification), phantom, made.root / "dataset")
    pipeline.fingerprint_dataset(dataset, made.root, workers=1, rule=split_rule(dataset))
    pipeline.make_plan(made.root)
    small_networks(made)
    command = ["reproduce", str(specification), "--data", str(phantom), "--out", str(made.root), "--folds", "0"]
    code = run([*command, "--steps", "2", "--device", "cpu", "--workers", "0", "--resume"])
    for handler in list(logging.getLogger("autoseg").handlers):  # they keep this test's output and log
        logging.getLogger("autoseg").removeHandler(handler)
    assert code == 0

    content = json.loads((made.root / "reproduction.json").read_text(encoding="utf-8"))
    verdict = content["verdict"]
    assert verdict["outcome"] == "not comparable"
    assert verdict["reasons"] == ["the training had 2 steps of the published 1000", "one fold of five"]
    assert f"verdict: {verdict['text']}" in capsys.readouterr().out
    assert "Published and reproduced" in made.report.read_text(encoding="utf-8")
    identifiers = [file.name.removesuffix(".nii.gz") for file in (phantom / "labelsTr").glob("*.nii.gz")]
    assert load_splits(made.splits, identifiers) == k_fold(identifiers)

    validation = made.fold("3d_fullres", 0).validation
    scored = json.loads((validation / "summary.json").read_text(encoding="utf-8"))["mean"]
    dice, nsd = content["comparisons"]
    for row in dice["labels"]:
        assert row["reproduced"] == pytest.approx(scored[row["name"]]["dice"])
    assert dice["mean"]["published"] == 0.8
    wide = evaluate(
        validation, phantom / "labelsTr", spec=phantom / "dataset.json", tolerance_mm=3.0, metrics=["nsd"], workers=1
    ).mean
    for row in nsd["labels"]:
        source = wide if row["name"] == "organ" else scored
        expected = source[row["name"]]["nsd"]
        assert row["reproduced"] == (None if expected is None else pytest.approx(expected))
