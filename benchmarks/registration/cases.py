"""Pairs of hippocampus cases, each volume in the middle of a grid that all share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from autoseg.data.files import read_image
from autoseg.data.image import Geometry, Image, Vector
from autoseg.data.splits import k_fold

EDGE = 64
"""Voxels of 1 mm along each axis of the shared grid."""

LABELS = {"anterior": (1,), "posterior": (2,)}

Split = Literal["validation", "training"]

_APART = 13


@dataclass(frozen=True, eq=False)
class Subject:
    """A case on the shared grid.

    Attributes:
        image: (1, 64, 64, 64) float32, z-scored over the case's own voxels, 0 (their mean) around them.
        labels: (1, 64, 64, 64) uint8, 0 around.
        own: (64, 64, 64) bool, the case's own voxels.
        direction: of the header that the image above lacks.
    """

    name: str
    image: Image
    labels: Image
    own: np.ndarray
    direction: tuple[Vector, Vector, Vector] = Geometry().direction

    @property
    def oriented(self) -> Image:
        """The image with its direction: a trained network looks at the patient the right way round."""
        return Image(self.image.array, Geometry(direction=self.direction))


@dataclass(frozen=True)
class PairOfCases:
    """Identifiers of a fixed and a moving case."""

    number: int
    fixed: str
    moving: str

    @property
    def name(self) -> str:
        """Sorts by number."""
        return f"{self.number:03d}_{self.fixed}_{self.moving}"


def case_pairs(cases: Sequence[str], numbers: Sequence[int]) -> list[PairOfCases]:
    """Pair k has case k as the fixed one and case k + 13, counted round, as the moving one.

    Raises:
        ValueError: a number that is no case's, or so few cases that one would be its own partner.
    """
    if len(cases) < 2 or _APART % len(cases) == 0:
        raise ValueError(f"{len(cases)} cases cannot be paired with the one {_APART} further")
    if wrong := [number for number in numbers if not 0 <= number < len(cases)]:
        raise ValueError(f"no pairs {wrong}: there are 0 to {len(cases) - 1}")
    return [PairOfCases(k, cases[k], cases[(k + _APART) % len(cases)]) for k in numbers]


def cases_of(data: Path, split: Split) -> tuple[str, ...]:
    """Sorted identifiers of a side of fold 0 of five, seed 12345 (scikit-learn's KFold, as nnU-Net has it)."""
    found = sorted(path.name.removesuffix(".nii.gz") for path in (data / "labelsTr").glob("[!.]*.nii.gz"))
    fold = k_fold(found)[0]
    return fold.validation if split == "validation" else fold.train


def read_subject(data: Path, name: str) -> Subject:
    """A case of a data set in the layout of the Medical Segmentation Decathlon.

    The header's origin is left behind: cases are laid on each other by the middles of their fields of view. Its
    direction stands beside the image, since other tools' displacements are taken along the array's axes.

    Raises:
        ValueError: voxels other than of 1 mm, or a constant image.
    """
    image, labels = (read_image(data / folder / f"{name}.nii.gz") for folder in ("imagesTr", "labelsTr"))
    if not np.allclose(image.geometry.spacing, 1.0, atol=1e-3):
        raise ValueError(f"{name}: voxels of {image.geometry.spacing} mm, where 1 mm is expected")
    array = image.array[0].astype(np.float32)
    if not array.std() > 0:
        raise ValueError(f"{name}: the image is constant")
    return Subject(
        name,
        _placed(centred((array - array.mean()) / array.std())),
        _placed(centred(np.rint(labels.array[0]).astype(np.uint8))),
        centred(np.ones(array.shape, dtype=bool)),
        image.geometry.direction,
    )


def centred(array: np.ndarray, edge: int = EDGE) -> np.ndarray:
    """An array (Z, Y, X) in the middle of a cube of zeros; what is longer than the cube is cut on both sides.

    Where the difference is odd, the side before the array gets (or loses) the smaller half.
    """
    cut = array[tuple(slice(max(0, n - edge) // 2, max(0, n - edge) // 2 + edge) for n in array.shape)]
    before = [(edge - n) // 2 for n in cut.shape]
    return np.pad(cut, [(first, edge - n - first) for first, n in zip(before, cut.shape, strict=True)])


def _placed(array: np.ndarray) -> Image:
    return Image(array[None], Geometry())
