"""A majority vote on arrays that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data import fusion
from autoseg.data.fusion import majority_vote
from autoseg.errors import ConfigurationError


def row(*values: int) -> np.ndarray:
    return np.array(values, np.int16).reshape(1, 1, -1)


def test_vote_and_disagreement_by_hand() -> None:
    #             all agree, 2 of 3, a draw of three, value 3 abstains once, -1 and 3 leave nobody
    votes = [row(1, 2, 2, 1, 3), row(1, 2, 1, 3, -1), row(1, 0, 0, 2, 3)]
    found = majority_vote(votes, 3)
    np.testing.assert_array_equal(found.labels, row(1, 2, 0, 1, 0))
    assert found.disagreement is not None
    np.testing.assert_allclose(found.disagreement.ravel(), [0, 1 / 3, 2 / 3, 1 / 2, 1])
    assert found.disagreement.dtype == np.float32


def test_order_of_votes_does_not_matter() -> None:
    votes = list(np.random.default_rng(0).integers(0, 4, (5, 4, 5, 6)))
    first, second = majority_vote(votes, 4), majority_vote(votes[::-1], 4)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.disagreement, second.disagreement)


def test_slabs_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = list(np.random.default_rng(1).integers(0, 3, (4, 7, 5, 6)))
    whole = majority_vote(votes, 3)
    monkeypatch.setattr(fusion, "_SLAB_VOXELS", 60)
    slabs = majority_vote(votes, 3)
    np.testing.assert_array_equal(whole.labels, slabs.labels)
    np.testing.assert_array_equal(whole.disagreement, slabs.disagreement)


@pytest.mark.parametrize("votes", [[], [row(1), row(1, 2)]])
def test_no_votes_and_different_shapes_are_refused(votes: list[np.ndarray]) -> None:
    with pytest.raises(ConfigurationError, match="one shape"):
        majority_vote(votes, 2)
