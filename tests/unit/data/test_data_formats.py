"""Image formats are plug-ins: one that a file registers is read, found, checked and written like those built in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoseg import plugins
from autoseg.data.files import ending_of, known_endings, load_reader, read_image, stem_of, write_image, write_labels
from autoseg.data.formats import NIFTI, ImageFormat, format_of
from autoseg.data.image import Geometry, Image
from autoseg.data.listing import list_images
from autoseg.errors import ImageError, PluginError
from autoseg.processes import unordered

PLUG_IN = """
import numpy as np
from autoseg.data.formats import ImageFormat
from autoseg.data.image import Geometry, Image
from autoseg.errors import ImageError
from autoseg.plugins import register

def read(path):
    try:
        return Image(np.load(path), Geometry())
    except (ValueError, EOFError, OSError) as error:
        raise ImageError("the array cannot be read", where=path, got=error) from None

def write(path, image):
    with path.open("wb") as stream:
        np.save(stream, image.array)

register("image format", "numpy")(ImageFormat("NumPy arrays (C, Z, Y, X)", (".npy",), read, write, geometry="nothing"))
"""


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})


@pytest.fixture
def plug_in(tmp_path: Path) -> Path:
    file = tmp_path / "numpy_arrays.py"
    file.write_text(PLUG_IN, encoding="utf-8")
    return file


def shape_of(path: Path) -> tuple[int, ...]:
    return read_image(path).array.shape


def test_an_ending_is_known_while_its_format_is_registered(plug_in: Path, tmp_path: Path) -> None:
    path, image = tmp_path / "a.npy", Image(np.ones((1, 2, 3, 4), np.int16), Geometry())
    assert (ending_of(path), stem_of(path)) == ("", "a.npy")
    with pytest.raises(ImageError, match="unknown ending"):
        write_image(path, image)
    plugins.load_file(plug_in)
    assert (ending_of("A.NPY"), stem_of(path), known_endings()[-1]) == (".npy", "a", ".npy")
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path).array, image.array)
    assert list_images(tmp_path).images == (path,)
    load_reader(path)
    plugins._registered.clear()
    assert ending_of(path) == ""


def test_another_process_reads_it_too(plug_in: Path, tmp_path: Path) -> None:
    """Also one that is not forked, as with PyTorch in memory, and knows of no plug-in by itself."""
    assert "torch" in sys.modules
    plugins.load_file(plug_in)
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for path in paths:
        write_image(path, Image(np.ones((1, 2, 3, 4), np.int16), Geometry()))
    assert list(unordered(shape_of, paths, "reading", workers=2)) == [(1, 2, 3, 4)] * 3


def test_a_whole_data_set_of_it_is_measured(plug_in: Path, tmp_path: Path) -> None:
    plugins.load_file(plug_in)
    rng = np.random.default_rng(0)
    for number in range(5):
        labels = np.zeros((6, 16, 16), np.uint8)
        labels[2:4, 4:9, 5:11] = 1
        image = (rng.normal(100, 10, labels.shape) + 50 * labels).astype(np.float32)
        write_image(tmp_path / "data" / "images" / f"case_{number}.npy", Image(image[None], Geometry()))
        write_labels(tmp_path / "data" / "labels" / f"case_{number}.npy", labels, Geometry())
    plug_ins = ["--plugin", str(plug_in)]
    command = [sys.executable, "-m", "autoseg", *plug_ins, "fingerprint", str(tmp_path / "data"), "--workers", "2"]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "fingerprint.json").is_file()


def test_wrong_formats_are_refused() -> None:
    for wrong in (NIFTI, ImageFormat("upper case", (".ABC",), NIFTI.read), "nifti"):
        plugins._registered.clear()
        plugins.register("image format", "wrong")(wrong)
        with pytest.raises(PluginError, match="the image format 'wrong' cannot"):
            ending_of("x.png")


def test_what_is_read_only_is_not_written(tmp_path: Path) -> None:
    plugins.register("image format", "mine")(ImageFormat("read only", (".mine",), NIFTI.read))
    assert format_of(".mine") is not None
    with pytest.raises(ImageError, match="read only"):
        write_image(tmp_path / "x.mine", Image(np.ones((1, 2, 3, 4), np.int16), Geometry()))


def test_an_error_of_a_writer_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot hold") as caught:
        write_image(tmp_path / "x.png", Image(np.ones((1, 2, 3, 4), np.int16), Geometry()))
    assert caught.value.where == str(tmp_path / "x.png")
