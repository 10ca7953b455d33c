"""A run that is planned: its data set, plan and splits, read once and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from autoseg.data.dataset import Dataset
from autoseg.data.splits import Split, load_splits
from autoseg.errors import ConfigurationError
from autoseg.pipeline.stages import load_dataset, load_plan
from autoseg.plan.record import Plan
from autoseg.workspace import ALL_DATA, Run


@dataclass(frozen=True)
class PlannedRun:
    """What the stages after planning read of a run folder."""

    run: Run
    dataset: Dataset
    plan: Plan

    @classmethod
    def load(cls, run: Run) -> PlannedRun:
        """A run's data set and plan.

        Raises:
            WorkspaceError: one of them is missing; the command that makes it is named.
        """
        return cls(run, load_dataset(run), load_plan(run))

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """The folds.

        Raises:
            WorkspaceError: the run has no splits.
        """
        path = self.run.require(self.run.splits, "autoseg fingerprint DATASET --out RUN")
        return tuple(load_splits(path, self.dataset.identifiers))

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds."""
        return tuple(str(number) for number in range(len(self.splits)))

    def split(self, fold: str) -> Split:
        """The cases of a fold; those of "all" are trained on together and none is validated.

        Raises:
            ConfigurationError: there is no such fold.
        """
        if fold == ALL_DATA:
            return Split(train=tuple(sorted(self.dataset.identifiers)), validation=())
        if fold not in self.folds:
            raise ConfigurationError(
                f"there is no fold {fold!r}",
                where=self.run.splits,
                expected=f"0 to {len(self.splits) - 1}, or all-data",
            )
        return self.splits[int(fold)]
