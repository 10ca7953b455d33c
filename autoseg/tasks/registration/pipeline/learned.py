"""A trained run as a way of registering: loaded once, used for any number of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoseg.data.image import Image
from autoseg.errors import ConfigurationError, WorkspaceError
from autoseg.inference.model import runtime_of, trained_folds
from autoseg.plan.record import Plan
from autoseg.tasks.registration.methods import RegistrationResult
from autoseg.tasks.registration.trainer.model import RegistrationModel
from autoseg.tasks.registration.trainer.trainer import TASK, load_model
from autoseg.tasks.registration.transforms import Affine
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.runtime import find_device
from autoseg.workspace import ALL_DATA, Run


@dataclass(frozen=True)
class LearnedRegistration:
    """The network of a run.

    Attributes:
        model: with all that it takes to use it.
        fold: whose network it is.
    """

    model: RegistrationModel
    fold: str

    @classmethod
    def load(
        cls, run: str | Path, *, fold: str | None = None, device: str = "auto", regularization: float | None = None
    ) -> LearnedRegistration:
        """The network of a run that `plan-and-train --trainer registration` made.

        Args:
            run: the run folder.
            fold: number of the fold, or "all"; None takes the network of all data if it is trained, else the first.
            device: "auto", "cpu", "cuda", "mps".
            regularization: weight of the regulariser, for a network that was trained for a range of them; None takes
                the one that was chosen on validation pairs.

        Raises:
            WorkspaceError: the run is not trained.
            ConfigurationError: a run of another task, or a weight that the network was not trained for.
        """
        folder = Run(Path(run))
        plan = Plan.load(folder.require(folder.plan, f"autoseg plan-and-train DATASET --trainer {TASK} --out {run}"))
        if plan.task != TASK:
            raise ConfigurationError(
                "the run's model does not register images",
                where=folder.root,
                got=f"a model for {plan.task}",
                expected=f"a model for {TASK}",
                remedy=f"train one with `autoseg plan-and-train DATASET --trainer {TASK} --out RUN`",
            )
        folds = {name: trained_folds(folder, name) for name in plan.configurations}
        name = next((name for name, trained in folds.items() if trained), next(iter(folds)))
        trained = folds[name]
        chosen = fold or (ALL_DATA if ALL_DATA in trained else next(iter(trained), "0"))
        if chosen not in trained:
            raise WorkspaceError(
                f"{name} has no trained fold {chosen}",
                where=folder.root,
                got=f"trained folds: {', '.join(trained) or 'none'}",
                remedy=f"run `autoseg train {folder.root} --configuration {name} --fold {chosen}`",
            )
        runtime = runtime_of(load_checkpoint(trained[chosen].final)["runtime"], find_device(device))
        model = load_model(plan, name, trained[chosen], runtime)
        return cls(model if regularization is None else model.with_regularization(regularization), chosen)

    @property
    def similarity(self) -> str:
        """Name of the similarity that the network was trained by."""
        return self.model.learned.similarity

    def register(
        self, fixed: Image, moving: Image, *, linear: Affine | None = None, instance_iterations: int | None = None
    ) -> RegistrationResult:
        """Registers two images.

        Args:
            fixed, moving, linear, instance_iterations: as of `registration.trainer.model.RegistrationModel.register`.
        """
        return self.model.register(fixed, moving, linear=linear, instance_iterations=instance_iterations)
