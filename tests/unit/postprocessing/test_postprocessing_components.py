"""Keeping the largest component, in images and in graphs, against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from autoseg.errors import ConfigurationError, ImageError
from autoseg.postprocessing.apply import apply
from autoseg.postprocessing.choose import Decision, MeanDice
from autoseg.postprocessing.components import keep_largest
from autoseg.postprocessing.graph import ComponentGraph, component_graph, union

STEPS = ((1,), (2,), (3,), (1, 2), (2, 3), (1, 2, 3))


def _reference_keep_largest(labels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """The same by scikit-image, with full connectivity as nnU-Net has it."""
    mask = np.isin(labels, values)
    components = label(mask, connectivity=labels.ndim)
    sizes = np.bincount(components.ravel())[1:]
    kept = np.isin(components, 1 + np.flatnonzero(sizes == sizes.max(initial=0)))
    return np.where(mask & ~kept, 0, labels)


def _sparse(seed: int, shape: tuple[int, int, int] = (5, 12, 11), density: float = 0.08) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 4, shape) * (rng.random(shape) < density)).astype(np.int16)


def _dice(graph: ComponentGraph, values: tuple[int, ...]) -> np.ndarray:
    return graph.dice_of({"these": values})["these"]


@pytest.mark.parametrize("values", [(1,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("shape", [(5, 12, 11), (1, 20, 20)])
@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_image(seed: int, shape: tuple[int, int, int], values: tuple[int, ...]) -> None:
    labels = _sparse(seed, shape)
    np.testing.assert_array_equal(keep_largest(labels, values), _reference_keep_largest(labels, values))


def test_corners_connect_and_gaps_part() -> None:
    labels = np.zeros((3, 6, 6), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 2] = 1  # a diagonal: one component of three
    labels[0, 4, 4] = labels[0, 4, 5] = 1
    kept = keep_largest(labels, (1,))
    assert np.argwhere(kept).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


def test_equal_components_are_all_kept() -> None:
    labels = np.array([[[1, 1, 0, 1, 1, 0, 1]]], np.uint8)
    assert keep_largest(labels, (1,)).tolist() == [[[1, 1, 0, 1, 1, 0, 0]]]


@pytest.mark.parametrize("shape", [(1, 1, 7), (1, 9, 9), (3, 3, 3), (5, 7, 9)])
def test_voxels_packed_as_densely_as_single_voxels_can_be(shape: tuple[int, int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[::2, ::2, ::2] = 1
    np.testing.assert_array_equal(keep_largest(labels, (1,)), labels)


def test_other_labels_and_the_input_stay() -> None:
    labels = np.array([[[1, 1, 0, 1, 2, 0, 2, 2]]], np.uint8)
    before = labels.copy()
    assert keep_largest(labels, (1,)).tolist() == [[[1, 1, 0, 0, 2, 0, 2, 2]]]
    np.testing.assert_array_equal(labels, before)


def test_labels_that_are_absent() -> None:
    labels = np.array([[[0, 2, 0]]], np.int16)
    result = keep_largest(labels, (1,))
    assert result.dtype == labels.dtype
    np.testing.assert_array_equal(result, labels)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_does_not_matter(order: str) -> None:
    labels = _sparse(5)
    ordered = np.asarray(labels, order=order)  # type: ignore[call-overload]
    np.testing.assert_array_equal(keep_largest(ordered, (1, 2)), keep_largest(labels, (1, 2)))
    graph = component_graph(ordered, _sparse(6))
    assert _dice(graph, (1,)) == _dice(component_graph(labels, _sparse(6)), (1,))


@pytest.mark.parametrize("seed", range(25))
def test_the_graph_scores_as_the_images_do(seed: int) -> None:
    """After any steps, a graph's Dice equals that of the image on which the same steps were carried out."""
    rng = np.random.default_rng(seed)
    prediction, reference = _sparse(seed, density=rng.uniform(0.02, 0.6)), _sparse(seed + 1, density=0.5)
    reference[:, 3] = 4  # ignored
    reference[:, 4] = -1  # outside
    graph, image = component_graph(prediction, reference, ignore=4), prediction
    for choice in rng.integers(len(STEPS), size=3):
        values = STEPS[choice]
        graph, image = graph.keep_largest(values), keep_largest(image, values)
    kept = reference != 4
    for values in ((1,), (2,), (3,), (1, 3)):
        ours, theirs = np.isin(image, values) & kept, np.isin(reference, values)
        both = ours.sum() + theirs.sum()
        np.testing.assert_array_equal(_dice(graph, values), [2 * (ours & theirs).sum() / both if both else np.nan])


def test_the_graph_of_many_cases_is_that_of_each() -> None:
    """Whatever is asked of all together is asked of each alone; cases may hold different labels, or none."""
    pairs = [(_sparse(seed, density=0.03 * seed), _sparse(seed + 1, density=0.5)) for seed in range(6)]
    pairs.append((np.minimum(_sparse(8), 1), np.minimum(_sparse(9), 2)))
    graphs = [component_graph(*pair) for pair in pairs]
    together = union(graphs)
    for values in STEPS:
        together, graphs = together.keep_largest(values), [graph.keep_largest(values) for graph in graphs]
        np.testing.assert_array_equal(_dice(together, values), [_dice(graph, values)[0] for graph in graphs])
        assert together.values.tolist() == [value for graph in graphs for value in graph.values]


def test_a_long_chain_of_labels_is_one_component() -> None:
    labels = (1 + np.arange(1000) % 2).astype(np.int16)[None, None]  # each voxel touches others of the other label
    labels[..., 700] = 0
    kept = component_graph(labels, labels).keep_largest((1, 2))
    assert (kept.values > 0).tolist() == [True] * 700 + [False] * 299


def test_a_graph_of_nothing() -> None:
    empty = np.zeros((2, 3, 4), np.uint8)
    graph = component_graph(empty, empty).keep_largest((1,))
    assert np.isnan(_dice(graph, (1,))).tolist() == [True]
    assert _dice(component_graph(empty, empty + 1), (1,)).tolist() == [0]
    assert len(_dice(union([]), (1,))) == 0
    assert len(union([]).keep_largest((1,)).values) == 0


def test_a_graph_of_different_shapes_is_refused() -> None:
    with pytest.raises(ImageError, match="different shapes"):
        component_graph(np.zeros((1, 2, 2), np.uint8), np.zeros((1, 2, 3), np.uint8))


def _decision(*steps: str) -> Decision:
    scores = MeanDice(foreground=None, labels={})
    return Decision(steps=steps, before=scores, after=scores)


def test_apply_carries_out_the_steps_in_order() -> None:
    labels, foreground = _sparse(7, density=0.15), {"a": (1,), "b": (2, 3)}
    result = apply(labels, _decision("largest-component:all-foreground", "largest-component:b"), foreground)
    np.testing.assert_array_equal(result, keep_largest(keep_largest(labels, (1, 2, 3)), (2, 3)))


def test_apply_without_steps_returns_its_input() -> None:
    labels = _sparse(8)
    assert apply(labels, _decision(), {"a": (1,)}) is labels


def test_apply_refuses_unknown_steps() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'largest-component:liver'"):
        apply(_sparse(9), _decision("largest-component:livr"), {"liver": (1,), "lung": (2,)})
