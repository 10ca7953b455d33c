"""Saved probabilities of a case, from which ensembles are made slab by slab: one compressed file of bytes.

The file is a blosc2 array (K, Z, Y, X) uint8 on the voxels of the crop, round(255 p), in chunks of rows (Z). The
properties that lead back to the original image lie in the same file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.errors import WorkspaceError
from autoseg.preprocessing.record import CaseProperties, Shape
from autoseg.records import write_bytes

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from autoseg.inference.export import Slab

CERTAIN = 255
"""The byte of probability 1."""

_CHUNK_BYTES = 2**20
_PROPERTIES = "properties"


class ProbabilityWriter:
    """Takes a case's slabs and writes its file. The volume is held compressed: never as floats, never whole.

    Args:
        outputs: K.
        properties: of the case.
    """

    def __init__(self, outputs: int, properties: CaseProperties) -> None:
        import blosc2

        self._properties = properties
        z, y, x = properties.shape_before_resampling
        rows = max(1, min(z, _CHUNK_BYTES // (y * x)))
        one: dict[str, Any] = {"nthreads": 1}  # cases are written by threads of their own
        codec = one | {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [blosc2.Filter.NOFILTER]}
        self._array = blosc2.empty((outputs, z, y, x), np.uint8, chunks=(1, rows, y, x), cparams=codec, dparams=one)

    def add(self, slab: Slab) -> None:
        """Takes the next slab."""
        self._array[:, slab.rows] = as_bytes(slab.probabilities.numpy())

    def save(self, path: Path) -> None:
        """Writes the file beside its place and renames it."""
        self._array.schunk.vlmeta[_PROPERTIES] = self._properties.model_dump_json()
        write_bytes(path, self._array.to_cframe())


@dataclass(frozen=True)
class SavedProbabilities:
    """A case's file, read where it is asked for.

    Attributes:
        properties: of the case.
        shape: (Z, Y, X) of the crop.
    """

    properties: CaseProperties
    shape: Shape
    _array: Any

    @classmethod
    def open(cls, path: Path) -> SavedProbabilities:
        """Opens a file.

        Raises:
            WorkspaceError: it is missing or damaged.
        """
        import blosc2

        try:
            array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
            text = array.schunk.vlmeta[_PROPERTIES]
            properties = CaseProperties.model_validate_json(text)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise WorkspaceError(
                "the saved probabilities cannot be read",
                where=path,
                got=str(error).splitlines()[0],
                remedy="remove the file; it is made again when an ensemble needs it",
            ) from error
        return cls(properties, properties.shape_before_resampling, array)

    @property
    def outputs(self) -> int:
        """K."""
        return int(self._array.shape[0])

    def rows(self, rows: slice) -> UInt8[np.ndarray, "output rows y x"]:
        """Some rows, (K, rows, Y, X) uint8."""
        part: np.ndarray = self._array[:, rows]
        return part


def as_bytes(probabilities: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Probabilities as round(255 p), uint8 of the same shape."""
    return np.rint(probabilities * np.float32(CERTAIN)).astype(np.uint8)


def probability_file(folder: Path, case: str) -> Path:
    """Where a case's probabilities lie in a folder."""
    return folder / f"{case}.b2nd"
