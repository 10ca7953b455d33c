"""The contract of intensity normalisations."""

from __future__ import annotations

import numpy as np

from autoseg.testing.samples import label_map, statistics
from autoseg.testing.subject import Subject

_SHAPES = ((7, 9, 11), (1, 12, 10))


def check_normalization(subject: Subject) -> None:
    """A normalisation keeps these promises, for volumes and planes of values from 0 to 255.

    - From (array, mask, statistics) it gives finite float32 of the array's shape, the same each time.
    - It takes a mask of no, of some and of all voxels, and None for all.
    - A constant image stays finite.
    """
    for shape in _SHAPES:
        image = np.random.default_rng(3).integers(0, 256, shape).astype(np.float32)
        inside = label_map(shape) > 0
        masks: dict[str, np.ndarray | None] = {
            "no mask": None,
            "a mask": inside,
            "an empty mask": inside & False,
            "a full mask": inside | True,
        }
        for kind, array in (("an image", image), ("a constant image", np.full(shape, 7, np.float32))):
            for words, mask in masks.items():
                where = f"{kind} with {words}"
                given = np.ones(shape, bool) if mask is None else mask
                kept = given.copy()
                first, second = (subject.plugin(array.copy(), mask, statistics(array)) for _ in range(2))
                typed = isinstance(first, np.ndarray) and first.shape == shape and first.dtype == np.float32
                got = f"{getattr(first, 'shape', type(first).__name__)} of {getattr(first, 'dtype', '')}"
                subject.promise(typed, f"float32 {shape} for {where}", got)
                subject.promise(bool(np.isfinite(first).all()), f"finite values for {where}")
                subject.promise(bool(np.array_equal(first, second)), f"the same values each time for {where}")
                subject.promise(bool(np.array_equal(given, kept)), "the mask as it was")
