"""The kit catches plug-ins that break a promise of their kind, and says which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from markupsafe import Markup
from torch import Tensor, nn

from autoseg import plugins
from autoseg.batches.augment.transform import Sample
from autoseg.batches.sampling import Draw
from autoseg.cli.listings import Listing
from autoseg.data import itk
from autoseg.data.formats import NIFTI
from autoseg.data.image import Geometry, Image
from autoseg.errors import ImageError, PlanError
from autoseg.inference.formats import ModelFormat
from autoseg.networks.family import NetworkFamily
from autoseg.networks.layers import Layer
from autoseg.networks.structure import Structure
from autoseg.plan.record import TransformPlan
from autoseg.report.section import Section
from autoseg.studies.comparison.baselines.protocol import Segmentation
from autoseg.tasks.segmentation.trainer.trainer import SegmentationTrainer
from autoseg.testing import ContractBroken, check_plugin
from autoseg.training.context import Traits

CONVOLUTIONS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
CALLS = count()
"""Something that changes from call to call."""


def broken(kind: str, plugin: Any, promise: str, **options: Any) -> Any:
    return pytest.param(kind, plugin, promise, options, id=f"{kind}: {promise}")


def plain(configuration: Any, channels: int, outputs: int) -> nn.Module:
    return CONVOLUTIONS[configuration.dimension](channels, outputs, 3, padding=1)


def seeded_by_the_clock(configuration: Any, channels: int, outputs: int) -> nn.Module:
    network = plain(configuration, channels, outputs)
    nn.init.constant_(network.weight, next(CALLS))
    return network


class Part(nn.Module):
    """A convolution that is used, and one that is not; `choose` says what comes of its logits."""

    def __init__(self, network: nn.Module, choose: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.network, self.choose = network, choose

    def forward(self, image: Tensor) -> Any:
        return self.choose(self, self.network(image))


def part(choose: Callable[[Any, Tensor], Any], **more: Any) -> Any:
    def build(configuration: Any, channels: int, outputs: int) -> nn.Module:
        network = Part(plain(configuration, channels, outputs), choose)
        for name, make in more.items():
            setattr(network, name, make())
        return network

    return build


def head(configuration: Any, channels: int, outputs: int) -> list[Layer]:
    one = (1,) * configuration.dimension
    return [Layer("head", channels, outputs, one, configuration.patch_size, one)]


NETWORKS = [
    broken("network", lambda a, b: None, "to be called as its kind is"),
    broken("network", lambda a, b, c: len, "a torch module"),
    broken("network", seeded_by_the_clock, "equal weights for equal seeds"),
    broken("network", part(lambda self, logits: logits[..., 1:]), "logits of shape"),
    broken("network", part(lambda self, logits: [logits, logits]), "logits of shape"),
    broken("network", part(lambda self, logits: logits / 0), "finite logits"),
    broken("network", part(lambda self, logits: logits, unused=lambda: nn.Linear(2, 2)), "a gradient for every"),
    broken("network", part(lambda self, logits: logits * torch.rand(())), "the same logits"),
    broken("network", part(lambda self, logits: logits - logits.mean(0)), "do not depend on the rest of its batch"),
    broken("network", NetworkFamily(plain, layers=head), "layers with the network's"),
    broken("network", NetworkFamily(plain, structure=Structure(stem="begin")), "to work on the contract's data"),
    broken(
        "network",
        NetworkFamily(
            part(lambda self, logits: logits + 1), structure=Structure(readout=lambda n: (nn.Identity(), n.network))
        ),
        "the last layer that `readout` takes off",
    ),
]


def cross_entropy(logits: Tensor, target: Any, *, batch_dice: bool) -> Tensor:
    loss: Tensor = plugins.resolve("loss", "cross-entropy")(logits, target, batch_dice=batch_dice)
    return loss


def loss_of(change: Callable[[Tensor, Tensor, Any], Tensor]) -> Any:
    """Cross-entropy with something wrong, of plain labels."""

    def loss(logits: Tensor, target: Any, *, batch_dice: bool) -> Tensor:
        return change(cross_entropy(logits, target, batch_dice=batch_dice), logits, target)

    return loss


def spoil(loss: Tensor, logits: Tensor, target: Any) -> Tensor:
    with torch.no_grad():
        logits.add_(1)
    return loss


LOSSES = [
    broken("loss", lambda logits, target: 0, "to be called as its kind is"),
    broken("loss", loss_of(lambda loss, logits, target: loss.repeat(2)), "a scalar tensor"),
    broken("loss", loss_of(lambda loss, logits, target: loss.item()), "a scalar tensor"),
    broken("loss", loss_of(lambda loss, logits, target: loss / 0), "a finite loss in 2D"),
    broken("loss", loss_of(lambda loss, logits, target: loss + next(CALLS)), "the same loss each time"),
    broken("loss", loss_of(spoil), "to work on the contract's data|as they were"),
    broken("loss", loss_of(lambda loss, logits, target: -loss), "right logits than for wrong ones"),
    broken("loss", loss_of(lambda loss, logits, target: loss.detach()), "can be differentiated"),
    broken("loss", loss_of(lambda loss, logits, target: loss + logits.square().mean() / 1e3), "at ignored voxels"),
    broken("loss", loss_of(lambda loss, logits, target: loss + 0 / target.labels.sum()), "finite loss of background"),
]


class Sampler:
    """Draws the middle of a case, with something wrong."""

    change: Callable[[Draw], Any] = staticmethod(lambda draw: draw)

    def __init__(self, store: Any, rules: Any) -> None:
        self.rules = rules
        self.shape = store.shape(rules.cases[0])

    def draw(self, rng: np.random.Generator, index: int) -> Any:
        z, y, x = (n // 2 for n in self.shape[1:])
        return type(self).change(Draw(self.rules.cases[0], (z, y, x)))


def sampler(change: Callable[[Draw], Any]) -> type:
    return type("Broken", (Sampler,), {"change": staticmethod(change)})


SAMPLERS = [
    broken("sampler", lambda store: None, "to be called as its kind is"),
    broken("sampler", sampler(lambda draw: draw.centre), "a Draw"),
    broken("sampler", sampler(lambda draw: replace(draw, case="other")), "one of the cases"),
    broken("sampler", sampler(lambda draw: replace(draw, centre=(0.5, 1, 1))), "three whole numbers"),
    broken("sampler", sampler(lambda draw: replace(draw, centre=(900, 1, 1))), "shows a part of the image"),
    broken("sampler", sampler(lambda draw: replace(draw, centre=(0, next(CALLS) % 9, 0))), "the same places"),
    broken("sampler", sampler(lambda draw: replace(draw, centre=(0, 0, 0), forced="lesion")), "which the place was"),
]


class Transform:
    """Adds what it has drawn, with something wrong."""

    def __init__(self, change: Callable[[Sample], Sample], draw: Callable[[Any], Any] | None = None) -> None:
        self.change, self.drawn = change, draw or (lambda rng: float(rng.random()))

    def __call__(self, **options: Any) -> Transform:
        return self

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        return self.drawn(rng)

    def apply(self, sample: Sample, parameters: Any) -> Sample:
        return self.change(Sample(sample.image + 0.5, sample.labels))


TRANSFORMS = [
    broken("transform", lambda **options: 3, "to work on the contract's data"),
    broken("transform", Transform(lambda s: s, draw=lambda rng: next(CALLS)), "the same parameters for the same key"),
    broken("transform", Transform(lambda s: s, draw=lambda rng: None), "something to do"),
    broken("transform", Transform(lambda s: Sample(s.image[..., 1:], s.labels)), "image of shape"),
    broken("transform", Transform(lambda s: Sample(s.image.double(), s.labels)), "torch.float32"),
    broken("transform", Transform(lambda s: Sample(s.image, s.labels.long())), "torch.int16"),
    broken("transform", Transform(lambda s: Sample(s.image / 0, s.labels)), "finite intensities"),
    broken("transform", Transform(lambda s: Sample(s.image, s.labels + 1)), "no label that the sample did not have"),
    broken("transform", Transform(lambda s: Sample(s.image + next(CALLS), s.labels)), "the same result"),
]

AUGMENTATIONS = [
    broken("augmentation", lambda configuration: (), "to be called as its kind is"),
    broken("augmentation", lambda configuration, labels: ("mirror",), "TransformPlans"),
    broken("augmentation", lambda configuration, labels: (TransformPlan(name="miror"),), "to work on"),
    broken("augmentation", lambda configuration, labels: (TransformPlan(name="mirror"),), "mirroring along"),
    broken(
        "augmentation",
        lambda configuration, labels: (TransformPlan(name="gamma", probability=next(CALLS) % 7 / 7),),
        "the same transforms each time",
    ),
]

NORMALIZATIONS = [
    broken("normalization", lambda array, mask: array, "to be called as its kind is"),
    broken("normalization", lambda array, mask, statistics: array.astype(np.float64), "float32"),
    broken("normalization", lambda array, mask, statistics: array[:, 1:], "float32"),
    broken("normalization", lambda array, mask, statistics: array / np.float32(array.std()), "finite values"),
    broken("normalization", lambda array, mask, statistics: array + np.float32(next(CALLS)), "the same values"),
    broken("normalization", lambda array, mask, statistics: array - array[mask].mean(), "to work on|float32|finite"),
]


def planner(change: Callable[[Any], Any]) -> Any:
    def plan(fingerprint: Any, labels: Any, context: Any) -> Any:
        return change(plugins.resolve("planner", "default")(fingerprint, labels, context))

    return plan


def with_each(plan: Any, **changes: Any) -> Any:
    return plan.with_(configurations={name: one.with_(**changes) for name, one in plan.configurations.items()})


def refuse(plan: Any) -> Any:
    raise PlanError("no")


PLANNERS = [
    broken("planner", lambda fingerprint: None, "to be called as its kind is"),
    broken("planner", planner(refuse), "a plan for volumes or for pictures"),
    broken("planner", planner(lambda plan: plan.model_dump()), "a Plan for"),
    broken("planner", planner(lambda plan: plan.with_(warnings=(str(next(CALLS)),))), "the same plan each time"),
    broken("planner", planner(lambda plan: plan.with_(file_ending=".png")), "whose file_ending is"),
    broken("planner", planner(lambda plan: plan.with_(configurations={})), "one configuration at least"),
    broken("planner", planner(lambda plan: with_each(plan, network="unet")), "a network that exists"),
    broken(
        "planner", planner(lambda plan: with_each(plan, normalization=("zscore",) * 2)), "normalization that exists"
    ),
    broken("planner", planner(lambda plan: with_each(plan, normalization=("ct",))), "a normalisation per channel"),
    broken("planner", planner(lambda plan: with_each(plan, next_stage="3d")), "stages that are configurations"),
    broken("planner", planner(lambda plan: with_each(plan, options={"size": (1, {2})})), "written and read|to work on"),
]


class Hook:
    """Counts rounds, with something wrong."""

    def __init__(self, fold: Any, first_step: int) -> None:
        self.fold = fold

    def round(self, report: Any) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def hook(**methods: Any) -> Any:
    return type("Broken", (Hook,), methods)


HOOKS = [
    broken("hook", lambda fold: None, "to be called as its kind is"),
    broken("hook", lambda fold, first_step: print, r"a method round\(\)"),
    broken("hook", hook(round=lambda self, report: sum(report.validation_dice.values())), "to work on"),
    broken("hook", hook(round=lambda self, report: (self.fold.root / "x").write_text("x")), "to work on"),
    broken("hook", hook(round=lambda self, report: torch.rand(3)), "the weights that the training has without"),
]


def silent(budget: int = 1) -> None:
    pass


def unreadable(thing: NoSuchName) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Does something."""


