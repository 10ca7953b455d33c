"""The same model segments the same images in both frameworks: seconds, memory, and whether the labels are the same."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import read_case, read_labels
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.inference.predictor import Predictor
from autoseg.inference.tiling import count_tiles, mirror_combinations
from autoseg.plan.cost import TRAINING_PASSES, multiply_adds
from autoseg.plan.layers import input_channels
from benchmarks.peer.context import Context
from benchmarks.peer.layout import NAME, NUMBER, write_raw
from benchmarks.peer.programs import Finished, alternate, run, with_programs
from benchmarks.peer.records import Floor, Row, Section, Unit
from benchmarks.peer.sections.prediction_model import random_run

TITLE = "Prediction with an imported model"

FEW = 6
MOST = 52
"""Cases of the second row where no predictions say which are the validation's."""

WORKERS = ((0, 0), (1, 1), (3, 3))
"""nnU-Net's processes for preprocessing and export (-npp, -nps): none, one, and its default."""

LEAST_EQUAL = 0.9999
REQUIRED = 3.0


@dataclass(frozen=True)
class _Work:
    """What both sides predict with and on.

    Attributes:
        run: ours.
        peer: nnU-Net's result folder of the same model.
        predictor: of the run, without post-processing.
        dataset: its labels are the references.
        given: nnU-Net's own predictions from elsewhere, by case.
    """

    context: Context
    folder: Path
    run: Path
    peer: Path
    predictor: Predictor
    dataset: Dataset
    given: dict[str, Path]

    def ours(self, images: Path, out: Path) -> Finished:
        place = ("--out", out, "--device", "cpu")
        return run([*self.context.autoseg, "predict", self.run, images, *place])

    def theirs(self, images: Path, out: Path, workers: tuple[int, int], model: Path | None = None) -> Finished:
        """nnU-Net's command; `model` is another result folder than `peer`."""
        place = self.folder / ("peer" if model is None else "exported-peer")
        configuration = self.predictor.configuration_name
        link = place / "results" / NAME / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        environment = self.context.peer_environment(place)
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(model or self.peer)
        which = ("-d", NUMBER, "-c", configuration, "-f", *self.predictor.models[0].folds)
        how = ("-device", "cpu", "-npp", str(workers[0]), "-nps", str(workers[1]), "--disable_progress_bar")
        command = self.context.peer_command("nnUNetv2_predict")
        return run([command, "-i", images, "-o", out, *which, *how], env=environment)


def measure(context: Context) -> Section:
    """Few images, where programs mostly start, and the whole validation."""
    work = _work(context)
    cases = [case for case in work.dataset.training if not work.given or case.id in work.given][:MOST]
    few, all_ = cases[:FEW], cases
    images = _images(work, few, "few")
    trials = {pair: work.theirs(images, work.folder / f"trial-{pair[0]}", pair).seconds for pair in WORKERS}
    fastest = sorted(trials, key=lambda pair: trials[pair])
    rows = [_timed(work, few, images, [fastest[0]] * context.repeats)]
    if len(all_) > len(few):
        rows.append(_timed(work, all_, _images(work, all_, "all"), fastest[:2]))
    rows.append(_exported(work, few, images, fastest[0]))
    source = (
        f"A model that nnU-Net trained ({context.model.name}), imported once with `autoseg import-nnunet`"
        if context.model is not None
        else "A model with random weights, for want of a trained one"
    )
    text = (
        f"{source}; both commands predict {context.data.name} on {context.cores} CPU cores as programs, start-up "
        "included, with mirroring and half-overlapping tiles, in single precision. nnU-Net has the number of processes "
        f"that suits it best: -npp {fastest[0][0]} -nps {fastest[0][1]} of {WORKERS} in a trial; with all images the "
        "better of its two best."
    )
    return Section(work=text, rows=tuple(rows), profile=_profile(work, few, images))


def _work(context: Context) -> _Work:
    folder = context.folder("prediction")
    shutil.rmtree(folder)
    folder.mkdir()
    model = context.model
    if model is None or (model / "plan.json").is_file():
        ours = model or random_run(context, folder / "run")
        peer = folder / "model"
        run([*context.autoseg, "export", ours, "--format", "nnunet", "--out", peer])
    else:
        ours, peer = folder / "run", model
        run([*context.autoseg, "import-nnunet", peer, "--out", ours])
    predictor = Predictor(Predictor.load(ours, device="cpu").models)
    given: dict[str, Path] = {}
    if model is not None and context.predictions is not None:
        ending = predictor.plan.file_ending
        given = {path.name.removesuffix(ending): path for path in sorted(context.predictions.glob(f"*{ending}"))}
    return _Work(context, folder, ours, peer, predictor, discover(context.data), given)


def _images(work: _Work, cases: Sequence[Case], name: str) -> Path:
    """A folder with the images of some cases, named as nnU-Net names them."""
    chosen = work.dataset.model_copy(update={"training": tuple(cases)})
    return write_raw(chosen, work.folder / name) / "imagesTr"


