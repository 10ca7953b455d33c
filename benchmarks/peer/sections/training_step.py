"""A training step of the identical network on the same batch, from the same weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from autoseg.exchange.nnunet.plans import read_plan
from autoseg.exchange.nnunet.weights import to_nnunet
from autoseg.networks.build import build_network, count_parameters
from autoseg.plan.cost import multiply_adds
from autoseg.plan.record import Plan
from benchmarks.peer.context import Context
from benchmarks.peer.layout import NAME, prepared_peer
from benchmarks.peer.machine import Peaks
from benchmarks.peer.programs import Finished, alternate, run
from benchmarks.peer.records import Floor, Row, Section, Unit

TITLE = "Training step"
CONFIGURATION = "3d_fullres"
LOSS_TOLERANCE, CHANGE_TOLERANCE = 1e-5, 1e-2
OPTIMISER_PASSES = 5  # gradient, weight and momentum are read, the last two written
PARTS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("mkldnn_convolution", "aten::_convolution", "slow_conv", "linear", "addmm"),
    "instance norms": ("batch_norm", "InstanceNorm", "instance_norm"),
    "leaky ReLUs": ("leaky_relu",),
    "loss": ("softmax", "gather", "scatter", "aten::exp", "aten::sum", "aten::mul", "aten::eq"),
    "copies and sums of features": ("aten::copy_", "aten::cat", "aten::add"),
}


@dataclass(frozen=True)
class Work:
    """One network and batch; `folder` has what both sides start from.

    Attributes:
        required: the least ratio of a step in float32.
        steps: timed a run, after `warm_up`.
    """

    name: str
    folder: Path
    plan: Plan
    required: float
    warm_up: int
    steps: int

    @property
    def setting(self) -> str:
        """The network and the batch in words."""
        one = self.plan.configurations[CONFIGURATION]
        patch = "x".join(map(str, one.patch_size))
        features = f"{one.features_per_stage[0]}-{one.features_per_stage[-1]} features"
        return f"{self.name}: {features}, {one.batch_size} x {patch}"


def measure(context: Context) -> Section:
    """Programs in turns, each of a few steps after warming up; its figure is the median step."""
    works = (_wide(context), _narrow(context))
    rows, profile = [], []
    for work in works:
        rows += _cpu_rows(context, work)
        profile.append(_profile(context, work))
    for work in works if _cuda_on_both_sides(context) else ():
        rows += [_cuda_row(context, work, compiled=compiled) for compiled in (True, False)]
    return Section(
        work="One optimiser step on the same random batch from the same weights: forward, loss with deep supervision, "
        "backward, clipping, SGD. nnU-Net's is its trainer's own train_step; here it is the training loop's. The "
        "network is the one that nnU-Net plans for the data set (wide), and the same with a quarter of the features "
        "(narrow). nnU-Net computes in float32 on a CPU; rows of bfloat16 compare its float32 with this project's "
        "default on a processor with bfloat16 units.",
        rows=tuple(rows),
        profile=tuple(profile),
    )


def _wide(context: Context) -> Work:
    return _prepared(context, "wide", divisor=1, batch=None, required=1.0, warm_up=1, steps=2)


def _narrow(context: Context) -> Work:
    return _prepared(context, "narrow", divisor=4, batch=2, required=1.4, warm_up=3, steps=10)


def _prepared(context: Context, name: str, *, divisor: int, batch: int | None, **settings: Any) -> Work:
    """nnU-Net's plan with a part of its features, weights for it and a batch, written for both sides."""
    source = prepared_peer(context) / "preprocessed" / NAME
    folder = context.folder("training_step") / name
    folder.mkdir(exist_ok=True)
    plans = json.loads((source / "nnUNetPlans.json").read_text(encoding="utf-8"))
    dataset = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    chosen = plans["configurations"][CONFIGURATION]
    network = chosen["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [features // divisor for features in network["features_per_stage"]]
    chosen["batch_size"] = batch or chosen["batch_size"]
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    plan = read_plan(plans, dataset, [CONFIGURATION], {}, folder)
    plan.save(folder / "plan.json")
    one = plan.configurations[CONFIGURATION]
    state = build_network(one, len(plan.channels), plan.labels.outputs, seed=0).state_dict()
    torch.save(state, folder / "weights_ours.pt")
    torch.save(to_nnunet(state, one.network), folder / "weights_peer.pt")
    rng, shape = np.random.default_rng(0), (one.batch_size, len(plan.channels), *one.patch_size)
    labels = rng.integers(0, plan.labels.outputs, (one.batch_size, 1, *one.patch_size), dtype=np.int16)
    np.savez(folder / "batch.npz", image=rng.standard_normal(shape, dtype=np.float32), labels=labels)
    return Work(name=name, folder=folder, plan=plan, **settings)


def _cpu_rows(context: Context, work: Work) -> list[Row]:
    precisions = ("float32", "bfloat16")
    ours, peer = alternate(
        lambda: [_ours(context, work, precision) for precision in precisions],
        lambda: [_peer(context, work)],
        context.repeats,
    )
    rows = []
    for i, precision in enumerate(precisions):
        row = _row(work, f"{work.setting}, {precision}", [found[i] for found in ours], [found[0] for found in peer])
        rows.append(row.model_copy(update={"floor": _floor(work, context.peaks, precision)}))
    agreement, agrees = _agreement(work, ours[-1][0], peer[-1][0])
    rows[0] = rows[0].model_copy(update={"required": work.required, "agreement": agreement, "agrees": agrees})
    return rows


def _cuda_row(context: Context, work: Work, *, compiled: bool) -> Row:
    """Both in float16, nnU-Net's precision on CUDA; ten steps are timed together."""
    options = ("--device", "cuda", "--group", "10")
    ours, peer = alternate(
        lambda: _ours(context, work, "float16", *options, *(("--compile",) if compiled else ())),
        lambda: _peer(context, work, *options, compiled=compiled),
        context.repeats,
    )
    row = _row(work, f"{work.setting}, CUDA, float16, {'compiled' if compiled else 'not compiled'}", ours, peer)
    difference = _first_loss_difference(ours[-1], peer[-1])
    return row.model_copy(
        update={"required": 1.0 if compiled else None, "agreement": f"loss after ten steps differs by {difference:.1e}"}
    )


def _row(work: Work, setting: str, ours: list[Finished], peer: list[Finished]) -> Row:
    return Row(
        setting=setting,
        unit=Unit.SECONDS,
        ours=tuple(median(found.answer()["seconds"]) for found in ours),
        peer=tuple(median(found.answer()["seconds"]) for found in peer),
        ours_peak_mb=max(found.peak_mb for found in ours),
        peer_peak_mb=max(found.peak_mb for found in peer),
    )


def _floor(work: Work, peaks: Peaks, precision: str) -> Floor:
    """The convolutions of a step at the peak, and the optimiser's bytes; norms, activations and loss for nothing."""
    plan = work.plan.configurations[CONFIGURATION]
    channels, outputs = len(work.plan.channels), work.plan.labels.outputs
    operations = 2 * multiply_adds(plan, channels, outputs)
    moved = OPTIMISER_PASSES * 4 * count_parameters(build_network(plan, channels, outputs))
    peak = peaks.float32 if precision == "float32" else peaks.bfloat16
    products = f"{operations / 1e9:.0f} GFLOP / {peak / 1e9:.0f} GFLOP/s"
    how = f"{products} + {moved / 1e6:.0f} MB / {peaks.bandwidth / 1e9:.1f} GB/s"
    return Floor(seconds=operations / peak + moved / peaks.bandwidth, how=how)


def _agreement(work: Work, ours: Finished, peer: Finished) -> tuple[str, bool]:
    """How far apart the first losses are, and the changes of the weights by the first step."""
    loss = _first_loss_difference(ours, peer)
    network = work.plan.configurations[CONFIGURATION].network
    before = torch.load(work.folder / "weights_ours.pt", weights_only=True)
    mine = to_nnunet(torch.load(work.folder / "after_ours.pt", weights_only=True), network)
    theirs = torch.load(work.folder / "after_peer.pt", weights_only=True)
    start = to_nnunet(before, network)
    most = max(float((theirs[name] - start[name]).abs().max()) for name in theirs)
    apart = max(float((theirs[name] - mine[name]).abs().max()) for name in theirs) / most
    text = f"first loss differs by {loss:.1e}, the first change of the weights by {apart:.1e} of the largest"
    return text, loss <= LOSS_TOLERANCE and apart <= CHANGE_TOLERANCE


def _first_loss_difference(ours: Finished, peer: Finished) -> float:
    return float(abs(ours.answer()["losses"][0] - peer.answer()["losses"][0]))


def _profile(context: Context, work: Work) -> str:
    """Shares of a float32 step, and what a step takes in each layout and precision."""
    found = _ours(context, work, "float32", "--profile").answer()
    total = sum(found["operations"].values())
    shares, rest = [], total
    for part, words in PARTS.items():
        seconds = sum(taken for name, taken in found["operations"].items() if any(word in name for word in words))
        rest -= seconds
        shares.append(f"{part} {seconds / total:.0%}")
    times = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["runtimes"].items())
    return (
        f"{work.name}, float32: {', '.join(shares)}, other {rest / total:.0%}. A step by precision and layout: {times}."
    )