COMMANDS = [
    broken("command", silent, "a docstring whose first line"),
    broken("command", unreadable, "to work on the contract's data"),
    broken("listing", lambda: Listing("a", ("b",), ()), "a docstring whose first line"),
    broken("listing", SimpleNamespace(description="A list."), "to be called as its kind is"),
]


def listing(made: Callable[[], Any]) -> Any:
    def table() -> Any:
        """What there is."""
        return made()

    return table


LISTINGS = [
    broken("listing", listing(lambda: [("a",)]), "a Listing"),
    broken("listing", listing(lambda: Listing("a", ("b",), (("c", "d"),))), "rows of 1 cells"),
    broken("listing", listing(lambda: Listing("a", ("b",), ((1,),))), "rows of words"),  # type: ignore[arg-type]
    broken("listing", listing(lambda: Listing("a", (), ())), "a title and headings"),
    broken("listing", listing(lambda: Listing(str(next(CALLS)), ("b",), ())), "the same listing each time"),
]


def regularizer(change: Callable[[Tensor], Any]) -> Any:
    return lambda field, spacing: change(field)


REGULARIZERS = [
    broken("regularizer", lambda field: 0, "to be called as its kind is"),
    broken("regularizer", regularizer(lambda field: field.diff(dim=1).square()), "a scalar of"),
    broken(
        "regularizer", regularizer(lambda field: field.diff(dim=1).double().square().sum()), "a scalar of torch.float3"
    ),
    broken("regularizer", regularizer(lambda field: field.square().sum()), "0 for a constant field"),
    broken("regularizer", regularizer(lambda field: -field.diff(dim=2).square().sum()), "not below zero"),
    broken("regularizer", regularizer(lambda field: field.sum() * 0), "a cost of a field that folds"),
    broken("regularizer", regularizer(lambda field: field.diff(dim=1).square().mean()), "not below zero|finite"),
]


