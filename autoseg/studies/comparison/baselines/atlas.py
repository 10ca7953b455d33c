"""Atlases: training cases are laid on the target, and their labels come with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from autoseg import plugins
from autoseg.data.atlas_alignment import (
    Pyramid,
    affine,
    centre,
    deform,
    pyramid,
    similarity,
    warp_labels,
)
from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case
from autoseg.data.fusion import majority_vote
from autoseg.data.image import Image
from autoseg.data.itk import Alignment
from autoseg.errors import ConfigurationError, ImageError
from autoseg.processes import unordered
from autoseg.studies.comparison.baselines.examples import read_example
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation

ATLASES = 10
"""Atlases that vote, unless `options["atlases"]` says otherwise."""

DEMONS = "simpleitk"
"""How the voters are deformed, unless `options["registration"]` names a plug-in of kind "registration"."""

_CANDIDATES = 2  # times the atlases that vote, registered affinely; the others are passed over after centring
_FEWEST_CANDIDATES = 10
_LOOKED_AT = 1_000_000  # about so many voxels of a case tell how well its labels explain a channel
_PATIENCE = 5.0  # seconds of reading before worker processes are started

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Atlas:
    """A training case: what registration sees of it, a channel each, and how its labels part the intensities.

    Attributes:
        pyramids: one per channel.
        contrast: share of a channel's variance that the labels explain (the correlation ratio), 0 to 1.
    """

    case: Case
    pyramids: tuple[Pyramid, ...]
    contrast: tuple[float, ...]


@dataclass(frozen=True)
class FittedAtlases:
    """Atlases ready to be laid on a target (see `multi_atlas`)."""

    atlases: tuple[Atlas, ...]
    channel: int
    voters: int
    dataset: Dataset
    workers: int
    registration: str = DEMONS

    def predict(self, case: Case) -> Segmentation:
        """Labels of the most similar atlases, deformed onto the case; with several, their vote and disagreement.

        Raises:
            ImageError: an image cannot be read, or no atlas has the case's dimension (2D or 3D).
        """
        image = read_case(case, len(self.dataset.channels))
        target = pyramid(image, self.channel)
        chosen = self._most_similar(target, case)
        votes = self._spread(partial(self._vote, target), chosen)
        if self.voters > 1:
            fused = majority_vote(votes, len(self.dataset.labels.values))
            return Segmentation(fused.labels, fused.disagreement)
        (labels,) = votes
        return Segmentation(np.where(labels < len(self.dataset.labels.values), labels, 0))

    def _most_similar(self, target: Pyramid, case: Case) -> list[tuple[Atlas, Alignment]]:
        """The voters with their affine alignment: the best after centring are registered, the best of these vote."""
        dimension = target.geometry.dimension
        usable = [one for one in self.atlases if one.pyramids[self.channel].geometry.dimension == dimension]
        if not usable:
            raise ImageError(
                "no training case has the dimension of this image",
                where=case.id,
                got=f"{dimension}D",
                expected="2D (one slice) and 3D images not mixed",
            )
        started = self._spread(partial(self._start, target), usable)
        count = max(_FEWEST_CANDIDATES, _CANDIDATES * self.voters)
        candidates = [(usable[i], started[i][1]) for i in _best([score for score, _ in started], count)]
        aligned = self._spread(partial(self._affine, target), candidates)
        return [(candidates[i][0], aligned[i][1]) for i in _best([score for score, _ in aligned], self.voters)]

    def _start(self, target: Pyramid, atlas: Atlas) -> tuple[float, Alignment]:
        source = atlas.pyramids[self.channel]
        alignment = centre(target, source)
        return similarity(target, source, alignment), alignment

    def _affine(self, target: Pyramid, candidate: tuple[Atlas, Alignment]) -> tuple[float, Alignment]:
        source = candidate[0].pyramids[self.channel]
        alignment = affine(target, source, candidate[1])
        return similarity(target, source, alignment), alignment

    def _vote(self, target: Pyramid, chosen: tuple[Atlas, Alignment]) -> np.ndarray:
        atlas, alignment = chosen
        source = atlas.pyramids[self.channel]
        scheme = self.dataset.labels
        whole = Image(np.broadcast_to(np.uint8(0), (1, *source.shape)), source.geometry)
        values = read_case_labels(atlas.case, whole, scheme).array[0]
        labels = scheme.encode(values).astype(np.min_scalar_type(len(scheme.values)))
        if self.registration != DEMONS:
            # Resolved here: other baselines need no PyTorch, and their processes start faster without.
            transfer = plugins.resolve("label transfer", "registration")
            moved: np.ndarray = transfer(
                Image(labels[None], source.geometry), source.fine, target.fine, target.geometry, target.shape,
                method=self.registration,
            )  # fmt: skip
            return moved
        return warp_labels(labels, target, source, deform(target, source, alignment))

    def _spread(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Results in the order of the items; ITK works outside Python's lock, so that threads suffice."""
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(function, items))


