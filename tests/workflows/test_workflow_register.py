"""Registration from the command line: the default method, and a method of the user's in several processes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from autoseg import plugins
from autoseg.cli.main import run
from autoseg.data.files import read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.tasks.registration.record import RegistrationRecord

pytestmark = pytest.mark.usefixtures("fresh_logging")

SHAPE = (18, 20, 22)


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})


def write_case(folder: Path, name: str, shift: tuple[float, float, float], origin: float = 0.0) -> None:
    """An ellipsoid with another inside, moved by so many voxels of 1 mm."""
    away = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij"), axis=-1) - shift
    outer, inner = (np.linalg.norm(away / size, axis=-1) for size in ((6, 7, 5), (2, 3, 3)))
    noise = np.random.default_rng(0).normal(0, 4, SHAPE)
    array = 100 / (1 + np.exp(8 * (outer - 1))) + 60 / (1 + np.exp(8 * (inner - 1))) + noise
    place = Geometry(origin=(origin, 0.0, 0.0))
    write_image(folder / "images" / f"{name}.nii.gz", Image(array.astype(np.float32)[None], place))
    write_labels(folder / "labels" / f"{name}.nii.gz", np.where(inner < 1, 2, outer < 1).astype(np.uint8), place)


def example_in_docs() -> str:
    """The method that docs/registration.md shows."""
    text = (Path(__file__).parents[2] / "docs" / "registration.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(# shift.py\n.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_default_method_lays_one_image_on_the_other(tmp_path: Path) -> None:
    write_case(tmp_path, "fixed", (0, 0, 0))
    write_case(tmp_path, "moving", (1.5, -2, 1), origin=4.0)
    sides = [str(tmp_path / "images" / f"{name}.nii.gz") for name in ("fixed", "moving")]
    labels = [str(tmp_path / "labels" / f"{name}.nii.gz") for name in ("fixed", "moving")]
    out = tmp_path / "out"
    arguments = ["register", *sides, "--out", str(out), "--fixed-labels", labels[0], "--moving-labels", labels[1]]
    assert run([*arguments, "--device", "cpu", "--iterations", "40"]) == 0
    record = RegistrationRecord.load(out / "metrics.json")
    before, after = record.quality.dice
    assert before is not None
    assert after is not None
    assert after > 0.85 > before
    assert record.quality.deformation.nonpositive_percent == 0
    assert not [text for text in record.warnings if "only evidence" in text]
    assert [stage.name for stage in record.stages] == ["center", "affine", "deformable"]
    first, second = (read_labels(path).array == 1 for path in (labels[0], out / "warped_labels.nii.gz"))
    agreement = 2 * (first & second).sum() / (first.sum() + second.sum())
    assert record.quality.labels["1"].dice == pytest.approx(agreement)


def test_a_method_of_the_user_s_in_several_processes(tmp_path: Path) -> None:
    """The processes are new ones, which must load the user's file themselves."""
    (tmp_path / "shift.py").write_text(example_in_docs(), encoding="utf-8")
    for name in ("a", "b", "c"):
        write_case(tmp_path / "atlases", name, (0, 0, 0))
    write_case(tmp_path / "new", "t", (0, 0, 0), origin=300.0)
    plugin = ["--plugin", str(tmp_path / "shift.py")]
    target = str(tmp_path / "new" / "images" / "t.nii.gz")
    common = ["--method", "centres", "--workers", "2", "--device", "cpu"]
    out = str(tmp_path / "out")
    assert run([*plugin, "propagate-labels", str(tmp_path / "atlases"), target, "--out", out, *common]) == 0
    expected = read_labels(tmp_path / "new" / "labels" / "t.nii.gz").array
    assert np.array_equal(read_labels(Path(out) / "t.nii.gz").array, expected)
