"""What two data sets with different labels lose as one: Dice where each case has half of the classes, and with all.

    python benchmarks/partly_annotated.py [--steps 400] [--share 0.7] [--seed 0] [--folder DIR]
    python benchmarks/partly_annotated.py --data DATASET [--budget 20m] [--share 0.5] [--seed 0] [--folder DIR]

A share of the cases keeps the labels of the first half of the classes, the others those of the second half. Without
`--data` a phantom with four classes is made, and three networks of one plan are trained with the same steps and seed:
on all labels, on those that are kept with the table that says which, and on these without the table (naive). On a data
set of one's own the first two are trained, each within the budget. Fold 0 is validated against all labels. Prints a row
of Dice per class for each, and the differences from full annotation.

A class that was looked for in half of the cases is found by naive training too, if not as well: where it is about as
often labelled as not, the Dice of the loss decides for it. What is labelled in fewer cases it leaves out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg import pipeline
from autoseg.cli.values import parse_duration
from autoseg.data.dataset import Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import ending_of, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.splits import load_splits
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.evaluation.scores import FOREGROUND
from autoseg.plan.record import Plan
from autoseg.records import write_json
from autoseg.workspace import Run

CASES, SHAPE = 30, (20, 40, 40)
STRUCTURES = {
    "ball": ((0.0, -0.4, -0.4), (0.55, 0.3, 0.3), 60.0),
    "rod": ((0.0, -0.4, 0.4), (0.7, 0.2, 0.3), 90.0),
    "disc": ((0.0, 0.4, -0.4), (0.4, 0.3, 0.35), 120.0),
    "plate": ((0.0, 0.4, 0.4), (0.5, 0.35, 0.25), 150.0),
}
"""Name -> centre and radii as shares of half the image, and intensity above the surroundings."""

CONFIGURATION = "3d_fullres"
WIDTHS = (8, 16, 24)
"""Features of the phantom's network per stage, the last for all further ones."""

LookedFor = dict[str, tuple[str, ...]]
"""Case -> classes."""


def write_phantom(folder: Path, seed: int) -> Path:
    """Cases with four structures each, in a data set of nnU-Net's layout; returns its folder."""
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in SHAPE), indexing="ij")
    for number in range(CASES):
        rng = np.random.default_rng((seed, number))
        image, labels = np.full(SHAPE, 100.0), np.zeros(SHAPE, np.uint8)
        for value, (centre, radii, contrast) in enumerate(STRUCTURES.values(), start=1):
            middle = np.array(centre) + rng.uniform(-0.12, 0.12, 3)
            size = np.array(radii) * rng.uniform(0.8, 1.2, 3)
            parts = zip(axes, middle, size, strict=True)
            inside = sum(((axis - place) / length) ** 2 for axis, place, length in parts) < 1
            image[inside], labels[inside] = 100 + contrast * rng.uniform(0.8, 1.2), value
        image += rng.normal(scale=25, size=SHAPE)
        write_image(
            folder / "imagesTr" / f"case_{number:02d}_0000.nii.gz", Image(image[None].astype(np.float32), Geometry())
        )
        write_labels(folder / "labelsTr" / f"case_{number:02d}.nii.gz", labels, Geometry())
    names = {"background": 0} | {name: value for value, name in enumerate(STRUCTURES, start=1)}
    write_json(folder / "dataset.json", {"channel_names": {"0": "MR"}, "labels": names, "file_ending": ".nii.gz"})
    return folder