def ssd(change: Callable[[Tensor, Tensor, Tensor | None], Tensor]) -> Any:
    return lambda **options: lambda fixed, warped, mask=None: change(fixed, warped, mask)


def right(fixed: Tensor, warped: Tensor, mask: Tensor | None) -> Tensor:
    return plugins.resolve("similarity", "ssd")()(fixed, warped, mask)


def spread(image: Tensor, mask: Tensor | None) -> Tensor:
    seen = image if mask is None else image[:, mask > 0]
    return seen.detach().max() - seen.detach().min()


SIMILARITIES = [
    broken("similarity", ssd(lambda f, w, m: (f - w).square().flatten(1).mean(1)), "a float32 scalar"),
    broken("similarity", ssd(lambda f, w, m: (f - w).square().mean()), "outside the mask"),
    broken("similarity", ssd(lambda f, w, m: -right(f, w, m)), "most like itself"),
    broken("similarity", ssd(lambda f, w, m: right(f, w, m) + 0 / spread(w, m)), "of constant images"),
    broken(
        "similarity", ssd(lambda f, w, m: right(f, w, m) if m is None or m.any() else w.sum()), "an AutosegError for"
    ),
    broken(
        "similarity", ssd(lambda f, w, m: right(f, w, m) * (2 if m is None or m.dtype == torch.bool else 1)), "bool and"
    ),
]


