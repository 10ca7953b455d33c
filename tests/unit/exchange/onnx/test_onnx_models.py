"""Exported graphs compute what the networks compute, and say what must be done around them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import SimpleITK as sitk
import torch
from plugin_networks import CONVOLUTIONS, PLUG_INS
from random_runs import LABELS, REGIONS, configuration, random_run
from torch import Tensor, nn

from autoseg import plugins
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError
from autoseg.exchange.archive.reading import unpack
from autoseg.exchange.archive.writing import write_archive
from autoseg.exchange.onnx import writing as exporter
from autoseg.exchange.onnx.writing import OnnxError, OnnxModel, write_onnx
from autoseg.inference.model import Model
from autoseg.inference.predictor import Predictor
from autoseg.networks.build import build_network
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.runtime import Runtime
from autoseg.workspace import Run


def _run(path: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == ["image"]
    return session.run(["logits"], {"image": image})[0]


def _mean(run: Run, model: OnnxModel, image: np.ndarray) -> np.ndarray:
    """The mean over the folds' networks, each run by itself."""
    networks = Model.load(run, model.configuration, model.folds, runtime=Runtime(), previous=False).networks
    with torch.inference_mode():
        return torch.stack([network(torch.from_numpy(image)) for network in networks]).mean(0).numpy()


@pytest.mark.parametrize(
    ("dimension", "network", "labels"),
    [
        (2, "plain-unet", LABELS),
        (3, "plain-unet", REGIONS),
        (2, "residual-encoder-unet", REGIONS),
        (3, "residual-encoder-unet", LABELS),
    ],
)
def test_a_graph_is_the_mean_of_the_folds(tmp_path: Path, dimension: int, network: str, labels: LabelScheme) -> None:
    run = random_run(
        tmp_path / "run", {"c": configuration(dimension, network)}, {"c": ["0", "1"]}, labels=labels, best=["c"]
    )
    (model,) = write_onnx(run, tmp_path / "model.onnx")
    assert model.folds == ("0", "1")
    assert model.check.largest_difference < 1e-5
    assert model.check.equal_labels > 0.999
    image = np.random.default_rng(1).normal(size=(3, 1, *(8,) * dimension)).astype(np.float32)
    expected = _mean(run, model, image)
    np.testing.assert_allclose(_run(model.path, image), expected, atol=1e-5 * np.ptp(expected))
    one = build_network(configuration(dimension, network), 1, labels.outputs)
    one.load_state_dict(load_checkpoint(run.fold("c", "0").final)["network"])
    with torch.inference_mode():
        assert np.abs(one.eval()(torch.from_numpy(image)).numpy() - expected).max() > 1e-2  # one fold is not the mean
    graph = onnx.load(model.path)
    assert [(item.domain, item.version) for item in graph.opset_import] == [("", exporter.OPSET)]
    described = json.loads(model.description.read_text(encoding="utf-8"))
    assert described.pop("check")["batches"] == [1, 2]
    assert json.loads(next(item.value for item in graph.metadata_props if item.key == "autoseg")) == described
    assert described["input"]["shape"] == ["N", 1, *(8,) * dimension]
    assert described["output"]["activation"] == ("sigmoid" if labels.regions else "softmax")
    for path in (model.path, model.description):  # the exporter notes its source files at every node
        assert b"site-packages" not in path.read_bytes()
        assert b"unet.py" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()


def test_the_description_has_what_stands_around_the_network(tmp_path: Path) -> None:
    plan = configuration(2, spacing=(0.8, 0.8), mirror_axes=(0, 1), normalization=("ct",), use_mask_for_norm=(True,))
    run = random_run(tmp_path / "run", {"2d": plan}, {"2d": ["all"]}, labels=REGIONS)
    (model,) = write_onnx(run, tmp_path / "folder" / "model.onnx")
    described = json.loads(model.description.read_text(encoding="utf-8"))
    assert model.description.name == "model.json"
    assert described["folds"] == ["all"]
    assert described["output"]["channels"] == [{"name": "whole", "value": 2}, {"name": "core", "value": 1}]
    assert described["preprocessing"]["spacing_mm"] == [0.8, 0.8]
    assert described["preprocessing"]["normalization"][0]["name"] == "ct"
    assert described["preprocessing"]["normalization"][0]["only_nonzero_voxels"] is True
    assert described["preprocessing"]["normalization"][0]["statistics"]["percentile_99_5"] == 4.0
    assert described["tiles"]["mirror_axes"] == [0, 1]


