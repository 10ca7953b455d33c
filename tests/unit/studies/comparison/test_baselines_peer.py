"""nnU-Net in another environment, played by a script that answers as nnU-Net would."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_cases import Drawn, ball, draw_case, draw_dataset

from autoseg.data.discovery import discover
from autoseg.data.files import read_image, read_labels, write_image
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError, ImageError, TrainingError
from autoseg.studies.comparison.baselines import peer_driver
from autoseg.studies.comparison.baselines.peer import nnunetv2, write_raw
from autoseg.studies.comparison.baselines.protocol import BaselineContext

SHAPE = (6, 8, 7)
FAKE = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
from autoseg.data.files import read_image, write_labels
words = sys.argv[1:]
if words[0] == "-c":
    print("2.8.1")
elif "train" in words:
    root = Path(words[words.index("train") + 1])
    print("device", words[2], "raw", os.environ["nnUNet_raw"])
    if words[words.index("--seconds") + 1] == "1.0":
        sys.exit("out of patience")
    done = dict(model=str(root / "results"), configuration="3d_fullres", epochs=1, steps=2)
    (root / "report.json").write_text(json.dumps(done))
else:
    for line in sys.stdin:
        question = json.loads(line)
        if "lethal" in question["out"]:
            sys.exit("killed")
        image = read_image(question["images"][0])
        if image.array.max() == 0:
            print(json.dumps(dict(error="ValueError: empty image")), flush=True)
            continue
        write_labels(question["out"] + ".nii.gz", (image.array[0] > 50).astype("uint8"), image.geometry)
        print(json.dumps(dict(error=None)), flush=True)
"""


def drawn(value: float = 100.0) -> Drawn:
    labels = ball(SHAPE, (3, 4, 3), 2.5)
    return value * labels[None], labels


@pytest.fixture
def context(tmp_path: Path) -> BaselineContext:
    python = tmp_path / "python"
    python.write_text(FAKE, encoding="utf-8")
    python.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    made = draw_dataset(tmp_path, [drawn(), drawn()])
    return replace(made, folder=work, options={"peer_python": python, "device": "cpu"})


def test_trains_and_predicts_case_after_case(context: BaselineContext, tmp_path: Path) -> None:
    fitted = nnunetv2(context)
    for name in ("a", "b"):
        found = fitted.predict(draw_case(tmp_path, name, drawn()))
        np.testing.assert_array_equal(found.labels, drawn()[1])
    log = (context.folder / "training.log").read_text(encoding="utf-8")
    assert f"device cpu raw {context.folder / 'raw'}" in log
    assert (context.folder / "driver" / "drive_nnunet.py").read_bytes() == Path(peer_driver.__file__).read_bytes()


def test_a_failing_case_is_told_and_the_next_one_goes_on(context: BaselineContext, tmp_path: Path) -> None:
    fitted = nnunetv2(context)
    with pytest.raises(ImageError, match="empty image"):
        fitted.predict(draw_case(tmp_path, "empty", drawn(0)))
    np.testing.assert_array_equal(fitted.predict(draw_case(tmp_path, "good", drawn())).labels, drawn()[1])
    for _ in range(2):  # the process is gone for good
        with pytest.raises(ImageError, match="killed"):
            fitted.predict(draw_case(tmp_path, "lethal", drawn()))


def test_a_training_that_fails_shows_its_log(context: BaselineContext) -> None:
    with pytest.raises(TrainingError, match="out of patience"):
        nnunetv2(replace(context, options={**context.options, "seconds": 1}))


@pytest.mark.parametrize(
    ("options", "message"), [({}, "--peer-python"), ({"peer_python": "/nowhere/python"}, "does not run")]
)
def test_an_interpreter_is_needed(context: BaselineContext, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        nnunetv2(replace(context, options=options))


def test_an_environment_without_nnunet_is_refused(context: BaselineContext, tmp_path: Path) -> None:
    python = tmp_path / "bare_python"
    python.write_text("#!/bin/sh\necho 'PackageNotFoundError: nnunetv2' >&2\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"not installed(.|\n)*PackageNotFoundError"):
        nnunetv2(replace(context, options={"peer_python": python}))


def test_raw_layout_is_one_that_is_read_back(context: BaselineContext, tmp_path: Path) -> None:
    """Values 0, 4 and 9 become 0, 1 and 2; regions keep their order; the pictures of a file become channels."""
    labels = LabelScheme(
        names={"background": 0, "core": 4, "edge": 9}, regions={"whole": (4, 9), "core": (4,)}, region_order=(9, 4)
    )
    values = np.zeros((1, 8, 7), np.uint8)
    values[0, 2:6, 2:6], values[0, 3:5, 3:5] = 9, 4
    made = draw_dataset(tmp_path / "regions", [(np.zeros((1, 1, 8, 7)), values)])
    colours = np.arange(3 * 56, dtype=np.uint8).reshape(3, 1, 8, 7)
    picture = tmp_path / "picture.png"
    write_image(picture, Image(colours, Geometry.plane()))
    case = made.training[0].with_(images=(picture,))
    dataset = made.dataset.with_(labels=labels, channels=("r", "g", "b"))
    folder = write_raw(dataset, [case], tmp_path / "raw")

    written = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert written["labels"] == {"background": 0, "whole": [1, 2], "core": [1]}
    assert written["regions_class_order"] == [2, 1]
    found = discover(folder)
    assert found.channels == ("r", "g", "b")
    assert found.labels.regions == {"whole": (1, 2), "core": (1,)}
    (only,) = found.training
    np.testing.assert_array_equal(np.concatenate([read_image(path).array for path in only.images]), colours)
    assert only.label is not None
    np.testing.assert_array_equal(read_labels(only.label).array[0], np.select([values == 4, values == 9], [1, 2]))
    assert write_raw(dataset, [case], tmp_path / "raw") == folder  # again, over what was there
