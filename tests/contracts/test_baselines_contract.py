"""What every baseline keeps to, whoever wrote it: the kit's contract, and what is checked of those of this project."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from autoseg import plugins
from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import read_image, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
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


BLIND = ("empty", "single-atlas")
"""Methods to which it makes no difference: one predicts background whatever it is told, the other hands on the labels
of one case, in which nothing else than background can stand for what nobody annotated."""


@pytest.mark.parametrize("method", METHODS)
def test_ignored_voxels_are_not_learned_as_background(method: str, tmp_path: Path) -> None:
    """A rater who outlined some of a label and left the rest open did not say that there is nothing else."""
    found = {}
    for rest, ignore in (("open", 2), ("background", None)):
        folder = tmp_path / rest
        scheme = LabelScheme(names={"background": 0, "label": 1}, ignore=ignore)
        cases = tuple(outlined(folder, number, rest=ignore or 0) for number in range(4))
        dataset = Dataset(
            name="outlines", folder=folder, layout="plain", channels=("MR",), labels=scheme, file_ending=".png",
            label_ending=".png", training=cases,
        )  # fmt: skip
        context = BaselineContext(dataset, scheme, cases[:-1], seed=3, folder=folder, options=OPTIONS)
        segmentation = plugins.resolve("baseline", method)(context).predict(cases[-1].with_(label=None))
        check_segmentation(segmentation, (1, 40, 44), scheme, where=method)
        found[rest] = int(np.count_nonzero(segmentation.labels))
    if method in BLIND:
        assert found["open"] == found["background"]
    else:
        assert found["open"] > found["background"]


def outlined(folder: Path, number: int, *, rest: int) -> Case:
    """A dark picture with a bright square, of which half is outlined, and a somewhat larger part of the dark.

    Among what is outlined the dark is more frequent, among all voxels the bright: whoever takes the rest, which has the
    value `rest`, for background finds the square, and others find the dark.
    """
    rng = np.random.default_rng(number)
    y, x = rng.integers(2, 12, 2)
    image = rng.normal(100, 5, (1, 1, 40, 44))
    labels = np.full((1, 40, 44), rest, np.uint8)
    image[..., y : y + 10, x : x + 10] += 100
    labels[:, y : y + 5, x : x + 10] = 1
    labels[:, y + 16 : y + 23, x + 16 : x + 26] = 1
    write_image(folder / f"image_{number}.png", Image(image.astype(np.uint16), Geometry.plane()))
    write_labels(folder / f"label_{number}.png", labels, Geometry.plane())
    return Case(id=f"case_{number}", images=(folder / f"image_{number}.png",), label=folder / f"label_{number}.png")
