"""Which prediction belongs to which reference, and whether the two lie in the same place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dicom.storage import is_dicom_folder
from autoseg.data.files import stem_of
from autoseg.data.image import Image
from autoseg.data.listing import list_images, list_labels
from autoseg.data.placement import LARGEST_OFFSET, same_spacing
from autoseg.errors import ConfigurationError, ImageError

_DIRECTION_TOLERANCE = 1e-2  # of a unit vector's component: half a degree, what rounding in headers can make


@dataclass(frozen=True)
class Matches:
    """Files of one name.

    Attributes:
        pairs: case id -> (prediction, reference), sorted by identifier.
        missing: identifiers of references without a prediction.
        extra: identifiers of predictions without a reference.
    """

    pairs: dict[str, tuple[Path, Path]]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def match(predictions: str | Path | Iterable[str | Path], references: str | Path | Iterable[str | Path]) -> Matches:
    """Pairs the label files of two folders (or lists of files) by their names without ending.

    Raises:
        ConfigurationError: a folder does not exist, two files of one side have the same name, or none matches.
    """
    predicted = files_by_name(predictions, "predictions")
    expected = files_by_name(references, "references", structures=True)
    folders = {name for name, path in expected.items() if path.is_dir()}
    if not folders & predicted.keys():  # images in folders that have no case's name, such as a backup
        expected = {name: path for name, path in expected.items() if name not in folders or is_dicom_folder(path)}
    common = sorted(predicted.keys() & expected.keys())
    if not common:
        raise ConfigurationError(
            "no prediction has the name of a reference",
            got=f"predictions {_examples(predicted)}; references {_examples(expected)}",
            expected="equal file names without the ending",
            remedy="check the two folders or rename the files",
        )
    return Matches(
        pairs={name: (predicted[name], expected[name]) for name in common},
        missing=tuple(sorted(expected.keys() - predicted.keys())),
        extra=tuple(sorted(predicted.keys() - expected.keys())),
    )


def check_geometry(
    prediction: Image,
    reference: Image,
    where: object,
    *,
    ours: str = "the prediction's",
    theirs: str = "its reference's",
) -> None:
    """Refuses a prediction that does not lie voxel on voxel on its reference.

    Args:
        where: file or case of the prediction.
        ours, theirs: whose geometries they are, for the message.

    Raises:
        ImageError: shape, spacing, direction or origin differ.
    """
    one, other = prediction.geometry, reference.geometry
    shift = np.subtract(one.origin, other.origin) @ np.asarray(other.direction) / other.spacing
    differences = (
        ("shape", prediction.shape, reference.shape, prediction.shape == reference.shape),
        ("spacing", one.spacing, other.spacing, same_spacing(one, other)),
        (
            "direction",
            one.direction,
            other.direction,
            np.allclose(one.direction, other.direction, rtol=0, atol=_DIRECTION_TOLERANCE),
        ),
        ("origin", one.origin, other.origin, bool(np.abs(shift).max() <= LARGEST_OFFSET)),
    )
    for name, got, expected, same in differences:
        if not same:
            raise ImageError(
                f"{ours} {name} is not {theirs}",
                where=where,
                got=f"{got} (z, y, x)",
                expected=expected,
                remedy="bring it into that geometry (nearest neighbour)",
            )


def files_by_name(files: str | Path | Iterable[str | Path], side: str, *, structures: bool = False) -> dict[str, Path]:
    """Name without ending -> label file; in a folder, junk and files that are no images are passed over.

    Args:
        files: a folder, or files.
        side: whose files they are, for messages.
        structures: whether the labels of a case may be a folder of a file for each structure.

    Raises:
        ConfigurationError: the folder does not exist, or two files have the same name.
    """
    if isinstance(files, (str, Path)):
        folder = Path(files)
        if not folder.is_dir():
            raise ConfigurationError(f"the folder of {side} does not exist", where=folder, remedy="check the path")
        paths = list((list_labels if structures else list_images)(folder).images)
    else:
        paths = [Path(path) for path in files]
    named: dict[str, Path] = {}
    for path in paths:
        other = named.setdefault(stem_of(path), path)
        if other is not path:
            raise ConfigurationError(
                f"two {side} have the same name", where=stem_of(path), got=f"{other} and {path}", remedy="remove one"
            )
    return named


def _examples(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
