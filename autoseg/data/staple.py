"""STAPLE: the segmentation that several raters most likely had in mind, and how well each drew it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoseg.data import itk
from autoseg.errors import ConfigurationError
from autoseg.log import counted

_ITERATIONS = 200  # at most; changes usually fade within 20
_UNCHANGED = 1e-5  # of the raters' confusion matrices between two iterations: ITK's own bound


def multi_label_staple(votes: Sequence[np.ndarray], labels: int) -> np.ndarray:
    """Weighs raters by how well they agree with the estimated truth, and estimates the truth by these weights.

    Expectation and maximisation in turn, by ITK's MultiLabelSTAPLE. What surrounds the objects counts: cut the arrays
    to the box of all raters' foreground, or common background makes everybody look equally good.

    Args:
        votes: integers 0..labels - 1 of one shape (Z, Y, X), of at least two raters.
        labels: number of values, background included; at most 65 535.

    Returns:
        uint16 (Z, Y, X); `labels` where two values are equally likely.

    Raises:
        ConfigurationError: fewer than two raters, different shapes, or too many labels.

    Source: Warfield et al. 2004, IEEE TMI 23(7); for several labels Rohlfing et al. 2003, IPMI, LNCS 2732.
    """
    shapes = {array.shape for array in votes}
    if len(votes) < 2 or len(shapes) != 1 or labels > np.iinfo(np.uint16).max:
        raise ConfigurationError(
            "STAPLE needs several arrays of one shape",
            got=f"{counted(len(votes), 'array')}, shapes {sorted(shapes)}, {counted(labels, 'label')}",
            expected="at least two arrays, at most 65 535 labels",
        )
    library = itk.library()
    method = library.MultiLabelSTAPLEImageFilter()
    method.SetNumberOfThreads(1)  # sums in one order: equal votes give equal results
    method.SetLabelForUndecidedPixels(labels)
    method.SetMaximumNumberOfIterations(_ITERATIONS)
    method.SetTerminationUpdateThreshold(_UNCHANGED)
    fused = method.Execute([library.GetImageFromArray(array.astype(np.uint16)) for array in votes])
    result: np.ndarray = library.GetArrayFromImage(fused)
    return result.astype(np.uint16, copy=False)