def registration(change: Callable[[Any, Any, int], Any]) -> Any:
    def method(pair: Any, options: Any, *, seed: int, device: Any) -> Any:
        found = plugins.resolve("registration", "multi-stage")(pair, options, seed=seed, device=device)
        return change(found, pair, seed)

    return method


def moved(transform: Callable[[Tensor], Tensor]) -> Any:
    return registration(lambda found, pair, seed: replace(found, transform=transform))


def transfer(change: Callable[[Any, np.ndarray], np.ndarray]) -> Any:
    def labels_on(labels: Any, moving: Any, fixed: Any, onto: Any, shape: Any, *, method: str) -> np.ndarray:
        return change(labels, labels.array[0][: shape[0], : shape[1], : shape[2]].copy())

    return labels_on


def overwrite(labels: Any, found: np.ndarray) -> np.ndarray:
    labels.array[...] = 0
    return found


REGISTRATIONS = [
    broken("registration", lambda pair: None, "to be called as its kind is"),
    broken("registration", moved(lambda points: points), "points nearer to where they belong"),
    broken("registration", moved(lambda points: points + 2.0 + 0.001 * next(CALLS)), "points nearer|equal transforms"),
    broken("registration", registration(lambda found, pair, seed: replace(found, warnings=(3,))), "warnings in words"),
    broken(
        "registration", registration(lambda found, pair, seed: pair.fixed.add_(1) and found), "to work|as they were"
    ),
    broken("label transfer", lambda labels: None, "to be called as its kind is"),
    broken("label transfer", transfer(lambda labels, found: found.astype(float)), "uint8 of shape"),
    broken("label transfer", transfer(lambda labels, found: found[:, 1:]), "uint8 of shape"),
    broken("label transfer", transfer(lambda labels, found: found * 3), "values of the labels"),
    broken("label transfer", transfer(overwrite), "labels as they were"),
    broken("label transfer", transfer(lambda labels, found: found), "labels that fit better"),
]


def pretraining(**methods: Any) -> Any:
    """Rotation, with something wrong."""
    from autoseg.tasks.pretraining.methods.rotation import Rotation

    return type("Broken", (Rotation,), {"__module__": __name__, **methods})


