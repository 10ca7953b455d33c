"""The contracts of transforms, and of augmentations, which are policies made of them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from autoseg.batches.augment.policy import build_policy, build_transform
from autoseg.batches.augment.transform import Cropping, Sample, Transform
from autoseg.data.labels import OUTSIDE
from autoseg.plan.record import TransformPlan
from autoseg.testing.samples import DIMENSIONS, LABELS, blobs, label_map, small_configuration
from autoseg.testing.subject import Subject

_KEYS = 12
_SHAPES = {2: (14, 17), 3: (6, 13, 16)}


def check_transform(subject: Subject, **options: Any) -> None:
    """A transform keeps these promises, in 2D and 3D; one of batchgenerators' is taken as the policy takes it.

    - Drawing reads no voxel and takes all randomness from the generator that it is given: the same key gives the same
      parameters, or None.
    - Parameters can be sent to another process. Applying the same ones to the same sample gives the same result, also
      where the sample is part of a larger array.
    - The result is float32 (C, *space) and int16 (L, *space) of the sample's shape and finite, with no label but those
      of the sample, background and OUTSIDE.
    - One that crops (`Cropping`) asks for a window no smaller than the patch, and makes a patch of exactly its size of
      the box that it asks for.

    Args:
        subject: the plug-in.
        options: of the transform.
    """
    transform = build_transform(TransformPlan(name=subject.name, options=options))
    subject.promise(isinstance(transform, Transform), "draw and apply", type(transform).__name__)
    for dimension in DIMENSIONS:
        shape = (2, *_SHAPES[dimension])
        applied = 0
        for key in range(_KEYS):
            drawn = [transform.draw(np.random.default_rng(key), shape) for _ in range(2)]
            equal = pickle.dumps(drawn[0]) == pickle.dumps(drawn[1])
            subject.promise(equal, "the same parameters for the same key", f"{drawn[0]} and {drawn[1]}")
            if isinstance(transform, Cropping):
                _check_crop(subject, transform, drawn[0], shape[1:])
            if drawn[0] is None:
                continue
            applied += 1
            one, same, strided = (
                transform.apply(_sample(dimension, strided=strided), drawn[0]) for strided in (False, False, True)
            )
            for result in (one, strided):
                _check_result(subject, result, _sample(dimension))
            equal = torch.equal(one.image, same.image) and torch.equal(one.labels, same.labels)
            subject.promise(equal, "the same result for the same parameters")
            alike = torch.allclose(one.image, strided.image, atol=1e-4) and torch.equal(one.labels, strided.labels)
            subject.promise(alike, "a result that does not depend on how the sample lies in memory")
        subject.promise(applied > 0, f"something to do for one of {_KEYS} samples at least")


def check_augmentation(subject: Subject) -> None:
    """An augmentation keeps these promises, for 2D and 3D configurations.

    - From (configuration, labels) it gives `TransformPlan`s, the same each time, whose plug-ins exist and take their
      options.
    - The policy that they make gives patches of the patch's size, with labels that the image had.
    - Nothing is mirrored along other axes than the configuration's `mirror_axes`.
    """
    for dimension in DIMENSIONS:
        for mirrored in ((), tuple(range(dimension))):
            configuration = small_configuration(dimension, mirror_axes=mirrored)
            plans, again = (tuple(subject.plugin(configuration, LABELS)) for _ in range(2))
            wrong = [type(one).__name__ for one in plans if not isinstance(one, TransformPlan)]
            subject.promise(not wrong, "TransformPlans", ", ".join(wrong))
            subject.promise(plans == again, "the same transforms each time")
            axes = {axis for plan in plans if plan.name == "mirror" for axis in plan.options.get("axes", range(3))}
            subject.promise(axes <= set(mirrored), f"mirroring along the axes {mirrored} alone", sorted(axes))
            _check_policy(subject, plans, configuration.patch_size)


def _check_policy(subject: Subject, plans: Sequence[TransformPlan], patch: tuple[int, ...]) -> None:
    policy = build_policy(plans)
    for key in range(_KEYS):
        parameters = policy.draw(np.random.default_rng(key), (2, *patch))
        box = policy.box(parameters, patch)
        sample = Sample(
            torch.from_numpy(blobs(box.size, channels=2)), torch.from_numpy(label_map(box.size)[None].copy())
        )
        result = policy.apply(sample, parameters, box, patch)
        shapes = tuple(result.image.shape), tuple(result.labels.shape)
        subject.promise(shapes == ((2, *patch), (1, *patch)), f"patches of {patch}", shapes)
        values = {int(value) for value in result.labels.unique()}
        subject.promise(values <= {OUTSIDE, 0, 1, 2}, "labels that the image had", sorted(values))
        subject.promise(bool(torch.isfinite(result.image).all()), "finite intensities")


def _sample(dimension: int, *, strided: bool = False) -> Sample:
    """Two channels and two label maps; strided they are a part of larger arrays, as a patch is."""
    shape = _SHAPES[dimension]
    image = torch.from_numpy(blobs(shape, channels=2))
    labels = torch.from_numpy(np.stack([label_map(shape, seed=seed) for seed in range(2)]))
    if strided:
        image = torch.nn.functional.pad(image, (1, 1) * dimension)[(slice(None), *(slice(1, -1),) * dimension)]
        labels = torch.nn.functional.pad(labels, (1, 1) * dimension)[(slice(None), *(slice(1, -1),) * dimension)]
    return Sample(image, labels)


def _check_result(subject: Subject, result: Sample, before: Sample) -> None:
    for name in ("image", "labels"):
        got, expected = getattr(result, name), getattr(before, name)
        same = got.shape == expected.shape and got.dtype == expected.dtype
        subject.promise(
            same,
            f"{name} of shape {tuple(expected.shape)} and {expected.dtype}",
            f"{tuple(got.shape)} of {got.dtype}",
        )
    subject.promise(bool(torch.isfinite(result.image).all()), "finite intensities")
    values = {int(value) for value in result.labels.unique()} - {int(value) for value in before.labels.unique()}
    subject.promise(values <= {0, OUTSIDE}, "no label that the sample did not have", sorted(values))


def _check_crop(subject: Subject, transform: Cropping, parameters: Any, patch: tuple[int, ...]) -> None:
    window = transform.window(patch)
    large = len(window) == len(patch) and all(outer >= inner for outer, inner in zip(window, patch, strict=True))
    subject.promise(large, f"a window no smaller than the patch {patch}", window)
    box = transform.box(parameters, patch)
    sample = Sample(torch.from_numpy(blobs(box.size, channels=2)), torch.from_numpy(label_map(box.size)[None].copy()))
    result = transform.crop(sample, parameters, box, patch)
    shapes = tuple(result.image.shape), tuple(result.labels.shape)
    subject.promise(shapes == ((2, *patch), (1, *patch)), f"a patch of {patch} from the box it asks for", shapes)
