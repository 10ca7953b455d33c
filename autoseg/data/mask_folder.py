"""Labels that are a folder of binary masks, one file a structure, named by the structures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.data.image import Geometry, Image
from autoseg.data.placement import LARGEST_OFFSET, turned_to
from autoseg.data.segments import in_channels
from autoseg.errors import ImageError

_TOLERANCE = 0.01  # of a voxel: difference of places that headers' rounding can make


def read_masks(folder: Path, files: Mapping[str, Path], read: Callable[[Path], Image]) -> Image:
    """Reads the masks of one case.

    Args:
        folder: of the case; where all names begin with the folder's, they are taken without it.
        files: name -> file.
        read: of one file: array (1, Z, Y, X) of integers.

    Returns:
        Array (L, Z, Y, X) with a segment for each file; masks that overlap lie in several channels.

    Raises:
        ImageError: no file, a file that cannot be read, that has more than one value beside 0, or that lies on another
            grid than the first.
    """
    if not files:
        raise ImageError("the folder has no masks", where=folder, remedy="put a file for each structure into it")
    names = list(files)
    prefixes = [f"{folder.name}{mark}" for mark in "_-" if all(len(n) > len(folder.name) + 1 for n in names)]
    prefix = next((prefix for prefix in prefixes if all(name.startswith(prefix) for name in names)), "")
    paths = iter(files.items())
    first_name, first_path = next(paths)
    first = read(first_path)

    def masks() -> Iterator[tuple[str, tuple[slice, ...], np.ndarray]]:
        everywhere = (slice(None),) * 3
        yield first_name.removeprefix(prefix), everywhere, _mask(first, first_path)
        for name, path in paths:
            image = read(path)
            turned, beside = turned_to(image, first)
            image = turned if beside <= LARGEST_OFFSET else image
            _check_grid(image, first, path, first_path)
            yield name.removeprefix(prefix), everywhere, _mask(image, path)

    array, segments = in_channels(first.shape, masks(), len(files))
    return replace(first, array=array, segments=segments)


def _mask(image: Image, path: Path) -> np.ndarray:
    values = [value for value in np.unique(image.array).tolist() if value != 0]
    if len(values) > 1:
        raise ImageError(
            "a mask of one structure has several values",
            where=path,
            got=", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else ""),
            expected="0 and one other value",
            remedy="write a file for each structure, or the labels of the case as one file",
        )
    mask: np.ndarray = image.array[0] != 0
    return mask


def _check_grid(image: Image, first: Image, path: Path, first_path: Path) -> None:
    if image.shape != first.shape:
        got, expected = str(image.shape), str(first.shape)
    elif (far := _distance(image.geometry, first.geometry, first.shape)) > _TOLERANCE:
        got, expected = f"places that differ by {far:.2f} voxels", "equal places"
    else:
        return
    raise ImageError(
        "the masks of one case lie on different grids",
        where=path,
        got=got,
        expected=f"{expected} as in {first_path.name}",
        remedy="resample them to the image's grid (nearest neighbour)",
    )


def _distance(one: Geometry, other: Geometry, shape: tuple[int, int, int]) -> float:
    """How far the corners of two grids of that shape lie from each other, in voxels of the second."""
    corners = np.stack(np.meshgrid(*([0, length - 1] for length in shape), indexing="ij"), -1).reshape(-1, 3)
    worlds = [
        np.asarray(grid.origin) + (corners * grid.spacing) @ np.asarray(grid.direction).T for grid in (one, other)
    ]
    return float((np.abs(worlds[0] - worlds[1]) / min(other.spacing)).max())
