"""Labels that a cascade's first stage predicted, in the voxels of the second: written, read, and as input channels.

A case has one file `<id>.b2nd`, (Z, Y, X) int8 or int16 training values, laid out like the labels of the store that
it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.labels import OUTSIDE, LabelScheme
from autoseg.errors import WorkspaceError
from autoseg.preprocessing.record import Shape
from autoseg.preprocessing.store import compress, map_array, read_part
from autoseg.records import write_bytes

_OPEN_FILES = 256


def previous_stage_channels(labels: np.ndarray, scheme: LabelScheme) -> np.ndarray:
    """The input channels that a second stage gets beside the image: one-hot labels without the background.

    With regions the labels are the painted ones, and there is still a channel for each of them, as in nnU-Net.

    Args:
        labels: (Z, Y, X) integer training values; what is no foreground (0, `OUTSIDE`) is 0 in every channel.
        scheme: of the data set.

    Returns:
        (K', Z, Y, X) float32, K' = len(scheme.values) - 1; channel i is training value i + 1.
    """
    channels = np.empty((len(scheme.values) - 1, *labels.shape), dtype=np.float32)
    for index, channel in enumerate(channels):
        np.equal(labels, index + 1, out=channel)
    return channels


def previous_stage_file(folder: Path, case: str) -> Path:
    """Where a case's labels lie in a folder."""
    return folder / f"{case}.b2nd"


def write_previous(folder: Path, case: str, labels: np.ndarray, patch_size: Sequence[int]) -> Path:
    """Writes a case's labels beside their place and renames them.

    Args:
        folder: made if it is not there.
        case: identifier.
        labels: (Z, Y, X) training values in the voxels of the second stage's stored image.
        patch_size: of the second stage, 2 or 3 axes; boxes of this size are read fast.
    """
    path = previous_stage_file(folder, case)
    small = not labels.size or labels.max() <= np.iinfo(np.int8).max
    write_bytes(path, compress(labels.astype(np.int8 if small else np.int16), patch_size))
    return path


class PreviousStage:
    """Reads the previous stage's labels of cases. Safe to pickle and to use after a fork; open files are cached.

    Args:
        files: case -> its file (see `write_previous`).
        scheme: of the data set.

    Raises:
        WorkspaceError: on reading, where a case has no file.
    """

    def __init__(self, files: Mapping[str, Path], scheme: LabelScheme) -> None:
        self._files, self._scheme = dict(files), scheme
        self._open = lru_cache(maxsize=_OPEN_FILES)(self._open_case)

    def __reduce__(self) -> tuple[type[PreviousStage], tuple[dict[str, Path], LabelScheme]]:
        return PreviousStage, (self._files, self._scheme)

    @property
    def cases(self) -> tuple[str, ...]:
        """Identifiers, sorted."""
        return tuple(sorted(self._files))

    def shape(self, case: str) -> Shape:
        """(Z, Y, X) of a case's labels."""
        z, y, x = self._open(case).shape
        return z, y, x

    def read(self, case: str) -> np.ndarray:
        """The whole case, (Z, Y, X) int16."""
        return self._open(case)[:].astype(np.int16)

    def read_box(self, case: str, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """A box of a case (*size) int16 in memory of its own, `OUTSIDE` beyond the image; see `Store.read_box`."""
        return read_part(self._open(case), start, size, beyond=OUTSIDE, dtype=np.int16)

    def channels(self, labels: np.ndarray) -> np.ndarray:
        """`previous_stage_channels` of a patch's labels."""
        return previous_stage_channels(labels, self._scheme)

    def _open_case(self, case: str) -> Any:
        path = self._files.get(case)
        if path is None or not path.is_file():
            raise WorkspaceError(
                f"the previous stage has no prediction of case {case!r}",
                where=path,
                remedy="train the previous stage on every fold first",
            )
        return map_array(path)
