"""The contract of methods of pretraining."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import torch

from autoseg.tasks.pretraining.batch import ViewBatch, collate
from autoseg.tasks.pretraining.methods.build import build_method, build_pretraining_network
from autoseg.tasks.pretraining.presets import preset
from autoseg.tasks.pretraining.protocol import PretrainingMethod, PretrainingSetting
from autoseg.tasks.pretraining.teacher import MomentumTeacher
from autoseg.testing.samples import DIMENSIONS, blobs, small_configuration
from autoseg.testing.subject import Subject

_CHANNELS, _SAMPLES, _STEPS = 2, 4, 3


def check_pretraining(subject: Subject, **options: Any) -> None:
    """A method of pretraining keeps these promises, with encoders for planes and volumes.

    - Made for a `PretrainingSetting`, it draws an example without reading a voxel, the same for the same key, as
      something that can be sent to another process; from the voxels of the drawn region it makes views of whole blocks.
    - The network gives "embedding", float32 (views, B, features) without gradient, among its outputs.
    - The loss is a finite scalar, every weight that is trained has a gradient, and three steps on one batch lower it.
    - A method with a teacher states its momentum, in [0, 1].
    - Images smaller than the patch are no error.

    Args:
        subject: the plug-in.
        options: of the method.
    """
    for dimension in DIMENSIONS:
        setting = PretrainingSetting(
            configuration=small_configuration(dimension, batch_size=_SAMPLES), channels=_CHANNELS, views=preset("mr")
        )
        method = build_method(subject.name, setting, options)
        momentum = method.momentum
        subject.promise(momentum is None or 0 <= momentum <= 1, "a momentum in [0, 1] or None", momentum)
        batches = [_batch(subject, method, (24,) * dimension, seed) for seed in (0, 0, 1)]
        _check_keys(subject, batches)
        for view in batches[0].views:
            whole = all(n % block == 0 for n, block in zip(view.shape[2:], setting.block, strict=True))
            subject.promise(whole, f"views of whole blocks of {setting.block} voxels", tuple(view.shape))
        _check_training(subject, method, setting, batches[0])
        _batch(subject, method, (12,) * dimension, 0)


def _batch(subject: Subject, method: PretrainingMethod, shape: tuple[int, ...], seed: int) -> ViewBatch:
    examples = []
    for index in range(_SAMPLES):
        image = blobs(shape, channels=_CHANNELS, seed=index)
        drawn, again = (method.draw(np.random.default_rng((seed, index)), shape) for _ in range(2))
        subject.promise(pickle.dumps(drawn) == pickle.dumps(again), "the same example for the same key")
        box = drawn.region
        margin = max(max(0, -a, a + n - m) for a, n, m in zip(box.start, box.size, shape, strict=True))
        padded = np.pad(image, ((0, 0), *[(margin, margin)] * len(shape)))
        place = tuple(slice(a + margin, a + margin + n) for a, n in zip(box.start, box.size, strict=True))
        examples.append(method.make(padded[(slice(None), *place)], drawn))
    return collate(examples, [f"case_{index}" for index in range(_SAMPLES)])


def _check_keys(subject: Subject, batches: list[ViewBatch]) -> None:
    one, same, other = batches
    for view in one.views:
        subject.promise(view.dtype == torch.float32, "float32 views", view.dtype)
    equal = all(map(torch.equal, one.views, same.views))
    equal &= all(torch.equal(values, same.extra[name]) for name, values in one.extra.items())
    subject.promise(equal, "the same views for the same key")
    shapes = [[tuple(view.shape) for view in batch.views] for batch in (one, other)]
    subject.promise(shapes[0] == shapes[1], "views of the same sizes for every key", shapes)


def _check_training(subject: Subject, method: PretrainingMethod, setting: PretrainingSetting, batch: ViewBatch) -> None:
    """Some steps on one batch, against the targets that the teacher has at first."""
    network = build_pretraining_network(setting, method, seed=0)
    teacher = None if method.momentum is None else MomentumTeacher(network, method.momentum)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4)
    with torch.no_grad():
        first = {} if teacher is None else teacher.network(batch, teacher=True)
    losses = []
    for step in range(_STEPS + 1):
        online = network(batch)
        loss = method.loss(online, first, batch)
        subject.promise(loss.shape == (), "a scalar loss", tuple(loss.shape))
        losses.append(float(loss.detach()))
        subject.promise(math.isfinite(losses[-1]), "a finite loss", losses[-1])
        if step == _STEPS:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            target = {} if teacher is None else teacher.network(batch, teacher=True)
            method.settle(network, target)
        if teacher is not None:
            teacher.update(step / _STEPS)
    lacking = [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    subject.promise(not lacking, "a gradient for every trained weight", f"none for {', '.join(lacking)}")
    subject.promise(losses[-1] < losses[0], "a loss that steps lower", losses)
    embedding = online.get("embedding")
    subject.promise(embedding is not None, "an output 'embedding'", ", ".join(online))
    assert embedding is not None
    right = embedding.ndim == 3 and embedding.shape[1] == _SAMPLES and embedding.dtype == torch.float32
    subject.promise(right, "an embedding (views, B, features) of float32", f"{tuple(embedding.shape)}")
    subject.promise(not embedding.requires_grad, "an embedding without gradient")
