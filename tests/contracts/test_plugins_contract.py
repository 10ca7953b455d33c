"""Every plug-in of this project keeps the contract of its kind, as an outsider's tests check theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoseg import plugins
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.errors import ConfigurationError
from autoseg.pipeline.request import TrainingRequest
from autoseg.tasks.pretraining.pipeline.pretrain import PretrainingRequest, pretrain
from autoseg.testing import CONTRACTS, check_plugin

ELSEWHERE = ("baseline", "similarity")
"""Kinds whose built-in plug-ins have a file of their own, with stronger checks beside the contract."""

OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("network", "linear-readout"): {"encoder": "plain-unet"},
    ("transform", "mirror"): {"axes": (0, 1)},
    ("transform", "cascade-morphology"): {"labels": 2},
    ("transform", "cascade-drop-components"): {"labels": 2},
    ("registration", "drmime"): {"iterations": 20},
    ("pretraining", "dino"): {"hidden": 32, "bottleneck": 16, "prototypes": 32, "local_views": 2},
    ("pretraining", "jepa"): {"width": 16, "layers": 1},
    **{
        ("pretraining", name): {"hidden": 32, "outputs": 16}
        for name in ("simclr", "triplet", "byol", "volume-contrast")
    },
}
"""What a plug-in cannot do without, and sizes that suit small data."""

SLOW = {("model format", "onnx"), ("registration", "drmime"), ("label transfer", "registration")}


def built_in() -> list[Any]:
    """Kind and name of each, those that take long marked."""
    found = []
    for kind, rows in plugins.BUILT_IN.items():
        for name in rows if kind not in ELSEWHERE else ():
            slow = kind == "trainer" or (kind, name) in SLOW
            marks = [pytest.mark.slow] if slow else []
            if (kind, name) != ("trainer", "pretraining"):
                found.append(pytest.param(kind, name, marks=marks, id=f"{kind}-{name}"))
    return found


@pytest.mark.parametrize(("kind", "name"), built_in())
def test_a_plug_in_keeps_the_contract_of_its_kind(kind: str, name: str) -> None:
    check_plugin(kind, name, **OPTIONS.get((kind, name), {}))


@pytest.mark.slow
def test_the_trainer_of_pretraining_keeps_it_in_a_run_of_its_own_command(tmp_path: Path) -> None:
    data = write_phantom(tmp_path / "data", PhantomOptions(cases=3, shape=(12, 24, 24)))
    training = TrainingRequest.of(steps=1, device="cpu", workers=0)
    request = PretrainingRequest(((data, 1.0),), "rotation", configuration="2d", training=training)
    run = pretrain(tmp_path / "run", request).run
    check_plugin("trainer", "pretraining", run=run.root, method="rotation")


def test_every_kind_has_a_contract_that_lists_its_promises() -> None:
    assert set(CONTRACTS) == set(plugins.BUILT_IN)
    for contract in CONTRACTS.values():
        assert (contract.__doc__ or "").count("\n    - ") >= 2


def test_the_kit_is_there_without_a_test_runner() -> None:
    code = "import sys; sys.modules['pytest'] = None; import autoseg.testing; print(autoseg.testing.check_plugin)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout


def test_a_wrong_call_of_the_kit_is_no_broken_promise() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'dice'"):
        check_plugin("loss", "dise")
    with pytest.raises(ConfigurationError, match="unknown kind"):
        check_plugin("less", "dice")
    with pytest.raises(TypeError, match="softness"):
        check_plugin("loss", "dice", softness=2)
