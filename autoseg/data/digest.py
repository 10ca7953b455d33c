"""Images known by their voxels, whatever their names, places and file formats."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import load_reader, read_case
from autoseg.data.image import Image
from autoseg.processes import unordered


def image_digest(image: Image) -> str:
    """A digest of an image's voxels (C, Z, Y, X): equal for equal shapes and values, whatever their type or place."""
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(image.array, dtype=np.float32)
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    digest.update(array.data)
    return digest.hexdigest()


def case_digests(cases: Sequence[tuple[Case, int]], *, workers: int = 1) -> tuple[str, ...]:
    """The digest of each case's image, in their order.

    Args:
        cases: with the number of channels of each.
        workers: processes that read images.
    """
    if not cases:
        return ()
    load_reader(cases[0][0].images[0])
    digests: Mapping[int, str] = dict(
        unordered(_numbered_digest, enumerate(cases), "reading images", workers=workers, patience=1.0)
    )
    return tuple(digests[number] for number in range(len(cases)))


def shared_images(
    seen: Collection[str], dataset: Dataset, identifiers: Collection[str], *, workers: int = 1
) -> tuple[str, ...]:
    """Those of a data set's training cases whose voxels have one of the digests.

    Args:
        seen: digests, as of `image_digest`.
        dataset: where the cases are looked for.
        identifiers: of the cases that are compared; others are not read.
        workers: processes that read images.
    """
    cases = [case for case in dataset.training if case.id in identifiers]
    digests = case_digests([(case, len(dataset.channels)) for case in cases], workers=workers)
    return tuple(case.id for case, digest in zip(cases, digests, strict=True) if digest in set(seen))


def _numbered_digest(item: tuple[int, tuple[Case, int]]) -> tuple[int, str]:
    number, (case, channels) = item
    return number, image_digest(read_case(case, channels))
