"""What every section is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.peer.machine import Peaks
from benchmarks.peer.programs import ROOT


@dataclass(frozen=True)
class Context:
    """Where things are and how often to measure.

    Attributes:
        python: interpreter of this project's environment.
        peer_python: interpreter of an environment with nnU-Net v2.
        data: a data set folder that both sides work on (MSD's Task04_Hippocampus for the published figures).
        model: nnU-Net's result folder of a model trained on `data` (holds plans.json, fold_*), or None.
        predictions: nnU-Net's own predictions of `model`'s validation cases, or None.
        plans: a folder of reference plans with fingerprints (`*.json`), or None.
        work: a folder for what the sections make; kept between runs, so that what is slow is made once.
        repeats: how often either side runs.
        cores: how many processes or threads either side may use.
        minutes: wall clock of either side in the section `quality`.
        peaks: bandwidth and operations a second of this machine, measured at the start of the run.
    """

    python: Path
    peer_python: Path
    data: Path
    model: Path | None
    predictions: Path | None
    plans: Path | None
    work: Path
    repeats: int
    cores: int
    minutes: float
    peaks: Peaks

    @property
    def autoseg(self) -> tuple[Path, ...]:
        """The command line of this project."""
        return (self.python.parent / "autoseg",)

    def peer_command(self, name: str) -> Path:
        """A command of nnU-Net, e.g. "nnUNetv2_predict"."""
        return self.peer_python.parent / name

    def peer_script(self, name: str) -> tuple[Path, ...]:
        """The command that runs `benchmarks/peer/nnunet/<name>.py` in nnU-Net's environment."""
        return (self.peer_python, ROOT / "benchmarks" / "peer" / "nnunet" / f"{name}.py")

    def peer_environment(self, folder: Path) -> dict[str, str]:
        """nnU-Net's variables with all three of its folders below `folder`, and no more threads than `cores`."""
        names = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "results"}
        for name in names.values():
            (folder / name).mkdir(parents=True, exist_ok=True)
        places = {variable: str(folder / name) for variable, name in names.items()}
        processes = {"nnUNet_def_n_proc": str(self.cores), "nnUNet_n_proc_DA": str(self.cores)}
        return {**places, **processes, "nnUNet_compile": "false"}

    def folder(self, section: str) -> Path:
        """A section's own folder."""
        path = self.work / section
        path.mkdir(parents=True, exist_ok=True)
        return path
