"""Running the experiment by the command line that users have, stage by stage; what is finished is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.discovery import discover
from autoseg.data.splits import SplitRule, make_splits, save_splits
from autoseg.plan.record import Plan
from autoseg.workspace import ALL_DATA, Run
from benchmarks.pretraining.draws import Draw, draws_of

SCRATCH = "scratch"

FINE_TUNINGS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "warm-up": ("training.fine_tuning=warm-up",),
    "sawtooth": ("training.fine_tuning=sawtooth",),
    "slow-encoder": ("training.fine_tuning.encoder_rate=0.1",),
    "undecided": ("training.foreground_share=0",),
}
"""Name behind a method's colon, or behind `SCRATCH` -> settings of the training on labels."""


class StageFailed(Exception):
    """A command of the experiment ended with an error."""


@dataclass(frozen=True)
class Arm:
    """What is compared: a method of pretraining, or none, and how it is trained on.

    Attributes:
        method: plug-in of kind "pretraining", or `SCRATCH`.
        fine_tuning: of `FINE_TUNINGS`.
        budget: of the pretraining; None takes the experiment's.
        other_seeds: added to the seeds of the trainings on labels, which shows how much chance does.
    """

    method: str
    fine_tuning: str = "plain"
    budget: str | None = None
    other_seeds: int = 0

    @classmethod
    def of(cls, text: str) -> Arm:
        """From METHOD[@BUDGET][+SEEDS][:FINE-TUNING].

        Raises:
            ValueError: an unknown way of fine-tuning, or seeds that are no number.
        """
        start, _, way = text.partition(":")
        encoder, _, seeds = start.partition("+")
        method, _, budget = encoder.partition("@")
        if way and way not in FINE_TUNINGS:
            raise ValueError(f"{text!r}: {way!r} is none of {', '.join(FINE_TUNINGS)}")
        return cls(method, way or "plain", budget or None, int(seeds or 0))

    @property
    def encoder(self) -> str:
        """The pretraining as it was asked for."""
        return self.method if self.budget is None else f"{self.method}@{self.budget}"

    @property
    def name(self) -> str:
        """As it was asked for."""
        start = f"{self.encoder}+{self.other_seeds}" if self.other_seeds else self.encoder
        return start if self.fine_tuning == "plain" else f"{start}:{self.fine_tuning}"