def test_a_cascade_of_a_model_file_gives_a_graph_a_stage(tmp_path: Path) -> None:
    configurations = {
        "3d_lowres": configuration(3, next_stage="3d_cascade"),
        "3d_cascade": configuration(3, previous_stage="3d_lowres"),
    }
    folds = {"3d_lowres": ["0"], "3d_cascade": ["0"]}
    run = random_run(tmp_path / "run", configurations, folds, best=["3d_cascade"])
    write_archive(run, tmp_path / "model.zip")
    models = write_onnx(Run(unpack(tmp_path / "model.zip")), tmp_path / "model.onnx")
    assert [model.path.name for model in models] == ["model_3d_lowres.onnx", "model_3d_cascade.onnx"]
    second = json.loads(models[1].description.read_text(encoding="utf-8"))
    assert second["preprocessing"]["previous_stage"] == "3d_lowres"
    assert second["input"]["channels"] == ["CT", "3d_lowres label 1", "3d_lowres label 2"]
    image = np.random.default_rng(1).normal(size=(1, 3, 8, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(_run(models[1].path, image), _mean(run, models[1], image), atol=1e-4)


@pytest.fixture
def plane(tmp_path: Path) -> Run:
    """A run with one fold of 2d."""
    return random_run(tmp_path / "run", {"2d": configuration(2)}, {"2d": ["0"]})


def test_weights_beyond_the_limit_of_a_file_stand_beside_it(
    plane: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_LARGEST_FILE", 100)
    (model,) = write_onnx(plane, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").stat().st_size > 1000
    image = np.random.default_rng(1).normal(size=(1, 1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(_run(model.path, image), _mean(plane, model, image), atol=1e-4)


def test_a_graph_that_differs_is_not_kept(plane: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = exporter._export

    def export_another(network: torch.nn.Module, *arguments: object) -> None:
        with torch.no_grad():
            first = next(network.parameters())
            first[0] += 0.01
            export(network, *arguments)
            first[0] -= 0.01

    monkeypatch.setattr(exporter, "_export", export_another)
    with pytest.raises(OnnxError, match="does not compute what the network computes"):
        write_onnx(plane, tmp_path / "model.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_without_the_packages_it_says_how_to_get_them(
    plane: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(ConfigurationError, match=r"missing: onnxruntime\n.*pip install 'autoseg-framework\[onnx\]'"):
        write_onnx(plane, tmp_path / "model.onnx")


def test_the_example_of_the_documentation_segments_as_the_predictor_does(tmp_path: Path) -> None:
    text = (Path(__file__).parents[4] / "docs" / "deploying.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "onnxruntime" in block]
    example: dict[str, Any] = {}
    exec(code, example)
    run = random_run(tmp_path / "run", {"3d_fullres": configuration(3)}, {"3d_fullres": ["0", "1"]})
    write_onnx(run, tmp_path / "model.onnx")
    array = np.zeros((14, 19, 21), np.float32)
    array[1:7, 2:18, 3:20] = np.random.default_rng(0).normal(100, 20, size=(6, 16, 17))  # thinner than a tile
    image = sitk.GetImageFromArray(array)
    image.SetOrigin((5.0, -3.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / "image.nii.gz"))
    example["segment"](*(str(tmp_path / name) for name in ("image.nii.gz", "model.onnx", "labels.nii.gz")))
    found = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
    expected = Predictor.load(run.root, device="cpu", mirroring=False).predict(tmp_path / "image.nii.gz")
    assert found.GetOrigin() == pytest.approx((5.0, -3.0, 2.0))
    assert len(np.unique(expected)) > 1
    assert (sitk.GetArrayFromImage(found) == expected).mean() > 0.999


class _Sorting(nn.Module):
    """Does other things to images of other brightness, which a graph cannot."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.head = CONVOLUTIONS[2](channels, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.head(image if image.mean() > 0 else -image)
        return result


def test_a_network_of_a_plug_in_is_exported_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sorting = {"sorting": lambda configuration, channels, outputs: _Sorting(channels, outputs)}
    monkeypatch.setattr(plugins, "_registered", {"network": {**PLUG_INS["network"], **sorting}})
    run = random_run(tmp_path / "a", {"2d": configuration(2, "two-layers")}, {"2d": ["0"]})
    (model,) = write_onnx(run, tmp_path / "model.onnx")
    assert model.check.equal_labels > 0.999
    run = random_run(tmp_path / "b", {"2d": configuration(2, "sorting")}, {"2d": ["0"]})
    with pytest.raises(OnnxError, match="'sorting' cannot be written as an ONNX graph") as caught:
        write_onnx(run, tmp_path / "other.onnx")
    assert "--format zip" in str(caught.value)
    assert not list(tmp_path.glob("other*"))
