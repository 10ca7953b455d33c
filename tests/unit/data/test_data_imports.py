"""Libraries that read images are imported when an image is read, and before processes are forked for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINT_LOADED = "import sys; print(*(name for name in {names} if name in sys.modules))"
READERS = ("SimpleITK", "pydicom", "nibabel", "tifffile", "PIL.Image")


def loaded_after(statement: str) -> list[str]:
    code = f"{statement}; {PRINT_LOADED.format(names=(*READERS, 'torch'))}"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_the_stages_before_training_start_without_any() -> None:
    assert loaded_after("import autoseg.cli.main, autoseg.pipeline.stages") == []


@pytest.mark.parametrize(
    ("file", "libraries"),
    [
        ("x.nii.gz", []),
        ("x.nrrd", ["SimpleITK"]),
        ("series", ["pydicom", "PIL.Image"]),
        ("x.ome.tif", ["tifffile"]),
        ("x.PNG", ["PIL.Image"]),
    ],
)
def test_a_files_reader_is_loaded_by_its_name(file: str, libraries: list[str]) -> None:
    assert loaded_after(f"from autoseg.data.files import load_reader; load_reader({file!r})") == libraries