def rotation() -> Any:
    return plugins.resolve("pretraining", "rotation")


def uphill(loss: Tensor) -> Tensor:
    """The same loss with the opposite gradient."""
    return 2 * loss.detach() - loss


def embedding_of(change: Callable[[Tensor], Tensor]) -> Any:
    def online(self: Any, network: Any, batch: Any) -> Any:
        found = rotation().online(self, network, batch)
        return {**found, "embedding": change(found["embedding"])}

    return online


PRETRAININGS = [
    broken("pretraining", pretraining(momentum=property(lambda self: 3.0)), "a momentum in"),
    broken(
        "pretraining",
        pretraining(draw=lambda self, rng, shape: rotation().draw(self, np.random.default_rng(next(CALLS)), shape)),
        "the same example for the same key",
    ),
    broken("pretraining", pretraining(online=embedding_of(lambda one: one[:, 1:])), "an embedding"),
    broken("pretraining", pretraining(online=embedding_of(lambda one: one.requires_grad_())), "without gradient"),
    broken(
        "pretraining",
        pretraining(loss=lambda self, online, target, batch: uphill(rotation().loss(self, online, target, batch))),
        "a loss that steps lower",
    ),
    broken(
        "pretraining",
        pretraining(loss=lambda self, online, target, batch: rotation().loss(self, online, target, batch) / 0),
        "a finite loss",
    ),
    broken(
        "pretraining",
        pretraining(
            heads=lambda self: nn.ModuleDict({**rotation().heads(self), "unused": nn.Linear(2, 2)}),
        ),
        "a gradient for every trained weight",
    ),
]


class Guess:
    """Says label 1 everywhere, with something wrong."""

    def __init__(self, change: Callable[[np.ndarray, Any], Any]) -> None:
        self.change = change

    def __call__(self, context: Any) -> Guess:
        return self

    def predict(self, case: Any) -> Any:
        from autoseg.data.files import read_image

        labels = np.ones(read_image(case.images[0]).shape, np.uint8)
        return self.change(labels, case)


def guess(change: Callable[[np.ndarray, Any], Any], description: str = "A guess.") -> Any:
    made = Guess(change)

    def baseline(context: Any) -> Guess:
        return made

    baseline.__doc__ = description
    return baseline


def by_label(labels: np.ndarray, case: Any) -> Segmentation:
    from autoseg.data.files import read_labels

    return Segmentation(read_labels(case.label).array[0])


BASELINES = [
    broken("baseline", guess(lambda labels, case: Segmentation(labels), description=""), "a docstring"),
    broken("baseline", guess(lambda labels, case: labels), "a Segmentation"),
    broken("baseline", guess(lambda labels, case: Segmentation(labels[:, 1:])), "shape"),
    broken("baseline", guess(lambda labels, case: Segmentation(labels * 9)), "training values"),
    broken("baseline", guess(lambda labels, case: Segmentation(labels * 1.0)), "integer type"),
    broken("baseline", guess(lambda labels, case: Segmentation(labels, labels.astype(np.float32) * 2)), "from 0 to 1"),
    broken("baseline", guess(lambda labels, case: Segmentation(labels * np.uint8(next(CALLS) % 2))), "whatever order"),
    broken("baseline", guess(by_label), "to work on the contract's data"),
]


def section(html: str, **more: Any) -> Any:
    return lambda records: Section("mine", "Mine", Markup(html), **more)


def of_names(records: Any) -> Any:
    labels = {} if records.plan is None else records.plan.labels.names
    return Section("mine", "Mine", Markup(f'<section id="mine">{"".join(labels)}</section>'))


def writing(records: Any) -> None:
    (records.run.root / "mine.txt").write_text("x", encoding="utf-8")


