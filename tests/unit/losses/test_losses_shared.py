"""A batch that processes share: each has the loss of the whole batch, and its part of the gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autoseg import plugins
from autoseg.losses.deep_supervision import deep_supervision
from autoseg.losses.marginal import marginal
from autoseg.losses.target import Target

PARTS = (slice(0, 2), slice(2, 3))
REGIONS = ((1, 2), (2,))
STRIDES = ((1, 1), (2, 2))

# The hardest tenth is taken in each process, as the loss says.
NAMES = [
    name for name in plugins.names("loss") if name not in ("dice-binary-cross-entropy", "dice-top-k-cross-entropy")
]


def batch(outputs: int, ignore: int | None) -> tuple[list[Tensor], Tensor]:
    """Logits of three samples at two resolutions, and labels that differ much from sample to sample."""
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn((3, outputs, size, size), generator=generator, dtype=torch.float64) for size in (12, 6)]
    labels = torch.randint(0, 3, (3, 1, 12, 12), generator=generator)
    labels[0, :, 3:] = 0
    if ignore is not None:
        labels[1, :, :7] = ignore
    return [level.float() for level in logits], labels


def shared(loss: Callable[..., Tensor], logits: list[Tensor], target: Callable[..., Target]) -> list[Tensor]:
    """The losses of the parts of a batch, each process adding to its sums what the others have."""
    asked: list[list[Tensor]] = []

    def listen(values: Tensor) -> Tensor:
        asked[-1].append(values.detach())
        return values

    for part in PARTS:
        asked.append([])
        loss([level[part] for level in logits], target(part, listen))
    losses = []
    for own, part in enumerate(PARTS):
        others = iter([asked[1 - own][i] for i in range(len(asked[own]))])
        losses.append(
            loss([level[part] for level in logits], target(part, lambda values, sums=others: values + next(sums)))
        )
    return losses


@pytest.mark.parametrize("annotated", [None, torch.tensor([[True, False], [True, True], [False, True]])])
@pytest.mark.parametrize("ignore", [None, 3])
@pytest.mark.parametrize("regions", [(), REGIONS])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_each_process_has_the_loss_of_the_whole_batch(
    name: str, batch_dice: bool, regions: tuple, ignore: int | None, annotated: Tensor | None
) -> None:
    single = plugins.resolve("loss", name)
    loss = deep_supervision(marginal(lambda logits, target: single(logits, target, batch_dice=batch_dice)), STRIDES)
    logits, labels = batch(2 if regions else 3, ignore)

    def target(part: slice, across: Callable[[Tensor], Tensor] | None = None) -> Target:
        looked_for = None if annotated is None else annotated[part]
        return Target.from_labels(labels[part], ignore=ignore, regions=regions, across=across, annotated=looked_for)

    whole = [level.clone().requires_grad_() for level in logits]
    expected = loss(whole, target(slice(None)))
    expected.backward()
    parts = [level.clone().requires_grad_() for level in logits]
    for found in shared(loss, parts, target):
        assert found.item() == pytest.approx(expected.item(), abs=1e-6)
        found.backward()
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-8)
