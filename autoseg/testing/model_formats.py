"""The contract of forms that a trained model takes outside of its run folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from autoseg.data.files import read_image
from autoseg.inference.formats import ModelFormat
from autoseg.inference.predictor import Predictor
from autoseg.testing.runs import finished_run
from autoseg.testing.subject import Subject
from autoseg.workspace import Run


def check_model_format(subject: Subject) -> None:
    """A model format keeps these promises, with a run of which one fold is trained.

    - It is a `ModelFormat` with a description in one line, that can be written, read or both.
    - Written, it makes the file or folder that it is asked for and tells in lines what that is; the run folder keeps
      its weights.
    - Read, it gives None for a file of another format.
    - What is written and read again predicts what the run predicts.
    """
    form = subject.plugin
    subject.promise(isinstance(form, ModelFormat), "a ModelFormat", type(form).__name__)
    assert isinstance(form, ModelFormat)
    one_line = bool(form.description.strip()) and "\n" not in form.description
    subject.promise(one_line, "a description in one line", repr(form.description))
    subject.promise(form.write is not None or form.read is not None, "a format that is written or read")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if form.read is not None:
            other = folder / "other.txt"
            other.write_text("no model\n", encoding="utf-8")
            subject.promise(form.read(other) is None, "None for a file of another format")
        if form.write is None:
            return
        run = finished_run(folder)
        weights = [path.read_bytes() for path in sorted(run.root.rglob("*.pt"))]
        out = folder / "written"
        lines = list(form.write(run.root, out, configuration=None, folds=None))
        words = bool(lines) and all(isinstance(line, str) and line.strip() for line in lines)
        subject.promise(words, "lines that tell what was written", lines)
        made = list(folder.glob("written*"))
        subject.promise(bool(made), "the file or folder that it is asked to write", out)
        subject.promise(out.is_dir() or not form.makes_folder, "a folder, as `makes_folder` says")
        same = weights == [path.read_bytes() for path in sorted(run.root.rglob("*.pt"))]
        subject.promise(same, "a run folder that keeps its weights")
        if form.read is not None:
            read = form.read(out)
            subject.promise(read is not None, "a run folder of what it has written", read)
            assert read is not None
            _check_same(subject, run, Run(read), folder / "data")


def _check_same(subject: Subject, run: Run, other: Run, data: Path) -> None:
    image = read_image(min((data / "imagesTr").iterdir()))
    first, second = (Predictor.load(one.root, device="cpu").predict(image) for one in (run, other))
    subject.promise(bool(np.array_equal(first, second)), "the labels that the run predicts")
