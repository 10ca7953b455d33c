"""A run folder: the one place that knows which file of a run lies where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import WorkspaceError

ALL_DATA = "all"
"""Name of the fold that trains on every case and validates on none."""


@dataclass(frozen=True)
class Fold:
    """Folder of one trained fold of one configuration."""

    root: Path

    @property
    def last(self) -> Path:
        """Checkpoint to resume from."""
        return self.root / "checkpoint_last.pt"

    @property
    def best(self) -> Path:
        """Checkpoint with the best online validation score."""
        return self.root / "checkpoint_best.pt"

    @property
    def final(self) -> Path:
        """Weights after the last step of the latest training that was finished (see `status`)."""
        return self.root / "checkpoint_final.pt"

    @property
    def status(self) -> Path:
        """Whether the latest training of the fold is finished (`autoseg.run_state.TrainingStatus`)."""
        return self.root / "training.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line, one line per round of training."""
        return self.root / "metrics.jsonl"

    @property
    def progress(self) -> Path:
        """Learning curves as a picture."""
        return self.root / "progress.png"

    @property
    def validation(self) -> Path:
        """Predictions of the fold's validation cases."""
        return self.root / "validation"

    @property
    def validation_summary(self) -> Path:
        """Scores of the validation cases, predicted with the final weights; written last."""
        return self.validation / "summary.json"

    @property
    def probabilities(self) -> Path:
        """Probabilities of the validation cases, from which ensembles are made; a `<case>.b2nd` each."""
        return self.validation / "probabilities"

    @property
    def expected_dice(self) -> Path:
        """Case -> label -> Dice to be expected of the validation's predictions."""
        return self.validation / "expected_dice.json"

    @property
    def pairs(self) -> Path:
        """Which cases the validation of a registration laid on each other."""
        return self.validation / "pairs.json"

    @property
    def example(self) -> Path:
        """Images and displacement of one of these pairs."""
        return self.validation / "example"

    @property
    def regularization(self) -> Path:
        """The weight of the regulariser that was chosen after the training of a registration network."""
        return self.root / "regularization.json"

    @property
    def next_stage(self) -> Path:
        """Labels of the validation cases for the next stage of a cascade, in its voxels; a `<case>.b2nd` each."""
        return self.root / "next_stage"


@dataclass(frozen=True)
class Run:
    """Paths of a run. Making one creates nothing."""

    root: Path

    @property
    def dataset(self) -> Path:
        return self.root / "dataset.json"

    @property
    def fingerprint(self) -> Path:
        return self.root / "fingerprint.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def splits(self) -> Path:
        return self.root / "splits.json"

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"

    @property
    def postprocessing(self) -> Path:
        return self.root / "postprocessing.json"

    @property
    def provenance(self) -> Path:
        """Commands, versions, machine and seconds per stage."""
        return self.root / "provenance.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def log(self) -> Path:
        return self.root / "run.log"

    def preprocessed(self, configuration: str) -> Path:
        """Folder of a configuration's store."""
        return self.root / "preprocessed" / configuration

    def fold(self, configuration: str, fold: int | str) -> Fold:
        """Folder of one fold; `fold` is a number or "all"."""
        return Fold(self.root / configuration / f"fold_{fold}")

    def folds(self, configuration: str) -> dict[str, Fold]:
        """Folds of a configuration that have a folder, by name in ascending order."""
        folders = sorted((self.root / configuration).glob("fold_*"), key=lambda p: (len(p.name), p.name))
        return {folder.name.removeprefix("fold_"): Fold(folder) for folder in folders if folder.is_dir()}

    def ensemble(self, configurations: Sequence[str]) -> Fold:
        """Folder of the ensemble of some configurations: its `validation` holds the cases of all their folds."""
        return Fold(self.root / "ensembles" / "+".join(configurations))

    def require(self, path: Path, made_by: str) -> Path:
        """`path` if it exists; else an error that names the command that makes it."""
        if not path.exists():
            raise WorkspaceError(f"{path.name} is missing", where=self.root, remedy=f"run `{made_by}` first")
        return path
