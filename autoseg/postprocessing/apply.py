"""Carrying out a decided post-processing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoseg.postprocessing.choose import Decision, step_values
from autoseg.postprocessing.components import keep_largest


def apply(labels: np.ndarray, decision: Decision, foreground: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Applies the steps of a decision in their order.

    Args:
        labels: integer array (Z, Y, X), training values; it is not changed.
        decision: from `choose.choose` or a run's postprocessing.json.
        foreground: name -> training values of each label or region, as when the decision was made.

    Returns:
        An array of the same shape and type; `labels` itself if there is nothing to do.

    Raises:
        ConfigurationError: a step for a label that does not exist.
    """
    for step in decision.steps:
        labels = keep_largest(labels, step_values(step, foreground))
    return labels
