"""A folder of preprocessed cases from which patches are read fast.

Files per case: `<id>.image.b2nd` (C, Z, Y, X) float32, `<id>.labels.b2nd` (Z, Y, X) int8 or int16, `<id>.places.npy`
(voxel coordinates, all classes one after the other) and, written last, `<id>.case.json`: a case is there when this
file is. `store.json` says what the cases were made by. Everything is written beside its place and renamed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.labels import OUTSIDE
from autoseg.errors import AutosegError, WorkspaceError
from autoseg.preprocessing.record import CaseProperties, PreparedCase, Shape
from autoseg.records import Record, write_bytes

FORMAT = 1
"""Version of the files' form."""

_OPEN_CASES = 2048  # kept open at most; a case has three descriptors, and opening it again takes half a millisecond
_SMALL_PATCH = 1 << 18  # voxels
_IMAGE, _LABELS, _LOCATIONS, _CASE, _STORE = ".image.b2nd", ".labels.b2nd", ".places.npy", ".case.json", "store.json"
_ONE_THREAD: dict[str, Any] = {"nthreads": 1}  # parallelism is over workers; threads would not survive a fork


class StoreInfo(Record):
    """What made a store: another digest or format makes its cases stale."""

    format: int = FORMAT
    digest: str


class StoredCase(Record):
    """The last file of a case.

    Attributes:
        source: digest of the state of the files that the case was made from.
        places: class or region name -> (start, stop) rows of the coordinates' file.
    """

    properties: CaseProperties
    source: str
    places: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class _OpenCase:
    shape: Shape
    channels: int
    image: Any
    labels: Any
    locations: Mapping[str, np.ndarray]


class Store:
    """Reads the cases of a folder. Safe to pickle and to use after a fork; files stay open in a bounded cache.

    Raises:
        WorkspaceError: on opening, where the folder is no store; on reading, where a case is not in it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / _STORE).is_file():
            raise WorkspaceError(
                "holds no preprocessed data", where=self.folder, remedy="run `autoseg preprocess RUN` first"
            )
        self._open = lru_cache(maxsize=_cases_kept_open())(self._open_case)

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.folder,)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all files; a later read opens them again."""
        self._open.cache_clear()

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """Identifiers of the cases that were there at the first look, sorted."""
        return finished_cases(self.folder)

    def shape(self, case: str) -> tuple[int, int, int, int]:
        """(C, Z, Y, X) of a case."""
        opened = self._open(case)
        return opened.channels, *opened.shape

    def properties(self, case: str) -> CaseProperties:
        """What leads back to the original image."""
        return stored_case(self.folder, case).properties

    def locations(self, case: str) -> Mapping[str, np.ndarray]:
        """Name -> (N, 3) voxel coordinates (z, y, x) of sampled voxels of a class or region, N = 0 if absent.

        `class_locations.ANNOTATED` names the voxels that are not ignored, if the data has an ignore label. The arrays
        are read-only maps of the file and cost no memory.
        """
        return self._open(case).locations

    def read(self, case: str) -> tuple[np.ndarray, np.ndarray]:
        """The whole case: image (C, Z, Y, X) float32 and labels (Z, Y, X) int16."""
        opened = self._open(case)
        return opened.image[:], opened.labels[:].astype(np.int16)

    def read_box(self, case: str, start: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """A box of a case, decompressing only what it touches.

        Args:
            start: first voxel (z, y, x); may lie outside the image.
            size: voxels per axis.

        Returns:
            image (C, *size) float32 and labels (*size) int16, own memory; 0 and `OUTSIDE` beyond the image.
        """
        opened = self._open(case)
        image = read_part(opened.image, start, size, beyond=0, dtype=np.float32)
        return image, read_part(opened.labels, start, size, beyond=OUTSIDE, dtype=np.int16)

    def _open_case(self, case: str) -> _OpenCase:
        stored = stored_case(self.folder, case)
        rows = _map_rows(self.folder / f"{case}{_LOCATIONS}")
        return _OpenCase(
            shape=stored.properties.shape,
            channels=stored.properties.channels,
            image=map_array(self.folder / f"{case}{_IMAGE}"),
            labels=map_array(self.folder / f"{case}{_LABELS}"),
            locations={name: rows[first:last] for name, (first, last) in stored.places.items()},
        )


def finished_cases(folder: Path) -> tuple[str, ...]:
    """Identifiers of the cases in a store's folder, sorted."""
    return tuple(sorted(path.name.removesuffix(_CASE) for path in folder.glob(f"*{_CASE}")))


def stored_case(folder: Path, case: str) -> StoredCase:
    """The record of a finished case."""
    path = folder / f"{case}{_CASE}"
    if not path.is_file():
        raise WorkspaceError(
            f"has no case {case!r}", where=folder, remedy="run `autoseg preprocess RUN` to make what is missing"
        )
    return StoredCase.load(path)


def write_case(
    folder: Path,
    case: str,
    prepared: PreparedCase,
    locations: Mapping[str, np.ndarray],
    *,
    patch_size: Sequence[int],
    source: str,
) -> None:
    """Writes a case with labels, laid out for reading patches of the given size (2 or 3 axes).

    Args:
        folder: the store's; made where there is none.
        case: identifier.
        prepared: image and labels of the case, with what leads back to the original.
        locations: class or region name -> (N, 3) voxel coordinates (z, y, x), integers.
        patch_size: voxels per axis.
        source: digest of the state of the files that the case was made from.
    """
    if prepared.labels is None:
        raise ValueError("only cases with labels are stored")
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / f"{case}{_IMAGE}", compress(prepared.data, patch_size))
    write_bytes(folder / f"{case}{_LABELS}", compress(prepared.labels, patch_size))
    ends = np.cumsum([0, *(len(rows) for rows in locations.values())]).tolist()
    rows = np.concatenate([np.empty((0, 3), np.int16), *locations.values()])
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    write_bytes(folder / f"{case}{_LOCATIONS}", buffer.getvalue())
    ranges = dict(zip(locations, pairwise(ends), strict=True))
    StoredCase(properties=prepared.properties, source=source, places=ranges).save(folder / f"{case}{_CASE}")


