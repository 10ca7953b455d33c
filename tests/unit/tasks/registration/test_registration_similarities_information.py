"""Mutual information, correlation ratio and MINE against scikit-learn, group means and normal distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor

from autoseg.errors import ConfigurationError, RegistrationError
from autoseg.tasks.registration.similarities import parzen
from autoseg.tasks.registration.similarities.correlation_ratio import correlation_ratio
from autoseg.tasks.registration.similarities.mine import mine
from autoseg.tasks.registration.similarities.mutual_information import mutual_information, normalized_mutual_information

LEVELS, BINS = 6, 33
"""Six levels of grey lie six bins apart, each in the middle of a bin, so that no two windows touch the same bin."""

WINDOW = np.array([1, 4, 1]) / 6
"""The cubic B-spline at the middle of its bin and at the two beside it."""


def grey_values() -> tuple[np.ndarray, np.ndarray]:
    """Two dependent arrays (600,) of levels 0..5."""
    rng = np.random.default_rng(0)
    fixed = rng.integers(0, LEVELS, 600)
    warped = np.where(rng.random(600) < 0.6, (2 * fixed + 1) % LEVELS, rng.integers(0, LEVELS, 600))
    return fixed, warped


def image(levels: np.ndarray) -> Tensor:
    """(1, 20, 30) with the levels spread over 0..1."""
    return torch.from_numpy(levels / (LEVELS - 1)).reshape(1, 20, 30)


def entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def normal_pair(correlation: float, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two arrays (1, count) of normally distributed values with a correlation."""
    one, noise = torch.randn(2, 1, count, generator=torch.Generator().manual_seed(seed))
    return one, correlation * one + math.sqrt(1 - correlation**2) * noise


def test_mutual_information_of_grey_levels_is_that_of_scikit_learn() -> None:
    fixed, warped = grey_values()
    loss = mutual_information(bins=BINS)(image(fixed), image(warped))
    assert float(loss) == pytest.approx(-mutual_info_score(fixed, warped), abs=1e-6)


def test_mutual_information_does_not_depend_on_which_grey_stands_for_which() -> None:
    fixed, warped = grey_values()
    expected = float(mutual_information(bins=BINS)(image(fixed), image(warped)))
    other = np.random.default_rng(1).permutation(LEVELS)
    assert float(mutual_information(bins=BINS)(image(fixed), image(other[warped]))) == pytest.approx(expected)
    assert float(mutual_information(bins=BINS)(image(other[fixed]), image(warped))) == pytest.approx(expected)


def test_mutual_information_hardly_depends_on_a_monotone_map_of_smooth_values() -> None:
    one, other = (values.sigmoid() for values in normal_pair(0.8, 50_000))
    measured = [float(mutual_information(bins=64)(one, changed)) for changed in (other, other**1.5, other.sqrt())]
    assert measured[1:] == pytest.approx([measured[0]] * 2, abs=0.02)


def test_normalised_mutual_information_is_the_ratio_of_entropies() -> None:
    fixed, warped = grey_values()
    joint = np.histogram2d(fixed, warped, bins=LEVELS)[0]
    spread = entropy(WINDOW)  # what a window adds to the entropy of levels that it keeps apart
    ratio = (entropy(joint.sum(0)) + entropy(joint.sum(1)) + 2 * spread) / (entropy(joint.ravel()) + 2 * spread)
    loss = normalized_mutual_information(bins=BINS)(image(fixed), image(warped))
    assert float(loss) == pytest.approx(-ratio, abs=1e-6)
    same = normalized_mutual_information(bins=BINS)(image(fixed), image(fixed))
    assert -2 < float(same) < float(loss) < -1


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_mutual_information_of_normal_values_is_the_analytic_one(correlation: float) -> None:
    measure = mutual_information(bins=64, value_range=(-4, 4))
    expected = 0.5 * math.log(1 - correlation**2)
    assert float(measure(*normal_pair(correlation, 100_000))) == pytest.approx(expected, abs=0.025)


def test_weights_of_voxels_count_like_repetitions() -> None:
    fixed, warped = grey_values()
    weights = np.random.default_rng(2).integers(0, 3, 600)
    again = np.repeat(fixed, weights), np.repeat(warped, weights)
    mask = torch.from_numpy(weights / 2).reshape(20, 30)
    loss = mutual_information(bins=BINS)(image(fixed), image(warped), mask)
    assert float(loss) == pytest.approx(-mutual_info_score(*again), abs=1e-6)