def halves(dataset: Dataset, share: float) -> LookedFor:
    """The first half of the classes for a share of the cases, evenly among them, and the second half for the others."""
    names = tuple(dataset.labels.foreground)
    first, second = names[: len(names) // 2], names[len(names) // 2 :]
    return {
        case: first if int((number + 1) * share) > int(number * share) else second
        for number, case in enumerate(dataset.identifiers)
    }


def keep(dataset: Dataset, looked_for: LookedFor, folder: Path, *, table: bool) -> Path:
    """A data set with the same images and of each case only the labels that were looked for.

    Args:
        dataset: with all labels.
        looked_for: what is kept.
        folder: to write to.
        table: whether the new data set says what was looked for.
    """
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for case in dataset.training:
        for channel, image in enumerate(case.images):
            (folder / "imagesTr" / f"{case.id}_{channel:04d}{ending_of(image)}").symlink_to(image)
        assert case.label is not None
        labels = read_labels(case.label)
        values = [value for name in looked_for[case.id] for value in dataset.labels.foreground[name]]
        kept = np.where(np.isin(labels.array[0], values), labels.array[0], 0)
        write_labels(folder / "labelsTr" / f"{case.id}{dataset.label_ending}", kept, labels.geometry)
    description = {
        "channel_names": {str(number): name for number, name in enumerate(dataset.channels)},
        "labels": dataset.labels.names,
        "file_ending": dataset.file_ending,
    }
    write_json(folder / "dataset.json", {**description, "annotated": looked_for} if table else description)
    return folder


def narrow(plan: Plan) -> Plan:
    """The plan of the phantom with a network that trains in a minute or two."""
    item = plan.configurations[CONFIGURATION]
    stages = len(item.features_per_stage)
    small = item.with_(features_per_stage=(*WIDTHS, *(WIDTHS[-1],) * stages)[:stages])
    return plan.with_(configurations={CONFIGURATION: small})


def prepare(folder: Path, run: Run, plan: Callable[[Run], Plan]) -> Plan:
    """Measures the data; the run gets the plan that is given, so that it is the same for all."""
    pipeline.fingerprint_dataset(folder, run.root)
    decided = plan(run)
    decided.save(run.plan)
    return decided


def train(folder: Path, run: Run, dataset: Dataset, **length: float | int | None) -> Mapping[str, float | None]:
    """Trains fold 0 and scores its validation cases against all labels: class, and `FOREGROUND` -> Dice."""
    pipeline.plan_and_train(
        folder, run.root, configurations=CONFIGURATION, folds="0", device="cpu", resume=True, **length
    )
    split = load_splits(run.splits, dataset.identifiers)[0]
    predictions = run.fold(CONFIGURATION, "0").validation
    ending = Plan.load(run.plan).file_ending
    pairs = {
        case.id: (predictions / f"{case.id}{ending}", case.label)
        for case in dataset.training
        if case.id in split.validation and case.label is not None
    }
    scores = evaluate_files(pairs, dataset.labels, metrics=["dice"])
    return {**scores.dice, FOREGROUND: scores.foreground_dice}


def row(title: str, values: Mapping[str, float | None], *, sign: str = "") -> str:
    """A line of the table."""
    cells = (f"{'-':>9}" if value is None else f"{value:>{sign}9.4f}" for value in values.values())
    return f"{title:<12}" + " ".join(cells)


def compare(
    source: Path, folder: Path, share: float, *, naive: bool, seed: int, budget: float | None = None, steps: int = 0
) -> None:
    """Trains and prints; see the module.

    Args:
        source: the data set with all labels.
        folder: for what is made.
        share: of the cases that have the first half of the classes.
        naive: whether to train without the table too.
        seed: of the trainings.
        budget: seconds of each; None where steps are given.
        steps: of each.
    """
    dataset = discover(source)
    looked_for = halves(dataset, share)
    folders = {"full": source, "partly": keep(dataset, looked_for, folder / "partly", table=True)}
    if naive:
        folders["naive"] = keep(dataset, looked_for, folder / "naive", table=False)
    plans: list[Plan] = []

    def plan(run: Run) -> Plan:
        if not plans:
            made = pipeline.make_plan(run.root, budget=budget)
            plans.append(made if budget is not None else narrow(made))
        return plans[0]

    length = {"budget": budget} if budget is not None else {"steps": steps}
    results: dict[str, Mapping[str, float | None]] = {}
    for name, data in folders.items():
        run = Run(folder / f"run_{name}")
        prepare(data, run, plan)
        results[name] = train(data, run, dataset, seed=seed, **length)
    full = results["full"]
    print(f"{'Dice':<12}" + " ".join(f"{name[:9]:>9}" for name in (*list(full)[:-1], "mean")))
    for name, values in results.items():
        print(row(name, values))
    for name, values in list(results.items())[1:]:
        print(row(f"{name} - full", {key: (value or 0) - (full[key] or 0) for key, value in values.items()}, sign="+"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set with all labels; without it a phantom is made")
    parser.add_argument("--budget", type=parse_duration, default=parse_duration("20m"), help="of each, with --data")
    parser.add_argument("--steps", type=int, default=400, help="of each, on the phantom")
    parser.add_argument("--share", type=float, help="of the cases that have the first half of the classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps everything here; by default it is thrown away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.data is None:
            source, share = write_phantom(folder / "full", options.seed), options.share or 0.7
            compare(source, folder, share, naive=True, seed=options.seed, steps=options.steps)
        else:
            compare(options.data, folder, options.share or 0.5, naive=False, seed=options.seed, budget=options.budget)


if __name__ == "__main__":
    main()
