"""The drawing of a network: sizes against an actual convolution, boxes in a U."""

from __future__ import annotations

import itertools

import pytest
import torch

from autoseg.plan.record import ConfigurationPlan
from autoseg.report.network import BOX_HEIGHT, BOX_WIDTH, draw, stage_sizes


@pytest.mark.parametrize("patch", [(8, 16, 16), (4, 20, 12)])
def test_stage_sizes_are_those_of_convolutions(small_network: ConfigurationPlan, patch: tuple[int, ...]) -> None:
    plan = small_network.with_(patch_size=patch)
    values = torch.zeros(1, 1, *patch)
    for stride, kernel, size in zip(plan.strides, plan.kernel_sizes, stage_sizes(plan), strict=True):
        padding = tuple((k - 1) // 2 for k in kernel)
        values = torch.nn.functional.conv3d(values, torch.zeros(1, 1, *kernel), stride=stride, padding=padding)
        assert tuple(values.shape[2:]) == size


def test_boxes_form_a_u_without_overlap(small_network: ConfigurationPlan) -> None:
    drawing = draw(small_network, channels=1, outputs=3)
    assert len(drawing.encoder) == 3
    assert len(drawing.decoder) == len(drawing.down) == len(drawing.up) == 2
    bottom = drawing.encoder[-1]
    assert bottom.x + BOX_WIDTH / 2 == drawing.width / 2
    for left, right in zip(drawing.encoder, drawing.decoder, strict=False):
        assert left.y == right.y
        assert left.x == drawing.width - right.x - BOX_WIDTH  # mirrored
    for one, other in itertools.combinations([*drawing.encoder, *drawing.decoder], 2):
        assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
    assert all(box.x >= 0 and box.y + BOX_HEIGHT <= drawing.height for box in drawing.encoder)


def test_boxes_tell_features_sizes_and_kernels(small_network: ConfigurationPlan) -> None:
    drawing = draw(small_network, channels=2, outputs=3)
    assert [box.features for box in drawing.encoder] == ["8 features", "16 features", "32 features"]
    assert [box.size for box in drawing.encoder] == ["8 × 16 × 16", "8 × 8 × 8", "4 × 4 × 4"]
    assert drawing.encoder[0].blocks == "2 convs 1 × 3 × 3"
    assert [arrow.text for arrow in drawing.down] == ["1 × 2 × 2", "2 × 2 × 2"]
    assert drawing.input == "input: 2 channels, 8 × 16 × 16"


def test_loss_looks_at_all_but_the_lowest_resolution(small_network: ConfigurationPlan) -> None:
    assert [box.loss for box in draw(small_network, 1, 3).decoder] == [True, False]
    assert not any(box.loss for box in draw(small_network.with_(deep_supervision=False), 1, 3).decoder)
