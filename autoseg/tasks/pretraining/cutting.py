"""Views from the voxels of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from autoseg.batches.augment.affine import sample_affine
from autoseg.batches.augment.policy import Policy
from autoseg.batches.augment.transform import Sample, patch_box
from autoseg.tasks.pretraining.views import Crop, View, around


def region_of(views: Sequence[View]) -> Crop:
    """The box of the image that these views are cut from, to be read once."""
    return around([view.crop if _copies(view) else view.reach for view in views])


def cut(image: np.ndarray, region: Crop, view: View, policy: Policy | None = None) -> Tensor:
    """One view: float32 (C, *view.size), in memory of its own.

    Turned and scaled by linear interpolation; a view that does neither is copied voxel by voxel. Then the values are
    changed by the parameters that the view has for the policy's transforms, and axes are mirrored.

    Args:
        image: float32 (C, *region.size), 0 beyond the image.
        region: where it lies; it holds the view (`region_of`).
        view: what to show.
        policy: the transforms that `view.values` has parameters of; None leaves the values as they are.
    """
    box = view.crop if _copies(view) else view.reach
    offset = [a - b for a, b in zip(box.start, region.start, strict=True)]
    index = (slice(None), *(slice(first, first + n) for first, n in zip(offset, box.size, strict=True)))
    part = torch.from_numpy(np.ascontiguousarray(image[index], dtype=np.float32))
    labels = torch.zeros((1, *box.size), dtype=torch.int16)  # the transforms are made for images with labels
    if _copies(view):
        sample = Sample(part.clone(), labels)
    else:
        centre = tuple(c - first for c, first in zip(view.crop.centre, box.start, strict=True))
        sample = Sample(*sample_affine(part, labels, np.asarray(view.matrix), centre, view.size, clamp=False))
    if policy is not None and view.values:
        sample = policy.apply(sample, view.values, patch_box(view.size), view.size)
    return sample.image.flip([axis + 1 for axis in view.flips]) if view.flips else sample.image


def _copies(view: View) -> bool:
    return view.crop.size == view.size and np.array_equal(np.asarray(view.matrix), np.eye(len(view.size)))
