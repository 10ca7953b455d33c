"""The contract of baselines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.cli.descriptions import describe
from autoseg.data.dataset import Case
from autoseg.data.discovery import discover
from autoseg.data.files import read_image, write_image, write_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.errors import PluginError
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Fitted, Segmentation, check_segmentation
from autoseg.testing.subject import Subject

_DATA = {
    "volumes": PhantomOptions(cases=4, shape=(12, 20, 22), classes=2),
    "pictures": PhantomOptions(cases=4, shape=(8, 32, 36), dimension=2, classes=2),
}
_OPTIONS = {"steps": 2, "seconds": 600.0, "device": "cpu", "atlases": 2}
"""Networks take two steps: they learn nothing, but what they predict is the same each time."""


def check_baseline(subject: Subject, **options: Any) -> None:
    """A baseline keeps these promises, on small volumes and pictures with two labels.

    - The first line of its docstring describes it in lists.
    - Fit on a `BaselineContext`, it predicts a case from its images alone: training values of an integer type on the
      image's voxels, and perhaps a disagreement, float32 from 0 to 1.
    - Images of another size and images without contrast can be predicted.
    - Predicting changes nothing: the order of the cases has no influence.
    - Equal seeds give equal predictions, whatever the number of workers and the folder.
    - It can learn from cases without any foreground, and from cases of whose voxels some are ignored.

    Args:
        subject: the plug-in.
        options: of the context, beside few steps on the CPU.
    """
    subject.promise(bool(describe("baseline")[subject.name]), "a docstring whose first line describes it")
    with tempfile.TemporaryDirectory() as name:
        for kind, data in _DATA.items():
            folder = Path(name) / kind
            dataset = discover(write_phantom(folder / "data", data))
            work = folder / "work"
            work.mkdir()
            context = BaselineContext(
                dataset, dataset.labels, dataset.training[:-1], seed=3, folder=work, options={**_OPTIONS, **options}
            )
            look = _Look(subject, context, subject.plugin(context), folder)
            look.at_cases()
            if kind == "pictures":
                look.at_fits()


@dataclass(frozen=True)
class _Look:
    """One baseline that has learned from a context."""

    subject: Subject
    context: BaselineContext
    fitted: Fitted
    folder: Path

    def predicted(self, case: Case, fitted: Fitted | None = None) -> Segmentation:
        """The prediction of a case, which keeps the form of a `Segmentation`."""
        subject, found = self.subject, (fitted or self.fitted).predict(case)
        subject.promise(isinstance(found, Segmentation), "a Segmentation", type(found).__name__)
        try:
            check_segmentation(found, read_image(case.images[0]).shape, self.context.labels, where=case.id)
        except PluginError as error:
            subject.promise(False, error.expected or error.subject, error.got)
        if found.disagreement is not None:
            low, high = found.disagreement.min(), found.disagreement.max()
            subject.promise(bool(0 <= low <= high <= 1), "a disagreement from 0 to 1", f"{low} to {high}")
        return found

    def at_cases(self) -> None:
        """Cases of all kinds, and in another order."""
        context = self.context
        unseen = context.dataset.training[-1].with_(label=None)
        first = self.predicted(unseen)
        self.predicted(self._rewritten("larger", lambda array: array.repeat(2, axis=3)[..., 5:, :-9]))
        for value in (0, 100):
            self.predicted(self._rewritten(f"flat_{value}", lambda array, value=value: np.full_like(array, value)))  # type: ignore[misc]
        self.predicted(context.training[0])
        self._same(first, self.predicted(unseen), "the same prediction in whatever order cases come")

    def at_fits(self) -> None:
        """Learning again, and from other labels."""
        context, subject = self.context, self.subject
        unseen = context.dataset.training[-1].with_(label=None)
        other = subject.plugin(replace(context, workers=2, folder=self._made("again")))
        words = "the same prediction for the same seed, whatever workers and folder"
        self._same(self.predicted(unseen), self.predicted(unseen, other), words)
        self.predicted(unseen, subject.plugin(self._without_foreground()))
        names = {name: value for name, value in context.labels.names.items() if value < 2}
        scheme = LabelScheme(names=names, ignore=2)
        partly = replace(
            context, dataset=context.dataset.with_(labels=scheme), labels=scheme, folder=self._made("partly")
        )
        replace(self, context=partly).predicted(unseen, subject.plugin(partly))

    def _same(self, one: Segmentation, other: Segmentation, promise: str) -> None:
        self.subject.promise(bool(np.array_equal(one.labels, other.labels)), promise)
        if one.disagreement is not None and other.disagreement is not None:
            equal = np.array_equal(one.disagreement, other.disagreement)
            self.subject.promise(bool(equal), f"{promise}, the disagreement too")

    def _made(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _rewritten(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Case:
        """The case that was not learned from with another array (C, Z, Y, X)."""
        paths, folder = [], self._made(name)
        for path in self.context.dataset.training[-1].images:
            image = read_image(path)
            write_image(folder / path.name, Image(change(image.array), image.geometry))
            paths.append(folder / path.name)
        return Case(id=name, images=tuple(paths))

    def _without_foreground(self) -> BaselineContext:
        folder, cases = self._made("nothing"), []
        for case in self.context.training:
            image = read_image(case.images[0])
            write_labels(folder / f"{case.id}.png", np.zeros(image.shape, np.uint8), image.geometry)
            cases.append(case.with_(label=folder / f"{case.id}.png"))
        return replace(self.context, training=tuple(cases), folder=folder)
