"""A trained model as ONNX graphs for other runtimes, each compared with PyTorch before it is kept."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.errors import AutosegError, ConfigurationError
from autoseg.exchange.onnx.description import describe
from autoseg.inference.model import Model
from autoseg.inference.selection import chosen_configurations, shared_folds
from autoseg.log import logger
from autoseg.plan.layers import input_channels
from autoseg.plan.record import Plan
from autoseg.records import write_json
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run

OPSET = 18
"""ONNX operator set of the graphs; onnxruntime knows it since 1.14."""

TOLERANCE = 1e-4
"""Largest difference from PyTorch's logits that is accepted, relative to their range."""

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_LARGEST_FILE = 1_500_000_000  # bytes of weights; a protobuf message ends at 2 GiB, larger weights stand beside it
_BATCHES = (1, 2)


class OnnxError(AutosegError):
    """A graph that cannot be made or does not compute what the network computes."""


@dataclass(frozen=True)
class OnnxCheck:
    """How a graph's logits compare with PyTorch's on random patches.

    Attributes:
        batches: batch sizes that were tried.
        largest_difference: of any logit, relative to the range of the logits.
        equal_labels: share of voxels with the same label (of all decisions, with overlapping regions).
    """

    batches: tuple[int, ...]
    largest_difference: float
    equal_labels: float


@dataclass(frozen=True)
class OnnxModel:
    """A graph that was written.

    Attributes:
        path: the `.onnx` file; weights beyond protobuf's limit stand in `<path>.data` beside it.
        description: the JSON file with what pre- and post-processing need.
        configuration, folds: whose networks are in it.
    """

    path: Path
    description: Path
    configuration: str
    folds: tuple[str, ...]
    check: OnnxCheck


