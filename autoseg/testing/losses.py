"""The contract of losses."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from autoseg.errors import ConfigurationError
from autoseg.losses.marginal import merged
from autoseg.losses.target import Target
from autoseg.testing.samples import DIMENSIONS, label_map, random_images
from autoseg.testing.subject import ContractBroken, Subject

_IGNORE = 3
_REGIONS = ((1, 2), (2,))
_SURE = 8.0


def check_loss(subject: Subject) -> None:
    """A loss keeps these promises, in 2D and 3D, with `batch_dice` and without, whether voxels are ignored or not.

    - It takes logits (B, outputs, *space) and a `Target` to a finite scalar, the same each time, and changes neither.
    - Its gradient is finite, and zero at voxels that are ignored.
    - Logits that are right cost less than wrong ones.
    - It is finite for logits of half precision, for labels of background alone, and where all voxels are ignored.
    - Where a class was not looked for in a sample (`losses.marginal`), it is finite, and with a finite gradient.

    It may be for plain labels (logits of background and each label), for regions, or for both; what it is not for it
    refuses, plain labels by a `ConfigurationError`.
    """
    served = False
    for dimension, masked, regions in product(DIMENSIONS, (False, True), ((), _REGIONS)):
        target = _target(dimension, masked=masked, regions=regions)
        for batch_dice in (False, True):
            try:
                value = _value(subject, random_images(_shape(target)), target, batch_dice)
            except ContractBroken:
                raise
            except ConfigurationError:
                continue
            except Exception:
                if regions:  # which many losses are not made for
                    continue
                raise
            served = True
            subject.promise(bool(torch.isfinite(value)), f"a finite loss in {dimension}D", value)
            _check_values(subject, target, batch_dice)
            _check_gradient(subject, target, batch_dice)
            _check_partly_annotated(subject, target, batch_dice)
    subject.promise(served, "a loss of plain labels or of regions", "both are refused")


def _target(dimension: int, *, masked: bool, regions: tuple[tuple[int, ...], ...]) -> Target:
    shape = (9, 10, 11)[:dimension]
    labels = torch.stack([torch.from_numpy(label_map(shape, seed=seed))[None] for seed in range(2)])
    if masked:
        labels[:, :, :3] = _IGNORE
    return Target.from_labels(labels, ignore=_IGNORE if masked else None, regions=regions)


def _shape(target: Target) -> tuple[int, ...]:
    outputs = len(target.regions) or _IGNORE
    return (len(target.labels), outputs, *target.labels.shape[2:])


def _value(subject: Subject, logits: Tensor, target: Target, batch_dice: bool) -> Tensor:
    value = subject.plugin(logits, target, batch_dice=batch_dice)
    kept = isinstance(value, Tensor) and value.shape == () and value.is_floating_point()
    subject.promise(kept, "a scalar tensor", f"{type(value).__name__} {tuple(getattr(value, 'shape', ()))}")
    assert isinstance(value, Tensor)
    return value


def _right(target: Target) -> Tensor:
    """Logits that are sure of the reference."""
    outputs = _shape(target)[1]
    classes = torch.arange(outputs).view(1, -1, *(1,) * (target.labels.ndim - 2))
    members = target.one_hot() if target.regions else target.labels == classes
    return torch.where(members, _SURE, -_SURE)


def _check_values(subject: Subject, target: Target, batch_dice: bool) -> None:
    logits, labels = random_images(_shape(target)), target.labels.clone()
    kept = logits.clone()
    first, second = (_value(subject, logits, target, batch_dice) for _ in range(2))
    subject.promise(torch.equal(first, second), "the same loss each time", f"{first} and {second}")
    unchanged = torch.equal(logits, kept) and torch.equal(target.labels, labels)
    subject.promise(unchanged, "logits and target as they were")
    right = _value(subject, _right(target), target, batch_dice)
    wrong = _value(subject, -_right(target), target, batch_dice)
    subject.promise(bool(right < wrong), "a lower loss for right logits than for wrong ones", f"{right} and {wrong}")
    subject.promise(bool(right < first), "a lower loss for right logits than for random ones", f"{right} and {first}")
    half = _value(subject, logits.bfloat16(), target, batch_dice)
    subject.promise(bool(torch.isfinite(half)), "a finite loss of bfloat16 logits", half)
    empty = Target(torch.zeros_like(labels), target.mask, target.regions)
    nothing = Target(torch.zeros_like(labels), torch.zeros_like(labels, dtype=torch.bool), target.regions)
    for words, other in (("background alone", empty), ("ignored voxels alone", nothing)):
        value = _value(subject, logits, other, batch_dice)
        subject.promise(bool(torch.isfinite(value)), f"a finite loss of {words}", value)


def _check_gradient(subject: Subject, target: Target, batch_dice: bool) -> None:
    logits = random_images(_shape(target)).requires_grad_()
    value = _value(subject, logits, target, batch_dice)
    subject.promise(value.requires_grad, "a loss that can be differentiated")
    (gradient,) = torch.autograd.grad(value, logits)
    subject.promise(bool(torch.isfinite(gradient).all()), "a finite gradient")
    subject.promise(bool(gradient.any()), "a gradient that is not zero everywhere")
    if target.mask is not None:
        ignored = gradient.where(~target.mask, 0).abs().max()
        subject.promise(float(ignored) == 0, "no gradient at ignored voxels", f"up to {float(ignored):.3g}")


def _check_partly_annotated(subject: Subject, target: Target, batch_dice: bool) -> None:
    logits = random_images(_shape(target)).requires_grad_()
    looked_for = torch.tensor([[True, False], [True, True]])
    channels, merged_target = merged(logits, replace(target, annotated=looked_for))
    value = _value(subject, channels, merged_target, batch_dice)
    subject.promise(bool(torch.isfinite(value)), "a finite loss where a class was not looked for", value)
    (gradient,) = torch.autograd.grad(value, logits)
    subject.promise(bool(torch.isfinite(gradient).all()), "a finite gradient where a class was not looked for")
