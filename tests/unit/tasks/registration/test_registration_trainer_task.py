"""The scores of a registration's training, and the choice of the regulariser's weight after it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from registration_runs import learned, plan_of

from autoseg.data.dataset import Case
from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.trainer import trainer as room
from autoseg.tasks.registration.trainer.task import AGREEMENT, RegistrationTask, correlation, learned_plan
from autoseg.tasks.registration.trainer.trainer import RegistrationTrainer, choose_weight, method
from autoseg.training.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from autoseg.training.context import FoldContext, traits_of


def task(label: str | None = "label.nii.gz", annotated: tuple[str, ...] | None = None) -> RegistrationTask:
    plan = plan_of(learned())
    case = Case(
        id="a", images=(Path("image.nii.gz"),), label=None if label is None else Path(label), annotated=annotated
    )
    context = SimpleNamespace(
        plan=plan, configuration=plan.configurations["registration"], config=TrainingConfig(), input_channels=1,
        dataset=SimpleNamespace(training=(case,)),
    )  # fmt: skip
    return RegistrationTask(cast(FoldContext, context))


def pairs(seed: int = 0, channels: int = 1) -> PairBatch:
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn((2, channels, 16, 16, 16), generator=generator) for _ in range(2)]
    labels = [torch.randint(0, 3, (2, 16, 16, 16), generator=generator) for _ in range(2)]
    return PairBatch(images[0], images[1], None, None, labels[0], labels[1])


def test_correlation_is_pearsons_over_the_voxels_of_both_images() -> None:
    batch, flow = pairs(channels=2), torch.zeros((2, 3, 16, 16, 16))
    expected = [
        np.mean([np.corrcoef(batch.fixed[b, c].flatten(), batch.moving[b, c].flatten())[0, 1] for c in range(2)])
        for b in range(2)
    ]
    assert correlation(batch, flow).tolist() == pytest.approx(expected, abs=1e-5)
    mask = torch.zeros((2, 16, 16, 16), dtype=torch.bool)
    mask[:, 3:9] = True
    masked = correlation(PairBatch(batch.fixed, batch.moving, mask, mask), flow)
    inner = np.corrcoef(batch.fixed[0, 0, 3:9].flatten(), batch.moving[0, 0, 3:9].flatten())[0, 1]
    other = np.corrcoef(batch.fixed[0, 1, 3:9].flatten(), batch.moving[0, 1, 3:9].flatten())[0, 1]
    assert float(masked[0]) == pytest.approx((inner + other) / 2, abs=1e-5)
    flat = PairBatch(torch.ones_like(batch.fixed), batch.moving)
    assert correlation(flat, flow).tolist() == [0.0, 0.0]


def test_scores_are_dice_of_warped_labels_and_without_labels_the_correlation() -> None:
    one, batch = task(), SimpleNamespace(data=pairs())
    with torch.no_grad():
        loss, counts = one.validation(one.network.eval(), cast(Any, batch))
    assert loss.ndim == 0
    fixed, moving = batch.data.fixed_labels.numpy(), batch.data.moving_labels.numpy()
    # untrained, the network moves nothing by as much as half a voxel
    for name, value in (("shell", 1), ("core", 2)):
        overlap = ((fixed == value) & (moving == value)).sum()
        expected = 2 * overlap / ((fixed == value).sum() + (moving == value).sum())
        assert one.scores(counts)[name] == pytest.approx(expected)
    assert one.scores(torch.zeros((3, 2))) == {"shell": None, "core": None}
    bare = task(label=None)
    assert bare.labels == task(annotated=("shell",)).labels == (AGREEMENT,)  # what was not looked for may be there
    with torch.no_grad():
        _, summed = bare.validation(bare.network.eval(), cast(Any, batch))
    found = correlation(batch.data, torch.zeros((2, 3, 16, 16, 16))).clamp(min=0).mean()
    assert bare.scores(summed + summed)[AGREEMENT] == pytest.approx(float(found), abs=1e-3)


def test_the_method_is_adam_with_a_cosine_unless_the_user_says_otherwise() -> None:
    configuration = plan_of(learned(learning_rate=3e-4)).configurations["registration"]
    usual = method(configuration, TrainingConfig(), 1000)
    assert usual.optimizer is not None
    assert (usual.optimizer.name, usual.optimizer.rate, usual.optimizer.weight_decay) == ("adamw", 3e-4, 0.0)
    assert usual.schedule is not None
    assert usual.schedule.name == "cosine"
    own = TrainingConfig(optimizer=OptimizerConfig(), schedule=ScheduleConfig())
    assert method(configuration, own, 1000) == own


def test_options_are_the_plans_with_the_users_over_them() -> None:
    configuration = plan_of(learned()).configurations["registration"]
    assert learned_plan(configuration) == learned()
    assert learned_plan(configuration.with_(options={**configuration.options, "levels": 1})).levels == 1
    with pytest.raises(ConfigurationError, match="did you mean 'levels'"):
        learned_plan(configuration.with_(options={"level": 1}))


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (lambda weight: (1 - abs(np.log(weight) - np.log(1.0)), 5.0), 1.0),
        (lambda weight: (None, 0.0 if weight > 0.9 else 3.0), 1.0),
        (lambda weight: (None, 2.0), 10.0),
    ],
)
def test_the_weight_is_chosen_by_dice_and_without_labels_by_folds(
    found: Any, chosen: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "mean_dice", lambda model, pairs, cases: found(model.weight))
    model = SimpleNamespace(
        learned=learned(hyper_range=(0.1, 10.0)), with_regularization=lambda weight: SimpleNamespace(weight=weight)
    )
    assert choose_weight(cast(Any, model), [], {}).weight == pytest.approx(chosen)


def test_what_the_stages_are_told() -> None:
    traits = traits_of(RegistrationTrainer)
    assert (traits.task, traits.planner, traits.needs_labels) == ("registration", "registration", False)
    assert traits_of(object()).task == "segmentation"