class MeanNetwork(nn.Module):
    """The mean logits of several networks: (N, C, *patch) -> (N, K, *patch)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        total: Tensor = self.networks[0](image)
        for network in list(self.networks)[1:]:
            total = total + network(image)
        return total / len(self.networks)


def write_onnx(
    run: Run, out: Path, *, configuration: str | None = None, folds: Sequence[str] | None = None
) -> list[OnnxModel]:
    """Writes one ONNX graph per configuration: the mean over its folds' networks.

    Input `image`: (N, C, *patch) float32, a preprocessed patch; for a stage of a cascade the previous stage's
    foreground labels follow the image's channels, one-hot. Output `logits`: (N, K, *patch) float32. N is free, the
    patch is fixed: the networks would take other sizes (multiples of their strides), but instance normalisation takes
    its statistics over the patch, so that they are only as good as validated on patches of the planned size.

    What stands around the network (preprocessing, tiles, mirror copies, softmax) is not in the graph. It is written
    down in a JSON file beside it and in the graph's metadata under the key "autoseg". Neither names a case or a path.

    Args:
        run: a run with trained folds; an unpacked model file will do.
        out: the `.onnx` file. Where several configurations are written (an ensemble, a cascade), the configuration's
            name is put before the ending: `model_2d.onnx`.
        configuration: a name, or names joined by "+"; None takes the best of the run.
        folds: None takes all numbered folds that are trained, else the model of all data ("all").

    Raises:
        ConfigurationError: a package is missing, or the name is not in the plan.
        WorkspaceError: no such trained fold.
        OnnxError: a network of a plug-in's does what ONNX has no operator for, the graph's logits differ from PyTorch's
            by more than `TOLERANCE` (the file is not kept), or the file cannot be written.
    """
    _require_packages()
    if out.suffix == ".json":
        raise ConfigurationError("this name is needed for the description", where=out, remedy="end it with .onnx")
    plan = Plan.load(run.require(run.plan, "autoseg plan-and-train"))
    chosen = chosen_configurations(run, plan, configuration)
    networks = shared_folds(run, plan, chosen, folds)
    models = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for name, keys in networks.items():
            path = out if len(networks) == 1 else out.with_name(f"{out.stem}_{name}{out.suffix}")
            # In float32 and the contiguous layout, whatever the training had: the form that every exporter knows.
            model = Model.load(run, name, keys, runtime=Runtime(), previous=False)
            models.append(_write_one(model, path, describe(run, model, chosen, opset=OPSET)))
    except OSError as error:
        raise OnnxError(
            f"the graph cannot be written ({error.strerror})", where=out, remedy="check the path, rights and free space"
        ) from error
    return models


def _write_one(model: Model, path: Path, description: dict[str, Any]) -> OnnxModel:
    """Exports, checks, and only then puts the files in their place."""
    network, labels = MeanNetwork(model.networks).eval(), model.plan.labels
    channels = input_channels(model.configuration, len(model.plan.channels), labels)
    shape = (channels, *model.configuration.patch_size)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as beside:
        graph = Path(beside) / path.name
        try:
            _export(network, shape, description, graph)
        except torch.onnx.OnnxExporterError as error:
            raise OnnxError(
                f"the network {model.configuration.network!r} cannot be written as an ONNX graph",
                where=model.name,
                got=str(error).partition("\n")[0] or type(error).__name__,
                remedy="use the zip (`--format zip`), which holds the weights of any network",
            ) from error
        check = _check(network, shape, graph, regions=bool(labels.regions))
        target = path.with_suffix(".json")
        write_json(target, {**description, "check": asdict(check)})
        for file in sorted(graph.parent.iterdir(), reverse=True):  # the weights beside the graph before the graph
            file.replace(path.parent / file.name)
    logger.debug(
        "%s: %s fold %s; largest difference from PyTorch %.1e of the logits' range, %.4f %% equal labels",
        path, model.name, ", ".join(model.folds), check.largest_difference, 100 * check.equal_labels,
    )  # fmt: skip
    return OnnxModel(path, target, model.name, model.folds, check)


def _export(network: nn.Module, shape: tuple[int, ...], description: dict[str, Any], path: Path) -> None:
    # A batch of two: sizes of one would be taken for fixed.
    example = torch.zeros((2, *shape))
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    _remove_traces(program.model)
    program.model.metadata_props["autoseg"] = json.dumps(description)
    size = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    program.save(path, external_data=size > _LARGEST_FILE)


def _remove_traces(model: Any) -> None:
    """Removes what the exporter notes at every node: source lines, with the paths of this machine."""
    graph = model.graph
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()


def _check(network: nn.Module, shape: tuple[int, ...], path: Path, *, regions: bool) -> OnnxCheck:
    """Runs the graph and the network on the same random patches."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    difference, equal = 0.0, []
    for batch in _BATCHES:
        patch = torch.randn((batch, *shape), generator=generator)
        with torch.inference_mode():
            expected = network(patch).numpy()
        logits = session.run(["logits"], {"image": patch.numpy()})[0]
        span = max(float(np.ptp(expected)), float(np.finfo(np.float32).tiny))
        largest = float(np.abs(logits - expected).max())
        difference = max(difference, largest / span if np.isfinite(largest) else float("inf"))
        same = (logits > 0) == (expected > 0) if regions else logits.argmax(1) == expected.argmax(1)
        equal.append(float(same.mean()))
    if difference > TOLERANCE:
        raise OnnxError(
            "the graph does not compute what the network computes; it is not kept",
            where=path.name,
            got=f"a difference of {difference:.1e} of the logits' range",
            expected=f"at most {TOLERANCE:.0e}",
            remedy="use the zip (`--format zip`), or other versions of torch, onnxscript and onnxruntime",
        )
    return OnnxCheck(_BATCHES, difference, float(np.average(equal, weights=_BATCHES)))


def _require_packages() -> None:
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            "ONNX needs packages that are not installed",
            got=f"missing: {', '.join(missing)}",
            remedy="pip install 'autoseg-framework[onnx]'",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks about itself (deprecations, packages it could use) from the user."""
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatty.setLevel(level)