def _ours(context: Context, work: Work, precision: str, *options: str) -> Finished:
    program = (context.python, "-m", "benchmarks.peer.sections.training_step_ours")
    after = ("--after", work.folder / "after_ours.pt") if precision == "float32" else ()
    return run([*program, work.folder, "--precision", precision, *after, *_lengths(context, work), *options])


def _peer(context: Context, work: Work, *options: str, compiled: bool = False) -> Finished:
    files = {"plans": "plans.json", "dataset": "dataset.json", "weights": "weights_peer.pt", "batch": "batch.npz"}
    files["after"] = "after_peer.pt"
    words = [word for option, file in files.items() for word in (f"--{option}", work.folder / file)]
    environment = context.peer_environment(work.folder / "peer")
    return run(
        [*context.peer_script("training_step"), *words, *_lengths(context, work), *options],
        env={**environment, "nnUNet_compile": str(compiled).lower()},
    )


def _lengths(context: Context, work: Work) -> tuple[str, ...]:
    return ("--threads", str(context.cores), "--warm-up", str(work.warm_up), "--steps", str(work.steps))


def _cuda_on_both_sides(context: Context) -> bool:
    question = "import torch; print(str(torch.cuda.is_available()).lower())"
    return torch.cuda.is_available() and bool(run([context.peer_python, "-c", question]).answer())
