"""Draws the pictures of a pretraining from its final weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.tasks.pretraining.batch import ViewBatch
from autoseg.tasks.pretraining.blocks import at_resolution
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.trainer.gallery import Gallery
from autoseg.tasks.pretraining.trainer.options import options_of
from autoseg.tasks.pretraining.trainer.task import PretrainingTask
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.context import FoldContext
from autoseg.training.task import VALIDATION

_SHOWN = 4
_NEAREST = 3
_LONGEST = 160  # pixels of a picture's side
_FEATURES_AT = 2  # stage whose features are shown: fine enough to have a shape, coarse enough to have a meaning


@torch.no_grad()
def draw_gallery(context: FoldContext) -> Gallery:
    """Pictures of the images that were looked at after each round, by the final weights, on the CPU.

    Raises:
        WorkspaceError: the training is not finished.
    """
    weights = load_checkpoint(context.folder.final)["network"]
    task = PretrainingTask(context)
    network = task.network
    assert isinstance(network, PretrainingNetwork)
    network.load_state_dict(weights)
    network.eval()
    own_scale = bool(options_of(context.configuration).parameters.get("normalise"))
    restored: list[np.ndarray] = []
    features: list[np.ndarray] = []
    images: list[np.ndarray] = []
    embeddings, views, cases = [], [], []
    with task.batches(range(0), VALIDATION) as batches:
        for batch in batches:
            online = network(batch)
            if "restored" in online and len(restored) < _SHOWN:
                restored += _triples(batch, online["restored"], own_scale=own_scale)
            if len(features) < _SHOWN:
                stages = network.stages(batch.views[0])
                features += _coloured(stages[min(_FEATURES_AT, len(stages) - 1)], batch.views[0].shape[2:])
                images += [_grey(_middle(view), _middle(view)) for view in batch.views[0]]
            embeddings.append(online["embedding"][0])
            views += [_grey(_middle(view), _middle(view)) for view in batch.views[0]]
            cases += batch.cases
    order = nearest(torch.cat(embeddings), cases, count=_NEAREST)[:_SHOWN]
    return Gallery(
        restored=_stacked(restored[:_SHOWN], (0, 3, 1, 1)),
        neighbours=_stacked([np.stack([views[index] for index in row]) for row in order], (0, 1, 1, 1)),
        names=np.array([[cases[index] for index in row] for row in order], dtype=np.str_),
        features=_stacked(features[:_SHOWN], (0, 1, 1, 3)),
        images=_stacked(images[:_SHOWN], (0, 1, 1)),
    )


def nearest(embeddings: Tensor, cases: Sequence[str], *, count: int) -> list[list[int]]:
    """For the first view of each case, in order: its place and those of the nearest views of other cases.

    By cosine similarity; at most one view per case, at most `count`. Nothing for a single case.

    Args:
        embeddings: (N, F).
        cases: the case of each.
        count: of neighbours.
    """
    directions = functional.normalize(embeddings, dim=1)
    similar = directions @ directions.T
    rows = []
    for case in dict.fromkeys(cases):
        own = cases.index(case)
        row, taken = [own], {case}
        for other in similar[own].argsort(descending=True).tolist():
            if cases[other] not in taken and len(row) <= count:
                row.append(other)
                taken.add(cases[other])
        rows.append(row)
    width = min((len(row) for row in rows), default=1)
    return [row[:width] for row in rows] if width > 1 else []


def _triples(batch: ViewBatch, restored: Tensor, *, own_scale: bool) -> list[np.ndarray]:
    """(3, H, W) per example: seen, restored, original."""
    views = batch.views[0]
    original = batch.extra.get("image", views)
    seen, shown = views, restored.float()
    hidden = batch.extra.get("hidden")
    if hidden is not None:  # only hidden blocks are restored; what was seen is shown as it is
        mask = at_resolution(hidden, views.shape[2:]).unsqueeze(1)
        seen = views.masked_fill(mask, float(views.min()))
        shown = shown if own_scale else torch.where(mask, shown, views)
    rows = []
    for one, two, three in zip(seen, shown, original, strict=True):
        scale = _middle(three)
        parts = (_middle(one), scale), (_middle(two), _middle(two) if own_scale else scale), (scale, scale)
        rows.append(np.stack([_grey(image, by) for image, by in parts]))
    return rows


def _coloured(features: Tensor, size: Sequence[int]) -> list[np.ndarray]:
    """(H, W, 3) per example: principal components of the features of all examples, the strongest as red."""
    values = features.float().movedim(1, -1)
    flat = values.reshape(-1, values.shape[-1])
    flat = flat - flat.mean(0)
    count = min(3, flat.shape[1])
    _, _, axes = torch.linalg.svd(flat, full_matrices=False)
    scores = (flat @ axes[:count].T).reshape(*values.shape[:-1], count)
    if count < 3:
        scores = functional.pad(scores, (0, 3 - count))
    low, high = torch.quantile(scores.reshape(-1, 3)[:100_000], torch.tensor([0.02, 0.98]), dim=0)
    scores = ((scores - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    enlarged = functional.interpolate(scores.movedim(-1, 1), size=tuple(size), mode="nearest")
    pictures = []
    for image in enlarged:
        plane = image[:, image.shape[1] // 2] if image.ndim == 4 else image
        pictures.append(_thinned(np.rint(plane.movedim(0, -1).numpy() * 255).astype(np.uint8)))
    return pictures


def _middle(image: Tensor) -> np.ndarray:
    """The middle slice of the first channel of (C, *space), (H, W)."""
    plane = image[0, image.shape[1] // 2] if image.ndim == 4 else image[0]
    return plane.float().numpy()


def _grey(plane: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """A plane as uint8, black and white at the percentiles 0.5 and 99.5 of another."""
    low, high = np.percentile(scale, (0.5, 99.5))
    return _thinned(np.rint(np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8))


def _thinned(picture: np.ndarray) -> np.ndarray:
    step = -(-max(picture.shape[:2]) // _LONGEST)
    return picture[::step, ::step]


def _stacked(arrays: Sequence[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    return np.stack(arrays) if arrays else np.zeros(empty, np.uint8)
