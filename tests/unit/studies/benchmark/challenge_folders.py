"""Small folders that lie as challenges do, and specifications of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import tifffile
from PIL import Image as Picture

from autoseg.studies.benchmark.specification import Specification

SHAPE = (3, 4, 5)


def specification(layout: Mapping[str, Any], **changes: Any) -> Specification:
    """A specification of three volumes with two labels, some fields changed; sections given are taken whole."""
    values: dict[str, Any] = {
        "name": "toy",
        "title": "Toy challenge",
        "task": "two blobs",
        "modality": "MRI",
        "body_part": "head",
        "dimension": 3,
        "home": "https://example.org",
        "paper": "paper",
        "download": "draw the images anew",
        "sources": {"paper": {"title": "Toys", "url": "https://example.org/toys"}},
        "channels": [{"name": "T1"}],
        "labels": {"names": {"background": 0, "front": 1, "back": 2}},
        "layout": {"description": "toys", "source": "paper", **layout},
        "cases": {"training": 3, "source": "paper"},
        "splits": {"official": "none"},
    }
    return Specification.from_mapping({**values, **changes})


def blobs(values: Iterable[int] = (0, 1, 2), shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Values drawn at random, all of them present; uint8."""
    values = list(values)
    drawn = np.random.default_rng(seed).choice(values, shape).astype(np.uint8)
    drawn.reshape(-1)[: len(values)] = values
    return drawn


def volume(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Writes (Z, Y, X) with spacing (z, y, x), in the format of the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(image, str(path))
    return array


def picture(path: Path, array: np.ndarray) -> np.ndarray:
    """Writes (Y, X) or (Y, X, 3) as PNG, BMP or GIF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(array).save(path)
    return array


def stack(path: Path, array: np.ndarray) -> np.ndarray:
    """Writes (pages, Y, X) as a TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    return array
