"""What every baseline keeps to, whoever wrote it: the kit's contract, and what is checked of those of this project."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from autoseg import plugins
from autoseg.data.discovery import discover
from autoseg.data.files import read_image
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.studies.comparison.baselines.protocol import BaselineContext, check_segmentation
from autoseg.testing import check_plugin

ELSEWHERE = ("folder", "nnunetv2")
"""Baselines that only hand on what another tool predicts; they are tested beside their code."""

METHODS = [name for name in plugins.names("baseline") if name not in ELSEWHERE]

OPTIONS = {"steps": 2, "seconds": 600.0, "device": "cpu", "atlases": 2}
"""Networks take two steps: they learn nothing, but what they predict is the same each time."""


@pytest.mark.parametrize("method", sorted(plugins.BUILT_IN["baseline"]))
def test_the_first_line_of_the_docstring_describes_it(method: str) -> None:
    text = inspect.getdoc(plugins.resolve("baseline", method)) or ""
    first, _, rest = text.partition("\n")
    assert first.endswith(".")
    assert not rest.strip() or rest.startswith("\n"), "the description goes on over a second line"


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.slow if name == "plain-unet" else ()) for name in METHODS]
)
def test_it_keeps_the_contract(method: str) -> None:
    check_plugin("baseline", method, **OPTIONS)


@pytest.mark.parametrize("method", METHODS)
def test_one_label_is_enough(method: str, tmp_path: Path) -> None:
    data = write_phantom(tmp_path / "data", PhantomOptions(cases=4, shape=(8, 40, 44), dimension=2, classes=1))
    dataset = discover(data)
    context = BaselineContext(
        dataset, dataset.labels, dataset.training[:-1], seed=3, folder=tmp_path, workers=2, options=OPTIONS
    )
    case = dataset.training[-1].with_(label=None)
    found = plugins.resolve("baseline", method)(context).predict(case)
    check_segmentation(found, read_image(case.images[0]).shape, dataset.labels, where=case.id)
