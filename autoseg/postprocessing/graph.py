"""A prediction as a small graph, on which removing components is arithmetic instead of image processing.

A node is a connected component of voxels of one label; an edge joins two nodes that touch. Whatever labels a later
step takes together, its components are connected sets of nodes, so each step is exact and no image is needed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cc3d
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from autoseg.errors import ImageError
from autoseg.postprocessing.components import CONNECTIVITY, label_components


@dataclass(frozen=True)
class ComponentGraph:
    """One predicted case and its agreement with the reference. N nodes, E touching pairs, reference values 0..R-1.

    Attributes:
        values: label of each node, (N,); 0 once a step has removed it.
        sizes: voxels of each node, (N,), ignored ones too.
        overlaps: voxels of each node by reference value, (N, R), ignored ones left out.
        edges: touching nodes, (E, 2).
        reference: voxels of the whole image by reference value, (R,); background (0) and ignored ones left out.
    """

    values: np.ndarray
    sizes: np.ndarray
    overlaps: np.ndarray
    edges: np.ndarray
    reference: np.ndarray

    def keep_largest(self, values: Sequence[int]) -> ComponentGraph:
        """The graph of `components.keep_largest(prediction, values)`."""
        inside = np.isin(self.values, list(values))
        if np.count_nonzero(inside) < 2:
            return self
        joined = self.edges[inside[self.edges].all(axis=1)]
        count = len(self.values)
        adjacency = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), shape=(count, count))
        _, component = connected_components(adjacency, directed=False)
        sizes = np.bincount(component, weights=np.where(inside, self.sizes, 0))
        dropped = inside & (sizes[component] < sizes.max())
        return replace(self, values=np.where(dropped, 0, self.values)) if dropped.any() else self

    def dice(self, values: Sequence[int]) -> float | None:
        """Dice of the union of some labels; None if prediction and reference both lack them."""
        predicted = self.overlaps[np.isin(self.values, list(values))].sum(axis=0)
        wanted = [value for value in dict.fromkeys(values) if value < len(self.reference)]
        both = int(predicted.sum() + self.reference[wanted].sum())
        return 2 * int(predicted[wanted].sum()) / both if both else None

    def dice_of(self, foreground: Mapping[str, Sequence[int]]) -> dict[str, float | None]:
        """Dice of each label or region by name."""
        return {name: self.dice(values) for name, values in foreground.items()}


def component_graph(prediction: np.ndarray, reference: np.ndarray, ignore: int | None = None) -> ComponentGraph:
    """The graph of one case, from one labelling of its components.

    Args:
        prediction, reference: integer arrays of one shape (Z, Y, X), training values; negative values of the
            reference (outside the region looked at) are background.
        ignore: the reference's value of voxels without annotation; they connect components but are not scored.

    Raises:
        ImageError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ImageError(
            "prediction and reference have different shapes", got=prediction.shape, expected=reference.shape
        )
    components = label_components(prediction)
    inside = components > 0
    node, truth = components[inside].astype(np.intp) - 1, np.maximum(reference[inside], 0).astype(np.intp)
    everything = np.bincount(reference[reference > 0])
    count, classes = int(node.max(initial=-1)) + 1, max(1, len(everything))
    totals = np.zeros(classes, np.int64)
    totals[: len(everything)] = everything
    overlaps = np.bincount(node * classes + truth, minlength=count * classes).reshape(count, classes)
    sizes = overlaps.sum(axis=1)
    if ignore is not None and ignore < classes:
        overlaps[:, ignore] = totals[ignore] = 0
    values = np.zeros(count, np.int64)
    values[node] = prediction[inside]
    touching = sorted(cc3d.region_graph(components, connectivity=CONNECTIVITY)) if count > 1 else []
    edges = np.asarray(touching, np.intp).reshape(-1, 2) - 1
    return ComponentGraph(values, sizes, overlaps, edges, totals)
