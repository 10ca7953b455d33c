"""How sure a model is: the Dice that its own probabilities let expect, and where the networks of the folds disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.data.labels import LabelScheme
from autoseg.inference.sliding_window import Sliding, predict_logits
from autoseg.training.runtime import Runtime

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Integer

_LEAST_VOXELS = 0.5
"""An empty prediction with less expected foreground than this agrees with an absent object: its Dice does not exist."""


class ExpectedDice:
    """The Dice of a prediction that is to be expected if its probabilities are right, a value per label or region.

    For a predicted set of voxels A and probabilities p it is 2 sum_A(p) / (|A| + sum(p)): numerator and denominator of
    Dice, each replaced by its expectation. The expectation of the quotient, with voxels drawn independently, differs
    from it by terms of the order of one over the voxels. As a quality estimate of the whole object it belongs to the
    structure-wise uncertainties of Roy et al. (2018, arXiv:1811.09800), with the network's own probabilities in place
    of Monte-Carlo samples. Networks are often surer than they are right, so a value is calibrated before it is
    believed (`inference.estimate`).

    Slabs of one case are added one after the other; only sums (float64) are kept.

    Args:
        scheme: meaning of the outputs; plain labels have probabilities that sum to 1, regions one each.
    """

    def __init__(self, scheme: LabelScheme) -> None:
        self._foreground, self._regions = scheme.training_foreground, bool(scheme.regions)
        count = len(self._foreground)
        self._inside, self._total, self._voxels = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)

    def add(
        self,
        probabilities: Float[np.ndarray | Tensor, " output *space"],
        labels: Integer[np.ndarray | Tensor, "*space"],
    ) -> None:
        """Adds voxels.

        Args:
            probabilities: (K, ...) floating, K as `scheme.outputs`: labels with background, or regions.
            labels: (...) integer training values 0..K predicted there; they need not be the most probable ones.
        """
        probabilities, labels = np.asarray(probabilities), np.asarray(labels)
        if self._regions:
            self._add_regions(probabilities, labels)
        else:
            self._add_labels(probabilities, labels)

    def add_winners(
        self, labels: Integer[np.ndarray, " voxel"], winner: Float[Tensor, " voxel"], totals: Float[Tensor, " label"]
    ) -> None:
        """Adds voxels that have their most probable label, as sums over them.

        Args:
            labels: (n,) integer training values; not for regions.
            winner: (n,) probability of the label there.
            totals: (K,) sum of each label's probability over these voxels, background first.
        """
        count = len(self._foreground) + 1
        self._inside += np.bincount(labels, winner.numpy(), minlength=count)[1:]
        self._voxels += np.bincount(labels, minlength=count)[1:]
        self._total += totals[1:].numpy()

    def result(self) -> dict[str, float | None]:
        """Name -> expected Dice in 0..1; None where nothing is predicted and less than half a voxel is expected."""
        values: dict[str, float | None] = {}
        for name, inside, total, voxels in zip(self._foreground, self._inside, self._total, self._voxels, strict=True):
            exists = voxels or total >= _LEAST_VOXELS
            values[name] = float(2 * inside / (voxels + total)) if exists else None
        return values

    def _add_labels(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """In one pass whatever the number of labels: a voxel lies in one predicted set only."""
        count = len(self._foreground) + 1
        own = np.take_along_axis(probabilities, labels[None].astype(np.intp, copy=False), axis=0)
        self._inside += np.bincount(labels.ravel(), own.ravel(), minlength=count)[1:]
        self._voxels += np.bincount(labels.ravel(), minlength=count)[1:]
        self._total += probabilities.reshape(count, -1)[1:].sum(axis=1, dtype=np.float64)

    def _add_regions(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        for i, values in enumerate(self._foreground.values()):
            inside = np.isin(labels, values)
            self._inside[i] += probabilities[i][inside].sum(dtype=np.float64)
            self._voxels[i] += np.count_nonzero(inside)
            self._total[i] += probabilities[i].sum(dtype=np.float64)


@torch.inference_mode()
def disagreement(
    networks: Sequence[nn.Module],
    image: Float32[Tensor, "channel z y x"],
    outputs: int,
    sliding: Sliding,
    runtime: Runtime,
    *,
    regions: bool,
) -> tuple[Float32[Tensor, "{outputs} z y x"], Float32[Tensor, "z y x"]]:
    """Mean logits of several networks, and voxel by voxel how much they contradict each other.

    The map is the mutual information between the network and the label, the entropy of the mean probabilities minus
    the mean of the entropies (Houlsby et al. 2011, arXiv:1112.5745): high where each network is sure of something
    else, low where all are unsure alike, as at a blurred border. A single network cannot contradict itself; its map is
    the entropy. With regions, each a question of its own, the map holds the largest of their values: nested regions
    would otherwise count one disagreement several times.

    Args:
        networks, image, outputs, sliding, runtime: as for `sliding_window.predict_logits`; at least one network.
        regions: whether the outputs are regions (a sigmoid each) or labels (one softmax).

    Returns:
        Logits (outputs, Z, Y, X), equal to `predict_logits(networks, ...)` up to rounding, and the map (Z, Y, X) in
        nats, 0 to log(min(networks, labels)); both float32 on the CPU. Memory does not grow with the networks.
    """
    mean = predict_logits(networks[:1], image, outputs, sliding, runtime)
    probabilities, entropies = torch.zeros_like(mean), torch.zeros(mean.shape[1:] if not regions else mean.shape)
    _accumulate(mean, probabilities, entropies, regions)
    for i, network in enumerate(networks[1:], start=2):
        logits = predict_logits((network,), image, outputs, sliding, runtime)
        _accumulate(logits, probabilities, entropies, regions)
        mean += (logits - mean) / i
    result, count = torch.empty(mean.shape[1:]), len(networks)
    for z in range(result.shape[0]):
        own = entropies[..., z, :, :] / count
        if count > 1:
            own = _entropy(probabilities[:, z] / count, regions) - own
        result[z] = own.amax(0) if regions else own
    return mean, result.clamp_(min=0)


def _accumulate(logits: Tensor, probabilities: Tensor, entropies: Tensor, regions: bool) -> None:
    """Adds one network's probabilities and entropies to the sums, slice by slice to hold no second volume of them."""
    for z in range(logits.shape[1]):
        own = logits[:, z].sigmoid() if regions else logits[:, z].softmax(0)
        probabilities[:, z] += own
        entropies[..., z, :, :] += _entropy(own, regions)


def _entropy(probabilities: Tensor, regions: bool) -> Tensor:
    """In nats: of each region's yes or no, (K, Y, X), or of the labels, (Y, X)."""
    entropy = torch.special.entr(probabilities)
    return entropy + torch.special.entr(1 - probabilities) if regions else entropy.sum(0)