@dataclass(frozen=True)
class Experiment:
    """A data set, its fold and the lengths of the trainings.

    Attributes:
        dataset: labelled.
        out: folder of everything that is made.
        fold: of the data set's own five, whose validation cases are held out.
        configuration: what is planned and trained.
        plan_budget: time that the network is planned for, as the command line has it.
        pretraining_budget: of each pretraining.
        steps: of each training on labels; trainings of other lengths are kept beside.
        seed: of the pretrainings; that of a training on labels is greater by the number of the draw, so that draws
            differ in fresh weights and patches too.
        workers: processes beside each.
    """

    dataset: Path
    out: Path
    fold: int = 0
    configuration: str = "3d_fullres"
    plan_budget: str = "20m"
    pretraining_budget: str = "4m"
    steps: int = 100
    seed: int = 0
    workers: int = 1

    @property
    def base(self) -> Run:
        """The planned run whose plan all arms share."""
        return Run(self.out / "planned")

    @property
    def splits(self) -> Path:
        """A fold a draw."""
        return self.out / "draws.json"

    def run_of(self, arm: Arm, draw: int, steps: int | None = None) -> Run:
        """The run that trains an arm on the draws of one number, for the experiment's steps or for others."""
        folder = self.out / "trained" / f"{steps or self.steps}_steps"
        return Run(folder / arm.name.replace(":", "_") / f"draw_{draw}")

    @property
    def lengths(self) -> list[int]:
        """Steps of the trainings on labels that there are, the experiment's own first."""
        found = {int(folder.name.removesuffix("_steps")) for folder in (self.out / "trained").glob("*_steps")}
        return [self.steps, *sorted(found - {self.steps})]

    def pretrained(self, arm: Arm) -> Run:
        """The run that pretrains."""
        return Run(self.out / "pretrained" / arm.encoder)

    @property
    def network(self) -> str:
        """What was planned, in words; the planner reduces it to what the budget is enough for on this machine."""
        if not self.base.plan.exists():
            return "nothing is planned yet"
        plan = Plan.load(self.base.plan).configurations[self.configuration]
        sizes = " x ".join(map(str, plan.patch_size))
        widths = ", ".join(map(str, plan.features_per_stage))
        return f"{plan.network} with {widths} features, batches of {plan.batch_size} patches of {sizes}"

    def draws(self) -> list[Draw]:
        """All draws, in the order of the folds of `splits`."""
        cases = discover(self.dataset).identifiers
        return draws_of(make_splits(cases, SplitRule())[self.fold])

    def plan(self, draws: Sequence[Draw]) -> None:
        """Measures, splits and plans the data set."""
        if self.base.plan.exists():
            return
        self.out.mkdir(parents=True, exist_ok=True)
        save_splits(self.splits, [draw.split for draw in draws])
        self._command("plan", "fingerprint", self.dataset, "--out", self.base.root, "--splits", self.splits)
        self._command("plan", "plan", self.base.root, "--budget", self.plan_budget)

    def pretrain(self, arm: Arm) -> None:
        """Pretrains on all images but those with the voxels of a held-out one."""
        run = self.pretrained(arm)
        if run.fold(self.configuration, ALL_DATA).final.exists():
            return
        self._command(
            f"pretrain_{arm.encoder}", "pretrain", self.dataset, "--out", run.root, "--method", arm.method,
            "--for", self.base.root, "--hold-out", f"{self.splits}:0", "--configuration", self.configuration,
            "--budget", arm.budget or self.pretraining_budget, *self._common(self.seed),
            *(["--resume"] if run.dataset.exists() else []),
        )  # fmt: skip

    def train(self, arm: Arm, folds: Mapping[int, Draw]) -> None:
        """Trains and validates an arm on the labels of some draws, given by their folds."""
        for number in sorted({draw.number for draw in folds.values()}):
            self._train(arm, number, [fold for fold, draw in folds.items() if draw.number == number])

    def _train(self, arm: Arm, number: int, folds: Sequence[int]) -> None:
        run = self.run_of(arm, number)
        if all(run.fold(self.configuration, fold).validation_summary.exists() for fold in folds):
            return
        if arm.method == SCRATCH and not run.plan.exists():
            shutil.copytree(self.base.root, run.root, dirs_exist_ok=True)
        start = [] if arm.method == SCRATCH else ["--pretrained", self.pretrained(arm).root]
        settings = [part for setting in FINE_TUNINGS[arm.fine_tuning] for part in ("--set", setting)]
        self._command(
            f"train_{run.root.parent.name}_{number}", "plan-and-train", self.dataset, "--out", run.root, *start,
            *settings, "--splits", self.splits, "--folds", ",".join(map(str, folds)), "--configurations",
            self.configuration, "--steps", self.steps, *self._common(self.seed + arm.other_seeds + number),
            *(["--resume"] if run.dataset.exists() else []),
        )  # fmt: skip

    def _common(self, seed: int) -> list[str]:
        return ["--seed", str(seed), "--workers", str(self.workers), "--device", "cpu"]

    def _command(self, stage: str, *arguments: object) -> None:
        """Runs a command of autoseg; what it prints is kept beside the runs.

        Raises:
            StageFailed: it ended with an error; with what it said, and where under `out` the rest is.
        """
        log = self.out / "logs" / f"{stage}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "autoseg", *map(str, arguments)]
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        started = time.monotonic()
        with log.open("a", encoding="utf-8") as stream:
            code = subprocess.run(
                words, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": paths}, check=False
            ).returncode
        if code:
            raise StageFailed(f"{stage} ended with {code}{_reason(log)}; see {log.relative_to(self.out)}")
        print(f"{stage}: {time.monotonic() - started:.0f} s", flush=True)


def _reason(log: Path) -> str:
    """What the command said last as its error, with a colon before it; nothing if it said nothing."""
    said = [line for line in log.read_text(encoding="utf-8").splitlines() if line.lower().startswith("error: ")]
    return f": {said[-1][len('error: ') :]}" if said else ""