def test_chunks_change_neither_value_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, warped = torch.rand(2, 1, 700, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for chunk in (1 << 14, 64):
        monkeypatch.setattr(parzen, "_CHUNK", chunk)
        moving = warped.clone().requires_grad_()
        loss = mutual_information()(fixed, moving)
        results.append((loss.detach(), torch.autograd.grad(loss, moving)[0]))
    torch.testing.assert_close(results[0], results[1])


def test_the_graph_of_mutual_information_holds_a_few_numbers_a_voxel() -> None:
    voxels, held = 20_000, []

    def note(tensor: Tensor) -> Tensor:
        held.append(tensor.untyped_storage().nbytes() // tensor.element_size())
        return tensor

    one, other = (values.sigmoid() for values in normal_pair(0.5, voxels))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        mutual_information()(one, other.requires_grad_())
    assert sum(held) < 8 * voxels  # windows over all bins would be 32 or 1024 a voxel


def test_values_beyond_the_range_count_as_its_ends() -> None:
    fixed, warped = grey_values()
    within, beyond = image(warped), image(warped).clone()
    beyond[within == 1] = 3.0
    beyond[within == 0] = -3.0
    for factory in (mutual_information, normalized_mutual_information):
        torch.testing.assert_close(factory()(image(fixed), beyond), factory()(image(fixed), within))


def test_the_correlation_ratio_is_the_variance_left_within_levels() -> None:
    levels, _ = grey_values()
    noise = np.random.default_rng(3).normal(0, 0.1, 600)
    values = np.sin(2.0 * levels) + noise
    within = sum(values[levels == level].var() * (levels == level).mean() for level in range(LEVELS))
    warped = torch.from_numpy(values).reshape(1, 20, 30)
    loss = correlation_ratio(bins=BINS)(image(levels), warped)
    assert float(loss) == pytest.approx(within / values.var(), rel=1e-9)


def test_the_correlation_ratio_takes_any_function_but_not_its_inverse() -> None:
    levels, _ = grey_values()
    folded = image(np.abs(levels - 3) * 5 // 3)
    assert float(correlation_ratio(bins=BINS)(image(levels), folded)) == pytest.approx(0, abs=1e-9)
    assert float(correlation_ratio(bins=BINS)(folded, image(levels))) > 0.5


@pytest.mark.parametrize("options", [{"bins": 4}, {"value_range": (1.0, 1.0)}])
def test_histograms_without_bins_or_range_are_refused(options: dict[str, object]) -> None:
    for factory in (mutual_information, normalized_mutual_information, correlation_ratio):
        with pytest.raises(ConfigurationError, match="a histogram needs"):
            factory(**options)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_mine_learns_the_mutual_information_of_normal_values(correlation: float) -> None:
    """Within 0.06 nats of 0 and 0.83, from 20 000 pairs in 400 steps of 1000 draws."""
    fixed, warped = normal_pair(correlation, 20_000)
    estimate = mine(hidden=(32, 32), samples=1000, seed=1)
    optimizer = torch.optim.Adam(estimate.parameters(), lr=5e-3)
    for _ in range(400):
        optimizer.zero_grad()
        estimate(fixed, warped).backward()
        optimizer.step()
    with torch.no_grad():
        learned = float(estimate.bound(*(values.T for values in normal_pair(correlation, 20_000, seed=7))))
    assert learned == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.06)


def test_mine_draws_evenly_from_the_mask() -> None:
    similarity = mine(samples=40_000)
    weights = torch.tensor([0.0, 1.0, 0.5, 0.0, 0.5, 0.0])
    drawn = torch.bincount(similarity._draw(weights, masked=True), minlength=6) / 40_000
    torch.testing.assert_close(drawn, weights / 2, atol=0.01, rtol=0)
    drawn = torch.bincount(similarity._draw(torch.ones(5), masked=False), minlength=5) / 40_000
    torch.testing.assert_close(drawn, torch.full((5,), 0.2), atol=0.01, rtol=0)


def test_mine_is_what_its_seed_says_whatever_the_global_generator() -> None:
    fixed, warped = normal_pair(0.5, 500)
    losses = []
    for seed in (4, 4, 5):
        torch.rand(3)
        losses.append(float(mine(seed=seed)(fixed, warped).detach()))
    assert losses[0] == losses[1] != losses[2]


def test_mine_takes_all_channels_of_a_voxel_as_one_sample() -> None:
    similarity = mine(channels=3, hidden=(7,))
    assert [tuple(one.shape) for one in similarity.parameters()] == [(7, 6), (7,), (1, 7), (1,)]
    with pytest.raises(RegistrationError, match="channels"):
        similarity(torch.rand(1, 4, 4), torch.rand(1, 4, 4))
    with pytest.raises(ConfigurationError, match="statistics network"):
        mine(channels=0)