def single_atlas(context: BaselineContext) -> FittedAtlases:
    """Labels of the one training case that is most similar after affine registration, deformed onto the image.

    As `multi_atlas` with one atlas; the early form of segmentation by registration (Bajcsy and Kovacic, 1989,
    doi:10.1016/S0734-189X(89)80014-3).

    Raises:
        ImageError, ConfigurationError: a training case cannot be read.
    """
    return _fit(context, 1)


def multi_atlas(context: BaselineContext) -> FittedAtlases:
    """Vote of the training cases that are most similar (ten, or `atlases`), each deformed onto the image.

    Every training case is centred on the target; the most similar by correlation are registered affinely, and the
    most similar of these by demons. The majority of their labels decides, and the share of atlases that disagree is
    the disagreement map. Of several channels the one is registered whose intensities the labels of the training cases
    explain best. Sources: Heckemann et al., 2006, doi:10.1016/j.neuroimage.2006.05.061 (vote); Aljabar et al., 2009,
    doi:10.1016/j.neuroimage.2009.02.018 (choice by similarity); Vercauteren et al., 2009,
    doi:10.1016/j.neuroimage.2008.10.040 (demons).

    Args:
        context: `options["atlases"]` is how many vote; all training cases where there are fewer.
            `options["registration"]` names a plug-in of kind "registration" that lays the voters on the image in place
            of SimpleITK's demons.

    Raises:
        ConfigurationError: `atlases` is not a positive whole number, or `registration` is not known.
        ImageError: a training case cannot be read.
    """
    asked = context.options.get("atlases", ATLASES)
    if not isinstance(asked, int) or asked < 1:
        raise ConfigurationError("is not a number of atlases", where="atlases", got=asked, expected="1, 2, 3, ...")
    return _fit(context, asked)


def _fit(context: BaselineContext, voters: int) -> FittedAtlases:
    read = partial(_read_atlas, dataset=context.dataset)
    unsorted = unordered(read, context.training, "atlases", workers=context.workers, patience=_PATIENCE)
    atlases = tuple(sorted(unsorted, key=lambda atlas: atlas.case.id))
    channel = int(np.mean([atlas.contrast for atlas in atlases], axis=0).argmax())
    chosen = context.options.get("registration", DEMONS)
    if chosen != DEMONS:
        plugins.resolve("registration", chosen)  # a name that is not known is said before the first case
    return FittedAtlases(atlases, channel, min(voters, len(atlases)), context.dataset, context.workers, chosen)


def _read_atlas(case: Case, dataset: Dataset) -> Atlas:
    example = read_example(case, dataset)
    channels = range(len(example.image.array))
    step = max(1, example.labels.size // _LOOKED_AT)
    labels = example.labels.ravel()[::step]
    annotated = labels < len(dataset.labels.values)
    values = (channel.ravel()[::step][annotated] for channel in example.image.array)
    contrast = tuple(_correlation_ratio(one, labels[annotated]) for one in values)
    return Atlas(case, tuple(pyramid(example.image, i) for i in channels), contrast)


def _correlation_ratio(values: np.ndarray, labels: np.ndarray) -> float:
    """Share of the variance of `values` that lies between the labels; 0 for values that are all alike, or none."""
    if not values.size:
        return 0.0
    values = values.astype(np.float64)
    total = ((values - values.mean()) ** 2).sum()
    counts = np.bincount(labels)
    means = np.bincount(labels, values) / np.maximum(counts, 1)
    return float((counts * (means - values.mean()) ** 2).sum() / total) if total > 0 else 0.0


def _best(scores: list[float], count: int) -> list[int]:
    """Places of the largest scores, best first; equal ones in order."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])[:count]
