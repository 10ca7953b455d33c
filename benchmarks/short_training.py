"""Which optimiser and width suit a short training: Dice of a fold after the same seconds of training.

    python benchmarks/short_training.py DATASET [--seconds 270] [--fold 1] [--widths 16 32] [--folder DIR]

For each width of the first stage, and for nnU-Net's optimiser and the short one, a 3d_fullres network with batches of
two is trained for the given seconds and validated on the fold's cases. Prints a row a training: steps, seconds a step,
Dice a label and their mean. Choose settings on other folds than those reported.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg import pipeline
from autoseg.data.dataset import Dataset
from autoseg.data.splits import load_splits
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.plan.record import Plan
from autoseg.tasks.segmentation.trainer.trainer import SegmentationTrainer
from autoseg.training.config import SHORT_TRAINING, OptimizerConfig, TrainingConfig, optimizer_for
from autoseg.training.context import FoldContext
from autoseg.training.hooks import JsonLines
from autoseg.training.loop import Training
from autoseg.training.runtime import base_runtime, steady_runtime
from autoseg.workspace import Run


def prepare(dataset: Path, folder: Path) -> Run:
    """A run that is planned and preprocessed; kept from an earlier call."""
    run = Run(folder / "prepared")
    if not run.plan.exists():
        pipeline.fingerprint_dataset(dataset, run.root)
        pipeline.make_plan(run.root)
    pipeline.preprocess(run.root, configurations="3d_fullres")
    return run


def train(source: Run, folder: Path, width: int, optimizer: OptimizerConfig, seconds: float, fold: int) -> str:
    """Trains and validates one network; returns its row."""
    run = Run(folder / f"width{width}_momentum{optimizer.momentum}")
    shutil.rmtree(run.root, ignore_errors=True)
    plan = Plan.load(source.plan)
    item = plan.configurations["3d_fullres"]
    features = tuple(width * count // 32 for count in item.features_per_stage)
    plan = plan.with_(configurations={"3d_fullres": item.with_(features_per_stage=features, batch_size=2)})
    plan.save(run.plan)
    (run.root / "preprocessed").symlink_to((source.root / "preprocessed").resolve())
    dataset = Dataset.load(source.dataset)
    split = load_splits(source.splits, dataset.identifiers)[fold]
    config = TrainingConfig(seconds=seconds, optimizer=optimizer)
    runtime = steady_runtime(base_runtime("cpu"))
    context = FoldContext(run, dataset, plan, "3d_fullres", str(fold), split, config, runtime)
    trainer = SegmentationTrainer(context)
    lines = JsonLines(context.folder, 0)
    outcome = Training(trainer.task(), config, runtime, context.folder, dimension=3, hooks=lambda *_: (lines,)).run()
    references = {case.id: case.label for case in dataset.training if case.label is not None}
    pairs = {case: (file, references[case]) for case, file in trainer.predict_validation().items()}
    scores = evaluate_files(pairs, dataset.labels)
    labels = "  ".join(f"{name} {row['dice']:.4f}" for name, row in scores.mean.items())
    return (
        f"width {width:3d}  momentum {optimizer.momentum:.2f}  rate {optimizer.learning_rate:.2f}  "
        f"steps {outcome.steps:5d}  {outcome.seconds / outcome.steps:.3f} s a step  "
        f"Dice {scores.foreground_dice:.4f}  ({labels})"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seconds", type=float, default=270)
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--folder", type=Path, help="keeps the runs here; by default they are thrown away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        source = prepare(options.dataset, folder)
        for width in options.widths:
            for optimizer in (optimizer_for(SHORT_TRAINING), optimizer_for(0)):
                print(train(source, folder, width, optimizer, options.seconds, options.fold), flush=True)


if __name__ == "__main__":
    main()
