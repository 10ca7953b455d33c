"""Which trainer a plan is for, and what the trainer asks of the stages around it."""

from __future__ import annotations

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.plan.record import PRETRAINING, Plan
from autoseg.records import unknown_name
from autoseg.training.config import TrainingConfig
from autoseg.training.context import Traits, traits_of


def trainer_of(plan: Plan, wanted: str | None) -> str:
    """The trainer's name: as asked, else that of the plan's task.

    Raises:
        ConfigurationError: an unknown trainer, or one for another task than the plan's.
    """
    name = plan.task if wanted is None else wanted
    traits = traits_of(plugins.resolve("trainer", name))
    if traits.task != plan.task:
        planner = traits.planner or "default"
        raise ConfigurationError(
            f"the trainer {name!r} does not fit the plan",
            got=f"a plan for {plan.task}, made by the planner {plan.planner!r}",
            expected=f"a plan for {traits.task}",
            remedy="pretrain with `autoseg pretrain DATASET... --out OTHER`, or leave out --trainer"
            if traits.task == PRETRAINING
            else f"plan with `autoseg plan RUN --planner {planner}`, or leave out --trainer",
        )
    return name


def check_options(trainer: str, config: TrainingConfig) -> None:
    """Refuses options that the trainer does not have, before any work.

    Raises:
        ConfigurationError: the first such option.
    """
    known = traits_of(plugins.resolve("trainer", trainer)).options
    for name in config.options:
        if name not in known:
            raise unknown_name(f"option of the trainer {trainer}", name, known, where=f"training.options.{name}")


def task_traits(plan: Plan) -> Traits:
    """What the trainer of the plan's task asks of the stages around it."""
    return traits_of(plugins.resolve("trainer", plan.task))


def named_traits(trainer: str | None) -> Traits:
    """The same of a trainer that the user names; the usual ones if none is named."""
    return Traits() if trainer is None else traits_of(plugins.resolve("trainer", trainer))