SECTIONS = [
    broken("report section", lambda: None, "to be called as its kind is"),
    broken("report section", lambda records: "<section></section>", "a Section or None"),
    broken("report section", lambda records: Section("a", "A", "<section id=a></section>"), "markupsafe.Markup"),  # type: ignore[arg-type]
    broken("report section", section('<section id="mine"><p></section>'), "elements that are all closed"),
    broken("report section", section('<section id="other"></section>'), "one element"),
    broken("report section", section('<section id="mine"></section><p>x</p>'), "one element"),
    broken("report section", section('<section id="mine"><b id="a"></b><i id="a"></i></section>'), "occur once"),
    broken("report section", section('<section id="mine"><img src="https://x.org/a.png"></section>'), "fetched"),
    broken("report section", section('<section id="mine"></section>', after="end"), "parts of the page"),
    broken("report section", of_names, "names of labels|all closed"),
    broken("report section", writing, "a run folder that stays as it is"),
    broken("report section", lambda records: records.plan.labels and None, "to work on the contract's data"),
]


def written(run: Path, out: Path, *, configuration: Any, folds: Any) -> Iterator[str]:
    out.write_text("model\n", encoding="utf-8")
    yield "model"


FORMATS = [
    broken("model format", len, "a ModelFormat"),
    broken("model format", ModelFormat(description="", write=written), "a description"),
    broken("model format", ModelFormat(description="for us"), "a format that is written or read"),
    broken("model format", ModelFormat(description="for us", read=lambda path: path), "None for a file of another"),
    broken(
        "model format",
        ModelFormat(description="for us", write=lambda run, out, configuration, folds: ("done",)),
        "the file or folder",
    ),
    broken(
        "model format",
        ModelFormat(description="for us", write=lambda run, out, configuration, folds: ()),
        "lines that tell",
    ),
    broken("model format", ModelFormat(description="for us", write=written, makes_folder=True), "a folder, as"),
    broken("model format", ModelFormat(description="for us", write=written, read=lambda path: None), "a run folder of"),
]


class Training:
    """Segmentation, with something wrong."""

    traits = Traits()

    def __init__(self, context: Any) -> None:
        self.usual = SegmentationTrainer(context)

    def task(self) -> Any:
        return self.usual.task()

    def validation_seconds(self, step_seconds: float) -> float:
        return 1.0

    def predict_validation(self) -> Any:
        return self.usual.predict_validation()


def trainer(**members: Any) -> Any:
    return type("Broken", (Training,), members)


def lost(self: Any) -> Any:
    return dict(list(self.usual.predict_validation().items())[1:])


def forgetful(self: Any) -> Any:
    """A task whose batches depend on how many were drawn before."""
    task = self.usual.task()
    usual, opened = task.loss, count()
    task.loss = lambda network, batch: usual(network, batch) * (1 + next(opened))
    return task


def unscored(self: Any) -> Any:
    task = self.usual.task()
    task.scores = lambda counts: {"foreground": 2.0}
    return task


TRAINERS = [
    broken("trainer", lambda: None, "to be called as its kind is"),
    broken("trainer", trainer(traits="segmentation"), "`traits` that are Traits"),
    broken("trainer", trainer(traits=Traits(planner="none")), "a planner that exists"),
    broken("trainer", trainer(task=lambda self: Training(None)), "to work on the contract's data"),
    broken("trainer", trainer(task=unscored), "scores in"),
    broken("trainer", trainer(task=forgetful), "the same weights, bit for bit"),
    broken("trainer", trainer(validation_seconds=lambda self, seconds: -1.0), "seconds that a validation takes"),
    broken("trainer", trainer(predict_validation=lost), "a file for each of the cases"),
    broken("trainer", trainer(apply=classmethod(lambda cls, run, inputs, folder, request: [])), "a file whose name"),
    broken("trainer", trainer(apply=classmethod(lambda cls, run, inputs, folder, request: ["no"])), "no failures"),
]


def metric(**changes: Any) -> Any:
    return replace(plugins.resolve("metric", "dice"), **{"name": "broken", **changes})


def dice_of(change: Callable[[float | None], Any]) -> Any:
    return metric(compute=lambda pair: change(plugins.resolve("metric", "dice").compute(pair)))


def by_place(pair: Any) -> float | None:
    """Depends on where the mask lies."""
    return float(pair.prediction.argmax() % 7) / 7 if pair.counts.n_pred and pair.counts.n_ref else None


def by_size(pair: Any) -> float | None:
    """Depends on how much background is around."""
    return 1 - 1 / float(pair.prediction.size) if pair.counts.tp else None


