"""How closely a model of nnU-Net v2 predicts here what it predicts there, and the other way round.

    python benchmarks/imported_model.py MODEL DATASET [--cases N] [--predictions DIR] [--peer-python PYTHON]

MODEL is a folder that nnU-Net trained into (with one configuration), or a run of this project. A folder of nnU-Net's is
imported, predicts cases of DATASET, and is compared voxel by voxel with DIR, nnU-Net's own predictions of these cases
(by default those of the folder's fold_*/validation).

With PYTHON, the interpreter of an environment in which nnU-Net v2 is installed, the run (imported or given) is exported
to nnU-Net, whose predictor then segments the same cases. Both predict on the CPU in single precision and without
post-processing. Prints a line a case: voxels that differ, their share, and both mean foreground Dice; then the totals.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.data.dataset import Case
from autoseg.data.discovery import discover
from autoseg.data.files import read_labels
from autoseg.data.labels import LabelScheme
from autoseg.inference.predictor import Predictor
from autoseg.metrics.score import score_labels
from autoseg.pipeline.nnunet import export_nnunet, import_nnunet
from autoseg.training.runtime import base_runtime

# Run by nnU-Net's interpreter: threads, model folder, and a table of cases: the output without ending, then the images.
PEER = """
import sys, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
torch.set_num_threads(int(sys.argv[1]))
predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
predictor.initialize_from_trained_model_folder(sys.argv[2], None)
rows = [line.split("\\t") for line in open(sys.argv[3]).read().splitlines()]
predictor.predict_from_files_sequential([row[1:] for row in rows], [row[0] for row in rows])
"""


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--predictions", type=Path, help="nnU-Net's predictions of cases of the data set")
    parser.add_argument("--peer-python", type=Path, help="python of an environment with nnU-Net v2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work, run = Path(temporary), options.model
        if not (run / "plan.json").is_file():
            run = work / "run"
            import_nnunet(options.model, run)
        runtime = base_runtime("cpu")
        predictor = Predictor(Predictor.load(run, runtime=runtime).models)  # without post-processing
        theirs = _their_predictions(options.model, options.predictions, predictor.plan.file_ending)
        training = {case.id: case for case in discover(options.dataset).training}
        cases = [case for name, case in training.items() if name in theirs or not theirs][: options.cases]
        predictor.predict_files(cases, work / "here")
        ours = {case.id: work / "here" / f"{case.id}{predictor.plan.file_ending}" for case in cases}
        if theirs:
            print("here, and nnU-Net's predictions that were given")
            compare(cases, ours, theirs, predictor.plan.labels)
        if options.peer_python:
            written = export_nnunet(run, work / "exported", configuration=predictor.configuration_name)
            (model,) = written.models
            again = predict_there(options.peer_python, model.folder, cases, work, runtime.threads)
            ending = predictor.plan.file_ending
            print("here, and nnU-Net with the exported model")
            compare(cases, ours, {case.id: again / f"{case.id}{ending}" for case in cases}, predictor.plan.labels)


def compare(cases: Sequence[Case], ours: Mapping[str, Path], theirs: Mapping[str, Path], scheme: LabelScheme) -> None:
    """Prints how equal two predictions of each case are, and the Dice of both."""
    differing = voxels = 0
    means = []
    for case in cases:
        assert case.label is not None
        one, other, reference = (read_labels(path) for path in (ours[case.id], theirs[case.id], case.label))
        unequal, size = int(np.sum(one.array != other.array)), one.array.size
        dice = [_dice(image.array[0], reference.array[0], scheme) for image in (one, other)]
        print(f"  {case.id:24} {unequal:6} of {size} voxels differ   Dice {dice[0]:.4f}  {dice[1]:.4f}")
        differing, voxels = differing + unequal, voxels + size
        means.append(dice)
    here, there = np.mean(means, axis=0)
    print(f"  {100 * (1 - differing / voxels):.4f} % of {voxels} voxels equal; mean Dice {here:.4f}  {there:.4f}")


def predict_there(python: Path, model: Path, cases: Sequence[Case], work: Path, threads: int) -> Path:
    """The folder with the predictions of nnU-Net's own predictor."""
    folder = work / "there"
    folder.mkdir()
    rows = ["\t".join(map(str, (folder / case.id, *case.images))) for case in cases]
    (work / "cases.tsv").write_text("\n".join(rows))
    command = [str(python), "-c", PEER, str(threads), str(model), str(work / "cases.tsv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"nnU-Net failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return folder


def _their_predictions(model: Path, given: Path | None, ending: str) -> dict[str, Path]:
    """Case -> label file."""
    folders = [given] if given is not None else sorted(model.glob("fold_*/validation"))
    return {path.name.removesuffix(ending): path for folder in folders for path in sorted(folder.glob(f"*{ending}"))}


def _dice(prediction: np.ndarray, reference: np.ndarray, scheme: LabelScheme) -> float:
    """Mean over the foreground labels; NaN if none is there."""
    encoded = (scheme.encode(labels) for labels in (prediction, reference))
    scores = score_labels(
        *encoded,
        scheme.training_foreground,
        (1.0, 1.0, 1.0),  # of no effect on Dice, like the dimension
        dimension=3,
        ignore=scheme.training_ignore,
        metrics=["dice"],
    )
    found = [row["dice"] for row in scores.values() if row["dice"] is not None]
    return float(np.mean(found)) if found else float("nan")


if __name__ == "__main__":
    main()