def remove_case(folder: Path, case: str) -> None:
    """Removes a case's files, the record first; files that are not there are no error."""
    for ending in (_CASE, _IMAGE, _LABELS, _LOCATIONS):
        (folder / f"{case}{ending}").unlink(missing_ok=True)


def claim(folder: Path, info: StoreInfo) -> None:
    """Makes the folder a store of what `info` says; cases made by something else are removed."""
    _load_blosc2()  # before processes are forked to write, so that each need not import it
    path = folder / _STORE
    if path.is_file():
        with suppress(AutosegError):  # what another version wrote is stale, whatever it holds
            if StoreInfo.load(path) == info:
                return
    for case in finished_cases(folder):
        remove_case(folder, case)
    info.save(path)


def read_part(array: Any, start: Sequence[int], size: Sequence[int], *, beyond: int, dtype: type) -> np.ndarray:
    """A box of the last three axes of a mapped array, decompressing only what it touches.

    Args:
        array: what `map_array` gave, (..., Z, Y, X).
        start: first voxel (z, y, x); may lie outside the array.
        size: voxels per axis.
        beyond: value outside the array.
        dtype: of the result.

    Returns:
        (..., *size) in memory of its own.
    """
    shape = array.shape[-3:]
    low = [min(max(int(s), 0), n) for s, n in zip(start, shape, strict=True)]
    high = [max(min(int(s) + n, m), first) for s, n, m, first in zip(start, size, shape, low, strict=True)]
    leading = array.shape[:-3]
    inner = np.empty((*leading, *(b - a for a, b in zip(low, high, strict=True))), dtype=array.dtype)
    if inner.size:  # what indexing the array comes to, but for 20 microseconds that it looks at the index
        array.get_slice_numpy(inner, ([0] * len(leading) + low, [*leading, *high]))
    if inner.shape[-3:] == tuple(size):
        return inner.astype(dtype, copy=False)
    part = np.full((*leading, *size), beyond, dtype=dtype)
    if inner.size:
        target: tuple[Any, ...] = tuple(slice(a - int(s), b - int(s)) for s, a, b in zip(start, low, high, strict=True))
        part[(..., *target)] = inner
    return part


def _layout(shape: Sequence[int], patch_size: Sequence[int]) -> tuple[list[int], list[int]]:
    """Chunk and block shape of an array whose last axes are (Z, Y, X).

    A block is what one decompression yields: a quarter of the patch per axis, for little reading beyond the patch, or
    half of a small patch, for little overhead; at least 16 voxels. A chunk is about a patch.
    """
    patch = (1,) * (3 - len(patch_size)) + tuple(patch_size)
    other = [1] * (len(shape) - 3)
    lengths = [min(n, p) for n, p in zip(shape[-3:], patch, strict=True)]
    parts = 2 if prod(patch) < _SMALL_PATCH else 4
    blocks = [max(-(-n // parts), min(n, 16)) for n in lengths]
    chunks = [min(n, -(-length // b) * b) for n, length, b in zip(shape[-3:], lengths, blocks, strict=True)]
    return other + chunks, other + blocks


def compress(array: np.ndarray, patch_size: Sequence[int]) -> bytes:
    """The content of a file from which boxes of that size (2 or 3 axes) are read fast; see `map_array`."""
    blosc2 = _load_blosc2()
    chunks, blocks = _layout(array.shape, patch_size)
    # Without a filter LZ4 copies what it cannot compress: twice the reading speed of shuffled bytes, and files of the
    # same size within a tenth. Heavier codecs save a quarter of the disk and cost 2 to 5 times the reading.
    codec = {"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.NOFILTER]}
    compressed = blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=chunks,
        blocks=blocks,
        cparams=codec | _ONE_THREAD,
        dparams=_ONE_THREAD,
        contiguous=True,  # a frame from the start; else all chunks are compressed a second time when it is made
    )
    return compressed.to_cframe()


def _load_blosc2() -> Any:
    """The library, imported when arrays are first touched.

    That takes a quarter of a second, and most commands only look at a store's records.
    """
    import blosc2

    return blosc2


def _cases_kept_open() -> int:
    """How many cases a store keeps open, in three eighths of the descriptors that this process may have.

    The common limit of 1024 is meant for old programs; a process may raise its own, and this does.
    """
    if sys.platform == "win32":
        return 128
    import resource

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 8 * _OPEN_CASES if most == resource.RLIM_INFINITY else min(8 * _OPEN_CASES, most)
    if allowed != resource.RLIM_INFINITY and allowed < limit:
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
            allowed = limit
    return _OPEN_CASES if allowed == resource.RLIM_INFINITY else max(1, min(_OPEN_CASES, allowed // 8))


def map_array(path: Path) -> Any:
    """An array on disk that is decompressed where it is indexed."""
    blosc2 = _load_blosc2()
    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams=_ONE_THREAD)


def _map_rows(path: Path) -> np.ndarray:
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(rows)
