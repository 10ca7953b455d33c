"""Predictions as a small graph, on which removing components is arithmetic instead of image processing.

A node is a connected component of voxels of one label; an edge joins two nodes of a case that touch. Whatever labels a
later step takes together, its components are connected sets of nodes, so each step is exact and no image is needed
again. The graph of many cases is the union of theirs, so that a step costs a few array operations for all together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import cc3d
import numpy as np

from autoseg.data.crop import as_slices, bounding_box
from autoseg.errors import ImageError
from autoseg.postprocessing.components import CONNECTIVITY, label_components


@dataclass(frozen=True)
class ComponentGraph:
    """Predicted cases and their agreement with the references. N nodes, E touching pairs, C cases.

    Attributes:
        values: label of each node, (N,); 0 once a step has removed it.
        cases: case 0..C-1 of each node, (N,).
        sizes: voxels of each node, (N,), ignored ones too.
        overlaps: (M, 3): node, reference value 0..R-1 and the voxels that they share, where there are any; ignored
            voxels are left out.
        edges: touching nodes, (E, 2).
        reference: voxels of each case's image by reference value, (C, R); background (0) and ignored ones left out.
    """

    values: np.ndarray
    cases: np.ndarray
    sizes: np.ndarray
    overlaps: np.ndarray
    edges: np.ndarray
    reference: np.ndarray

    def keep_largest(self, values: Sequence[int]) -> ComponentGraph:
        """The graph of `components.keep_largest(prediction, values)` of every case."""
        inside = np.isin(self.values, list(values))
        first = _first_of_component(len(inside), self.edges[inside[self.edges].all(axis=1)])
        sizes = np.bincount(first[inside], weights=self.sizes[inside], minlength=len(inside))
        largest = np.zeros(len(self.reference))
        np.maximum.at(largest, self.cases, sizes)
        dropped = inside & (sizes[first] < largest[self.cases])
        return replace(self, values=np.where(dropped, 0, self.values)) if dropped.any() else self

    def dice_of(self, foreground: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
        """Dice of each label or region (their union) by name, (C,); NaN where a case has it in neither image."""
        node, truth, shared = self.overlaps.T
        labels, most = self.values[node], max(1, int(self.values.max(initial=0)) + 1)
        count, classes = self.reference.shape
        bins = (self.cases[node] * most + labels) * classes + truth
        voxels = np.bincount(bins, weights=shared, minlength=count * most * classes).reshape(count, most, classes)
        predicted = voxels.sum(axis=2)
        return {name: _dice(voxels, predicted, self.reference, values) for name, values in foreground.items()}


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
    mask = (prediction != 0) | (reference > 0)
    box = as_slices(bounding_box(mask)) if mask.any() else (slice(0, 0),) * 3
    prediction, reference, mask = prediction[box], reference[box], mask[box]
    components = label_components(prediction)
    node, truth = components[mask].astype(np.intp), np.maximum(reference[mask], 0).astype(np.intp)
    count, classes = int(node.max(initial=0)), 1 + int(truth.max(initial=0))
    table = np.bincount(node * classes + truth, minlength=(count + 1) * classes).reshape(count + 1, classes)
    sizes, totals = table[1:].sum(axis=1), table.sum(axis=0)
    totals[0] = 0
    if ignore is not None and ignore < classes:
        table[:, ignore] = totals[ignore] = 0
    nodes, truths = np.nonzero(table[1:])
    values = np.zeros(count + 1, np.int64)
    values[node] = prediction[mask]
    touching = sorted(cc3d.region_graph(components, connectivity=CONNECTIVITY)) if count > 1 else []
    return ComponentGraph(
        values=values[1:],
        cases=np.zeros(count, np.intp),
        sizes=sizes,
        overlaps=np.stack([nodes, truths, table[1:][nodes, truths]], axis=1),
        edges=np.asarray(touching, np.intp).reshape(-1, 2) - 1,
        reference=totals[None],
    )


def union(graphs: Sequence[ComponentGraph]) -> ComponentGraph:
    """The graph of all cases, in their order; of no cases an empty one."""
    classes = max((graph.reference.shape[1] for graph in graphs), default=1)
    moved, nodes, cases = [_empty(classes)], 0, 0
    for graph in graphs:
        wider = ((0, 0), (0, classes - graph.reference.shape[1]))
        numbered = replace(
            graph,
            cases=graph.cases + cases,
            overlaps=graph.overlaps + np.array([nodes, 0, 0]),
            edges=graph.edges + nodes,
            reference=np.pad(graph.reference, wider),
        )
        moved.append(numbered)
        nodes, cases = nodes + len(graph.values), cases + len(graph.reference)
    arrays = {field.name: [getattr(graph, field.name) for graph in moved] for field in fields(ComponentGraph)}
    return ComponentGraph(**{name: np.concatenate(parts) for name, parts in arrays.items()})


def _empty(classes: int) -> ComponentGraph:
    nodes, whole = np.zeros(0, np.int64), np.zeros((0, classes), np.int64)
    return ComponentGraph(nodes, nodes, nodes, np.zeros((0, 3), np.int64), np.zeros((0, 2), np.int64), whole)


def _first_of_component(count: int, edges: np.ndarray) -> np.ndarray:
    """The lowest node of the component of each of `count` nodes, (count,).

    Each node points to a lower one of its component; hooking and jumping in turns (Shiloach and Vishkin 1982, Journal
    of Algorithms 3(1)) ends after about as many rounds as the logarithm of the longest path.
    """
    first = np.arange(count)
    while True:
        lowest = first[edges].min(axis=1)
        for end in edges.T:
            np.minimum.at(first, first[end], lowest)
        first = first[first]
        if (first[edges[:, 0]] == first[edges[:, 1]]).all():
            return first


def _dice(voxels: np.ndarray, predicted: np.ndarray, reference: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Dice (C,) of a union of labels.

    Args:
        voxels: (C, P, R) scored voxels by predicted and reference value.
        predicted: (C, P), their sums.
        reference: (C, R).
        values: of the union.
    """
    ours = [value for value in dict.fromkeys(values) if value < predicted.shape[1]]
    theirs = [value for value in dict.fromkeys(values) if value < reference.shape[1]]
    shared = voxels[:, ours][:, :, theirs].sum(axis=(1, 2))
    both = predicted[:, ours].sum(axis=1) + reference[:, theirs].sum(axis=1)
    return np.divide(2 * shared, both, out=np.full(len(both), np.nan), where=both > 0)
