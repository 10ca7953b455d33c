"""The contract of samplers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from autoseg.batches.sampling import AdaptiveSampler, Draw, SamplingRules
from autoseg.testing.samples import SmallStore
from autoseg.testing.subject import Subject

_DRAWS = 40
_STORES = {
    "volumes": ({"one": (14, 20, 24), "two": (6, 30, 9), "none": (12, 12, 12)}, (8, 16, 16), (10, 20, 20)),
    "planes": ({"one": (1, 40, 30), "two": (1, 9, 50), "none": (1, 20, 20)}, (1, 16, 16), (1, 22, 22)),
}
"""Cases with their shapes, the patch and the window, both (Z, Y, X)."""


def check_sampler(subject: Subject) -> None:
    """A sampler keeps these promises, for volumes and planes, some smaller than the patch or without foreground.

    - Made from (store, rules), it draws a `Draw` for a sample of a batch: one of the rules' cases, and a whole voxel
      around which the window shows a part of the image.
    - All randomness comes from the generator that it is given: the same key gives the same place, whatever was drawn
      before and by whichever sampler of the same rules.
    - A place that is said to be chosen for a foreground name shows that label in its window.
    - One that adapts (`AdaptiveSampler`) takes places where the model errs, and its state, which can be saved as a
      checkpoint is, makes another sampler draw as it does.
    """
    for kind, (shapes, patch, window) in _STORES.items():
        store = SmallStore(shapes, without_foreground=("none",))
        for fraction, weights in ((1 / 3, {}), (1.0, {"lesion": 3.0}), (0.0, {})):
            rules = SamplingRules(
                cases=store.cases,
                patch_size=patch,
                window_size=window,
                batch_size=3,
                foreground_fraction=fraction,
                class_weights=weights,
            )
            draws = list(_draws(subject.plugin(store, rules)))
            for draw in draws:
                _check_draw(subject, draw, store, rules, kind)
            again = list(_draws(subject.plugin(store, rules)))
            subject.promise(draws == again, f"the same places for the same keys ({kind})")
            sampler = subject.plugin(store, rules)
            backwards = [_keyed(sampler, number) for number in reversed(range(_DRAWS))]
            subject.promise(draws == backwards[::-1], "a place that does not depend on what was drawn before")
            if isinstance(sampler, AdaptiveSampler):
                _check_adaption(subject, sampler, subject.plugin(store, rules), store, rules)


def _keyed(sampler: Any, number: int) -> Draw:
    draw: Draw = sampler.draw(np.random.default_rng((5, number)), number % 3)
    return draw


def _draws(sampler: Any) -> Iterator[Draw]:
    return (_keyed(sampler, number) for number in range(_DRAWS))


def _check_draw(subject: Subject, draw: Draw, store: SmallStore, rules: SamplingRules, kind: str) -> None:
    subject.promise(isinstance(draw, Draw), "a Draw", type(draw).__name__)
    subject.promise(draw.case in rules.cases, f"one of the cases {', '.join(rules.cases)}", draw.case)
    whole = len(draw.centre) == 3 and all(isinstance(voxel, int | np.integer) for voxel in draw.centre)
    subject.promise(whole, "a centre of three whole numbers (z, y, x)", draw.centre)
    start = [centre - n // 2 for centre, n in zip(draw.centre, rules.window_size, strict=True)]
    _, labels = store.read_box(draw.case, start, rules.window_size)
    subject.promise(bool((labels >= 0).any()), f"a window that shows a part of the image ({kind})", draw)
    if draw.forced is not None:
        known = draw.forced in store.names and bool((labels == store.names[draw.forced]).any())
        subject.promise(known, f"a window that shows {draw.forced!r}, for which the place was chosen", draw)


def _check_adaption(
    subject: Subject, sampler: AdaptiveSampler, other: AdaptiveSampler, store: SmallStore, rules: SamplingRules
) -> None:
    sampler.update({"one": np.argwhere(store.labels["one"] == 2)[:5], "none": np.empty((0, 3), np.int32)})
    draws = list(_draws(sampler))
    for draw in draws:
        _check_draw(subject, draw, store, rules, "after an update")
    stream = io.BytesIO()
    torch.save(sampler.state(), stream)
    stream.seek(0)
    other.load_state(torch.load(stream, weights_only=True))
    subject.promise(draws == list(_draws(other)), "the same places after its state was loaded into another sampler")