METRICS = [
    broken("metric", lambda pair: 1.0, "a Metric"),
    broken("metric", metric(name="dice"), "the name that it is registered by"),
    broken("metric", metric(source=" "), "a title, a definition and a source"),
    broken("metric", metric(best="lower"), "the best value, 0.0, of a mask with itself"),
    broken("metric", dice_of(lambda value: value or 0.0), "None for two empty masks"),
    broken("metric", dice_of(lambda value: value and 2 * value), "a number from 0.0 to 1.0"),
    broken("metric", dice_of(lambda value: value and value / (1 + next(CALLS))), "the same value each time"),
    broken("metric", dice_of(lambda value: None), "a value of two masks that overlap"),
    broken("metric", dice_of(lambda value: value if value else 1 / 0), "to work on the contract's data"),
    broken("metric", metric(compute=by_place), "mirrored"),
    broken("metric", metric(compute=by_size), "without the background around"),
]


def image_format(**changes: Any) -> Any:
    """NIfTI with another ending, and something wrong."""

    def write(path: Path, image: Any) -> None:
        beside = path.with_suffix(".nii")
        itk.write(beside, image)
        beside.replace(path)

    def read(path: Path) -> Any:
        beside = path.with_name(f".{path.name}.nii")
        beside.write_bytes(path.read_bytes())
        try:
            return NIFTI.read(beside)
        finally:
            beside.unlink()

    return replace(NIFTI, **{"endings": (".broken",), "read": read, "write": write, "prepare": None, **changes})


def read_as(change: Callable[[Any], Any]) -> Any:
    usual = image_format().read
    return image_format(read=lambda path: change(usual(path)))


def placed(**changes: Any) -> Any:
    return read_as(lambda image: replace(image, geometry=replace(image.geometry, **changes)))


def lenient(path: Path) -> Any:
    try:
        return image_format().read(path)
    except ImageError:
        return SimpleNamespace(array=np.zeros((1, 2, 2, 2)))


def blank(path: Path, image: Image | None) -> Any:
    return Image(np.zeros((1, 1, 1, 1)), Geometry())


FORMATS_OF_IMAGES = [
    broken("image format", len, "an ImageFormat"),
    broken("image format", image_format(endings=(".nii",)), "to work on the contract's data"),
    broken("image format", image_format(description=""), "a description in one line"),
    broken("image format", image_format(read=lenient), "that is no image"),
    broken("image format", image_format(read=lambda path: {}[path]), "to work on the contract's data"),
    broken("image format", read_as(lambda image: image.with_array(image.array + 1)), "as it was written"),
    broken("image format", read_as(lambda image: image.with_array(image.array[..., 1:])), "as it was written"),
    broken("image format", placed(spacing=(1.0, 1.0, 1.0)), "the spacing"),
    broken("image format", placed(origin=(1.0, 1.0, 1.0)), "the origin"),
    broken("image format", image_format(read_labels=blank), "labels with the values"),
]

QUICK = [
    *(*NETWORKS, *LOSSES, *SAMPLERS, *TRANSFORMS, *AUGMENTATIONS, *NORMALIZATIONS, *PLANNERS, *HOOKS),
    *(*COMMANDS, *LISTINGS, *REGULARIZERS, *SIMILARITIES, *REGISTRATIONS, *PRETRAININGS, *BASELINES),
    *(*METRICS, *FORMATS_OF_IMAGES),
]
SLOW = [*SECTIONS, *FORMATS, *TRAINERS]


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})


def catches(kind: str, plugin: Any, promise: str, options: dict[str, Any]) -> None:
    plugins.register(kind, "broken")(plugin)
    with pytest.raises(ContractBroken, match=promise) as caught:
        check_plugin(kind, "broken", **options)
    assert (caught.value.kind, caught.value.name) == (kind, "broken")
    assert "breaks its contract" in str(caught.value)


@pytest.mark.parametrize(("kind", "plugin", "promise", "options"), QUICK)
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_broken_promise_is_found(kind: str, plugin: Any, promise: str, options: dict[str, Any]) -> None:
    catches(kind, plugin, promise, options)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "plugin", "promise", "options"), SLOW)
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_broken_promise_about_runs_is_found(kind: str, plugin: Any, promise: str, options: dict[str, Any]) -> None:
    catches(kind, plugin, promise, options)


def test_every_kind_has_a_plug_in_that_breaks_it() -> None:
    assert {parameters.values[0] for parameters in (*QUICK, *SLOW)} == set(plugins.BUILT_IN)
