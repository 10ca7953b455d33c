"""The momentum teacher: closed form, schedule, buffers, checkpoints."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from autoseg.tasks.pretraining.teacher import MEMORY, MomentumTeacher, momentum_at


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_the_average_in_closed_form() -> None:
    network = _network().double()
    first = network[0].weight.detach().clone()
    teacher, momentum = MomentumTeacher(network, 0.9, final=0.9), 0.9
    seen = []
    for step in range(6):
        with torch.no_grad():
            network[0].weight.normal_(generator=torch.Generator().manual_seed(step))
        seen.append(network[0].weight.detach().clone())
        assert teacher.update(step * 1e-4) == pytest.approx(momentum)  # of a long training
    expected = momentum**6 * first
    for i, weights in enumerate(seen, start=1):
        expected = expected + (1 - momentum) * momentum ** (6 - i) * weights
    torch.testing.assert_close(teacher.network[0].weight, expected)


def test_the_momentum_rises_by_a_cosine() -> None:
    assert momentum_at(0, 0.996) == pytest.approx(0.996)
    assert momentum_at(0.5, 0.996) == pytest.approx(0.998)
    assert momentum_at(1, 0.996) == momentum_at(1.7, 0.996) == 1
    assert momentum_at(1 / 3, 0.9, 1.0) == pytest.approx(1 - 0.1 * 0.75)
    assert np.all(np.diff([momentum_at(p, 0.99) for p in np.linspace(0, 1, 20)]) > 0)


@pytest.mark.parametrize(("steps", "expected"), [(20, 0.5), (100, 0.9), (2500, 0.996), (100_000, 0.996)])
def test_in_a_short_training_it_averages_over_a_share_of_it(steps: int, expected: float) -> None:
    assert MEMORY == 0.1
    teacher = MomentumTeacher(_network(), 0.996, final=0.996)
    late = MomentumTeacher(_network(), 0.996)
    assert teacher.update(1 / steps) == pytest.approx(momentum_at(1 / steps, expected, 0.996))
    for step in range(1, steps + 1):
        last = late.update(step / steps)
    assert last == 1


def test_a_student_that_stands_still_is_reached_within_a_short_training() -> None:
    network, steps = _network(), 60
    teacher = MomentumTeacher(network, 0.996)
    with torch.no_grad():
        network[0].weight.add_(1)
    for step in range(1, steps // 2):
        teacher.update(step / steps)
    left = (network[0].weight - teacher.network[0].weight).detach()
    assert left.max() < 0.1


def test_a_teacher_with_momentum_one_stays_and_with_zero_follows() -> None:
    network = _network()
    still, close = MomentumTeacher(network, 1.0), MomentumTeacher(network, 0.0, final=0.0)
    with torch.no_grad():
        network[0].weight.add_(1)
    still.update(0)
    close.update(0)
    torch.testing.assert_close(still.network[0].weight, network[0].weight - 1)
    assert torch.equal(close.network[0].weight, network[0].weight)


def test_buffers_are_copied_and_nothing_has_a_gradient() -> None:
    network = _network()
    teacher = MomentumTeacher(network, 0.99)
    network(torch.randn(8, 3)).sum().backward()
    assert not torch.equal(teacher.network[1].running_mean, network[1].running_mean)
    teacher.update(0.1)
    assert torch.equal(teacher.network[1].running_mean, network[1].running_mean)
    assert int(teacher.network[1].num_batches_tracked) == 1
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert teacher.network.training


def test_a_resumed_teacher_goes_on_with_the_same_bits() -> None:
    network = _network()
    whole = MomentumTeacher(network, 0.9)
    for step in range(2):
        with torch.no_grad():
            network[0].weight.add_(step + 1)
        whole.update(step / 4)
    state = copy.deepcopy(whole.state())
    resumed = MomentumTeacher(network, 0.9)
    resumed.load_state(state)
    for step in range(2, 4):
        with torch.no_grad():
            network[0].weight.add_(step + 1)
        whole.update(step / 4)
        resumed.update(step / 4)
    for mine, other in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(mine, other)
