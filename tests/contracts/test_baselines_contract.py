"""What every baseline keeps to, whoever wrote it, on volumes and pictures alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoseg import plugins
from autoseg.data.dataset import Case
from autoseg.data.discovery import discover
from autoseg.data.files import read_image, write_image, write_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Fitted, Segmentation, check_segmentation

ELSEWHERE = ("folder", "nnunetv2")
"""Baselines that only hand on what another tool predicts; they are tested beside their code."""

METHODS = [name for name in plugins.names("baseline") if name not in ELSEWHERE]

OPTIONS = {"steps": 2, "seconds": 600.0, "device": "cpu", "atlases": 2}
"""Networks take two steps: they learn nothing, but what they predict is the same each time."""

DATA = {
    "volumes": PhantomOptions(cases=4, shape=(24, 22, 26), classes=2),
    "pictures": PhantomOptions(cases=4, shape=(8, 40, 44), dimension=2, classes=2),
    "one label": PhantomOptions(cases=4, shape=(8, 40, 44), dimension=2, classes=1),
}

Contexts = Callable[[str], BaselineContext]
Predict = Callable[[str, str, Case], Segmentation]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Kind of data -> three training cases of a data set whose last case is new."""
    made: dict[str, BaselineContext] = {}

    def context(kind: str) -> BaselineContext:
        if kind not in made:
            folder = tmp_path_factory.mktemp("data")
            dataset = discover(write_phantom(folder / "phantom", DATA[kind]))
            kept = folder / "kept"
            kept.mkdir()
            made[kind] = BaselineContext(
                dataset, dataset.labels, dataset.training[:-1], seed=3, folder=kept, workers=2, options=OPTIONS
            )
        return made[kind]

    return context


@pytest.fixture(scope="module")
def predict(contexts: Contexts) -> Predict:
    """A method's prediction of a case; a method learns from each kind of data once."""
    fitted: dict[tuple[str, str], Fitted] = {}

    def call(method: str, kind: str, case: Case) -> Segmentation:
        if (method, kind) not in fitted:
            fitted[method, kind] = plugins.resolve("baseline", method)(contexts(kind))
        return fitted[method, kind].predict(case)

    return call


def unseen(context: BaselineContext) -> Case:
    """The case that was not learned from, without its label."""
    return context.dataset.training[-1].with_(label=None)


def rewritten(context: BaselineContext, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Case:
    """The unseen case with another array (C, Z, Y, X)."""
    paths = []
    for path in unseen(context).images:
        image = read_image(path)
        paths.append(folder / path.name)
        write_image(paths[-1], Image(change(image.array), image.geometry))
    return Case(id="new", images=tuple(paths))


def keeps_contract(segmentation: Segmentation, case: Case, labels: LabelScheme) -> None:
    check_segmentation(segmentation, read_image(case.images[0]).shape, labels, where=case.id)
    if segmentation.disagreement is not None:
        assert 0 <= segmentation.disagreement.min() <= segmentation.disagreement.max() <= 1


@pytest.mark.parametrize("method", sorted(plugins.BUILT_IN["baseline"]))
def test_the_first_line_of_the_docstring_describes_it(method: str) -> None:
    text = inspect.getdoc(plugins.resolve("baseline", method)) or ""
    first, _, rest = text.partition("\n")
    assert first.endswith(".")
    assert not rest.strip() or rest.startswith("\n"), "the description goes on over a second line"


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("method", METHODS)
def test_a_case_without_a_label_file_is_predicted(method: str, kind: str, contexts: Contexts, predict: Predict) -> None:
    case = unseen(contexts(kind))
    keeps_contract(predict(method, kind, case), case, contexts(kind).labels)


@pytest.mark.parametrize("kind", ["volumes", "pictures"])
@pytest.mark.parametrize("method", METHODS)
def test_images_of_another_size(method: str, kind: str, contexts: Contexts, predict: Predict, tmp_path: Path) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        return array[:, :, 5:, :-9] if array.shape[1] == 1 else array[:, 2:, :-3].repeat(2, axis=3)

    case = rewritten(contexts(kind), tmp_path, change)
    keeps_contract(predict(method, kind, case), case, contexts(kind).labels)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_without_contrast(method: str, contexts: Contexts, predict: Predict, tmp_path: Path) -> None:
    for value in (0, 100):
        case = rewritten(contexts("pictures"), tmp_path, lambda array, value=value: np.full_like(array, value))
        keeps_contract(predict(method, "pictures", case), case, contexts("pictures").labels)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_cases_has_no_influence(method: str, contexts: Contexts, predict: Predict) -> None:
    context = contexts("pictures")
    first = predict(method, "pictures", unseen(context))
    predict(method, "pictures", context.training[0])
    again = predict(method, "pictures", unseen(context))
    np.testing.assert_array_equal(again.labels, first.labels)


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_predictions(method: str, contexts: Contexts, predict: Predict, tmp_path: Path) -> None:
    """Whatever the number of workers and the folder."""
    context = contexts("pictures")
    other = plugins.resolve("baseline", method)(replace(context, workers=1, folder=tmp_path)).predict(unseen(context))
    same = predict(method, "pictures", unseen(context))
    np.testing.assert_array_equal(other.labels, same.labels)
    if same.disagreement is not None:
        np.testing.assert_array_equal(other.disagreement, same.disagreement)


@pytest.mark.parametrize("method", METHODS)
def test_training_cases_with_nothing_to_find(method: str, contexts: Contexts, tmp_path: Path) -> None:
    context = contexts("pictures")
    cases = []
    for case in context.training:
        image = read_image(case.images[0])
        write_labels(tmp_path / f"{case.id}.png", np.zeros(image.shape, np.uint8), image.geometry)
        cases.append(case.with_(label=tmp_path / f"{case.id}.png"))
    fitted = plugins.resolve("baseline", method)(replace(context, training=tuple(cases), folder=tmp_path))
    keeps_contract(fitted.predict(unseen(context)), unseen(context), context.labels)


@pytest.mark.parametrize("method", METHODS)
def test_ignored_voxels_are_not_learned(method: str, contexts: Contexts, tmp_path: Path) -> None:
    context = contexts("pictures")
    names = {name: value for name, value in context.labels.names.items() if value < 2}
    scheme = LabelScheme(names=names, ignore=2)
    partly = replace(context, dataset=context.dataset.with_(labels=scheme), labels=scheme, folder=tmp_path)
    fitted = plugins.resolve("baseline", method)(partly)
    keeps_contract(fitted.predict(unseen(context)), unseen(context), scheme)
