"""Which trainer a plan is for, and what the trainer asks of the stages around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.plan.record import Plan
from autoseg.records import unknown_name
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext, Trainer, Traits, Validates, traits_of


@dataclass(frozen=True)
class NamedTrainer:
    """A plug-in of kind "trainer", resolved."""

    name: str
    make: Callable[[FoldContext], Trainer]

    @property
    def traits(self) -> Traits:
        """What it asks of the stages around a training."""
        return traits_of(self.make)

    @property
    def validates(self) -> bool:
        """Whether its networks are judged on validation cases."""
        return isinstance(self.make, type) and issubclass(self.make, Validates)


def named_trainer(name: str) -> NamedTrainer:
    """The plug-in of that name.

    Raises:
        ConfigurationError: an unknown name.
    """
    return NamedTrainer(name, plugins.resolve("trainer", name))


def trainer_of(plan: Plan, name: str | None = None) -> NamedTrainer:
    """The trainer for a plan: as asked, else that of the plan's task.

    Raises:
        ConfigurationError: an unknown trainer, or one for another task than the plan's.
    """
    trainer = named_trainer(plan.task if name is None else name)
    traits = trainer.traits
    if traits.task == plan.task:
        return trainer
    plan_it = f"plan with `autoseg plan RUN --planner {traits.planner or 'default'}`, or leave out --trainer"
    raise ConfigurationError(
        f"the trainer {trainer.name!r} does not fit the plan",
        got=f"a plan for {plan.task}, made by the planner {plan.planner!r}",
        expected=f"a plan for {traits.task}",
        remedy=traits.begun_by or plan_it,
    )


def check_options(trainer: str, config: TrainingConfig) -> None:
    """Refuses options that the trainer does not have, before any work.

    Raises:
        ConfigurationError: the first such option.
    """
    options = named_trainer(trainer).traits.options
    for name in config.options:
        if name not in options:
            raise unknown_name(f"option of the trainer {trainer}", name, options, where=f"training.options.{name}")


def named_traits(trainer: str | None) -> Traits:
    """The traits of a trainer that the user names; the usual ones if none is named."""
    return Traits() if trainer is None else named_trainer(trainer).traits


def installed_traits(trainer: str | None) -> Traits:
    """The traits of a trainer that a file names; the usual ones where it names none, or none that is installed here."""
    return named_traits(trainer if trainer in plugins.names("trainer") else None)