def _timed(work: _Work, cases: Sequence[Case], images: Path, workers: Sequence[tuple[int, int]]) -> Row:
    """Both in turns, once with each of nnU-Net's `workers`; of different ones only the faster counts."""
    ours, peer = (work.folder / f"{side}-{len(cases)}" for side in ("ours", "peer"))
    left = list(workers)
    mine, theirs = alternate(
        lambda: work.ours(images, ours), lambda: work.theirs(images, peer, left.pop(0)), len(workers)
    )
    if len(set(workers)) > 1:
        theirs = [min(theirs, key=lambda one: one.seconds)]
    words, agrees = _agreement(work, cases, ours, peer)
    if work.given:
        ending = work.predictor.plan.file_ending
        given, _ = _equal(cases, ours, work.given[cases[0].id].parent, ending)
        words += f"; {given:.4%} as in nnU-Net's predictions that were given"
        agrees = agrees and given >= LEAST_EQUAL
    row = Row(
        setting=f"{len(cases)} images",
        unit=Unit.SECONDS,
        ours=(),
        peer=(),
        agreement=words,
        agrees=agrees,
        required=REQUIRED,
        floor=_floor(work, cases),
    )
    return with_programs(row, mine, theirs)


def _exported(work: _Work, cases: Sequence[Case], images: Path, workers: tuple[int, int]) -> Row:
    """The way back: nnU-Net predicts with what `autoseg export` wrote of our run."""
    model, out = work.folder / "exported", work.folder / "peer-exported"
    run([*work.context.autoseg, "export", work.run, "--format", "nnunet", "--out", model])
    ours = work.folder / "ours-again"
    mine, theirs = work.ours(images, ours), work.theirs(images, out, workers, model)
    words, agrees = _agreement(work, cases, ours, out)
    row = Row(
        setting=f"{len(cases)} images, nnU-Net with the model exported again",
        unit=Unit.SECONDS,
        ours=(),
        peer=(),
        agreement=words,
        agrees=agrees,
    )
    return with_programs(row, [mine], [theirs])


def _agreement(work: _Work, cases: Sequence[Case], ours: Path, peer: Path) -> tuple[str, bool]:
    """Share of equal voxels and both mean Dice, in words, and whether they are close enough."""
    ending = work.predictor.plan.file_ending
    equal, voxels = _equal(cases, ours, peer, ending)
    dice = []
    for folder in (ours, peer):
        pairs = {case.id: (folder / f"{case.id}{ending}", case.label) for case in cases if case.label is not None}
        dice.append(evaluate_files(pairs, work.dataset.labels, metrics=["dice"]).foreground_dice)
    words = f"{equal:.4%} of {voxels:,} voxels equal, Dice {dice[0]:.4f} and {dice[1]:.4f}"
    return words, equal >= LEAST_EQUAL and f"{dice[0]:.4f}" == f"{dice[1]:.4f}"


def _equal(cases: Sequence[Case], one: Path, other: Path, ending: str) -> tuple[float, int]:
    """Share of voxels with the same label, and how many were compared."""
    same = voxels = 0
    for case in cases:
        first, second = (read_labels(folder / f"{case.id}{ending}").array for folder in (one, other))
        same += int(np.count_nonzero(first == second))
        voxels += first.size
    return same / voxels, voxels


def _floor(work: _Work, cases: Sequence[Case]) -> Floor:
    """The convolutions of every tile, mirror copy and network."""
    (model,) = work.predictor.models
    plan, configuration = model.plan, model.configuration.with_(deep_supervision=False)
    channels = input_channels(configuration, len(plan.channels), plan.labels)
    once = multiply_adds(configuration, channels, plan.labels.outputs)
    operations = 2 * once / (TRAINING_PASSES * configuration.batch_size)
    shapes = [model.prepare(read_case(case, len(plan.channels))).data.shape[1:] for case in cases]
    tiles = sum(count_tiles(shape, model.sliding.tile, model.sliding.overlap) for shape in shapes)
    copies = len(mirror_combinations(model.sliding.mirror_axes)) * len(model.networks)
    peak = work.context.peaks.float32
    counted = f"{tiles} tiles x {copies} passes x {operations / 1e9:.1f} GFLOP of convolutions"
    return Floor(seconds=tiles * copies * operations / peak, how=f"{counted} / {peak / 1e9:.0f} GFLOP/s")


def _profile(work: _Work, cases: Sequence[Case], images: Path) -> tuple[str, ...]:
    script = Path(__file__).with_name("prediction_ours.py")
    threads = ("--threads", str(work.context.cores))
    found = run([work.context.python, script, work.run, images, work.folder / "profile", *threads]).answer()
    total = sum(found.values())
    shares = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in found.items())
    return (f"{len(cases)} images, the parts of our program one after the other ({total:.1f} s): {shares}",)
