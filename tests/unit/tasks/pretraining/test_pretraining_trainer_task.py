"""The task of pretraining: what is watched, when it stops, what follows the network, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.errors import ConfigurationError, TrainingError
from autoseg.tasks.pretraining.methods.build import MANY, build_method, build_pretraining_network
from autoseg.tasks.pretraining.trainer.gallery import Gallery
from autoseg.tasks.pretraining.trainer.options import chosen_method, options_of
from autoseg.tasks.pretraining.trainer.pictures import nearest
from autoseg.tasks.pretraining.trainer.task import (
    HEAD_PATIENCE,
    INFORMATION,
    MEASURES,
    PATIENCE,
    PretrainingTask,
    TeacherFollower,
)
from autoseg.tasks.pretraining.watch import look
from tests.unit.tasks.pretraining.blob_images import batch_of, setting


def bare_task() -> PretrainingTask:
    """A task that has only its memory."""
    task = object.__new__(PretrainingTask)
    task._health, task._collapsed, task._uninformed, task._since, task._features = None, 0, 0, 0, 0
    return task


def test_a_training_whose_images_all_look_alike_stops() -> None:
    task, alike = bare_task(), torch.ones(2, 32, 8) + 1e-4 * torch.randn(2, 32, 8)
    for round_number in range(1, PATIENCE + 1):
        assert task.measures(alike)["deviation"] < 0.01
        if round_number < PATIENCE:
            assert task.adapt(torch.nn.Identity(), round_number, None) is False
    with pytest.raises(TrainingError, match="collapsed: the encoder no longer tells images apart"):
        task.adapt(torch.nn.Identity(), PATIENCE, None)


def test_a_training_whose_head_answers_all_alike_stops_after_a_while() -> None:
    task, generator = bare_task(), torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 32, 8, generator=generator)
    task._features = 8
    alike = torch.cat((embeddings, torch.full((2, 32, 4), 0.25)), dim=-1)
    sharp = torch.cat((embeddings, torch.eye(4).repeat(8, 1).expand(2, 32, 4)), dim=-1)
    rounds, steps = HEAD_PATIENCE
    for number, seen in enumerate([alike] * (rounds - 1) + [sharp] + [alike] * (rounds + 3)):
        assert task.measures(seen).keys() == {*MEASURES, INFORMATION}
        task.adapt(torch.nn.Identity(), number, None)  # many rounds, but of few steps
    again = bare_task()
    again.load_state(task.state())
    again._features = 8
    assert again.measures(alike)[INFORMATION] == pytest.approx(0, abs=1e-6)
    again.adapt(torch.nn.Identity(), rounds + steps - 1, None)
    again.measures(alike)
    with pytest.raises(TrainingError, match=f"since step {rounds}: .* its head gives every image the same answer"):
        again.adapt(torch.nn.Identity(), rounds + steps, None)


def test_one_bad_round_does_not_stop_it_and_the_count_is_resumed() -> None:
    task, alike = bare_task(), torch.ones(1, 32, 8)
    spread = torch.randn(1, 32, 8, generator=torch.Generator().manual_seed(0))
    for embeddings in (alike, alike, spread, alike, alike):
        task.measures(embeddings)
        task.adapt(torch.nn.Identity(), 0, None)
    again = bare_task()
    again.load_state(task.state())
    again.measures(alike)
    with pytest.raises(TrainingError):
        again.adapt(torch.nn.Identity(), 0, None)


def test_measures_are_those_of_all_batches_together() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 32, 6, generator=generator)
    parts = []
    for start in (0, 16):
        part = torch.zeros(2, 32, 6)
        part[0, start : start + 16], part[1, start : start + 16] = first[start : start + 16], second[start : start + 16]
        parts.append(part)
    found, expected = bare_task().measures(parts[0] + parts[1]), look(first, second)
    assert found["effective_rank"] == expected.effective_rank
    assert found["alignment"] == expected.alignment


def test_the_teacher_follows_by_its_momentum_and_is_resumed() -> None:
    made = setting()
    method = build_method("byol", made, {"teacher_momentum": 0.75, "hidden": 8, "outputs": 4, "norm": "layer"})
    network = build_pretraining_network(made, method, seed=0)
    follower = TeacherFollower(network, method)
    assert follower.teacher is not None
    before = [weight.clone() for weight in follower.teacher.network.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1.0)
    follower.remember(follower.target(batch_of(method, (24, 24))))
    follower.update(0.0)
    for old, new in zip(before, follower.teacher.network.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)
    other = TeacherFollower(build_pretraining_network(made, method, seed=5), method)
    other.load_state(follower.state())
    assert other.teacher is not None
    for one, two in zip(follower.teacher.network.parameters(), other.teacher.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_dino_s_centre_moves_after_the_step_and_not_before() -> None:
    made = setting()
    options = {"prototypes": 8, "hidden": 8, "bottleneck": 4, "local_views": 1, "centre_momentum": 0.5}
    method = build_method("dino", made, options)
    network = build_pretraining_network(made, method, seed=0)
    follower = TeacherFollower(network, method)
    target = follower.target(batch_of(method, (24, 24)))
    follower.remember(target)
    assert not network.heads["head"].centre.any()
    follower.update(0.0)
    expected = 0.5 * target["logits"].mean((0, 1))
    torch.testing.assert_close(network.heads["head"].centre.flatten(), expected)
    assert follower.teacher is not None
    assert torch.equal(follower.teacher.network.heads["head"].centre, network.heads["head"].centre)


def test_options_choose_method_views_and_batch() -> None:
    configuration = setting().configuration
    chosen = configuration.with_(options={"method": "byol", "batch_size": 6, "parameters": {"outputs": 5}})
    made, method = chosen_method(chosen, ("CT",))
    assert (made.samples, made.views.disregards[:4], method.momentum) == (6, "pose", 0.996)
    assert chosen_method(chosen, ("CT",))[0].views != chosen_method(chosen, ("T1",))[0].views
    other = configuration.with_(options={"views": "mr"})
    assert chosen_method(other, ("CT",))[0].views == chosen_method(chosen, ("T1",))[0].views
    assert chosen_method(configuration.with_(options={"method": "simclr"}), ("CT",))[0].samples == MANY
    assert chosen_method(configuration.with_(options={}), ("CT",))[0].samples == configuration.batch_size
    large = configuration.with_(patch_size=(2048, 2048), options={"method": "simclr"})
    assert chosen_method(large, ("CT",))[0].samples == max(2, configuration.batch_size)
    with pytest.raises(ConfigurationError, match="did you mean 'method'"):
        options_of(configuration.with_(options={"methd": "byol"}))
    with pytest.raises(ConfigurationError, match="did you mean 'outputs'"):
        chosen_method(chosen.with_(options={"method": "byol", "parameters": {"output": 5}}), ("CT",))


def test_neighbours_are_of_other_cases_and_in_order() -> None:
    angles = torch.deg2rad(torch.tensor([0.0, 1.0, 10.0, 90.0, 30.0]))
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    rows = nearest(embeddings, ["a", "a", "b", "c", "d"], count=2)
    assert rows == [[0, 2, 4], [2, 1, 4], [3, 4, 2], [4, 2, 1]]
    assert nearest(embeddings, ["a"] * 5, count=2) == []


def test_a_gallery_comes_back_as_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 5, 6), (0, 1, 1, 1), (2, 5, 6, 3), (2, 5, 6))
    restored, neighbours, features, images = (rng.integers(0, 255, shape, dtype=np.uint8) for shape in shapes)
    gallery = Gallery(restored, neighbours, np.zeros((0, 1), np.str_), features, images)
    gallery.save(tmp_path / "pictures.npz")
    found = Gallery.load(tmp_path / "pictures.npz")
    assert np.array_equal(found.restored, restored)
    assert np.array_equal(found.features, features)
    assert len(found.neighbours) == 0
