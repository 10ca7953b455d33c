"""Models of nnU-Net: folders typed out in its form become runs that compute the same, and back."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import nnunet_folders as theirs
import numpy as np
import pytest
import torch
from random_runs import REGIONS, configuration, random_run

from autoseg.data.dataset import Dataset
from autoseg.data.image import Geometry, Image
from autoseg.errors import ErrorGroup, WorkspaceError
from autoseg.exchange.nnunet.checkpoint import load_nnunet_checkpoint
from autoseg.exchange.nnunet.exporting import write_models
from autoseg.exchange.nnunet.folder import find_models
from autoseg.exchange.nnunet.importing import new_folder, read_models
from autoseg.exchange.nnunet.plans import read_labels, read_plan
from autoseg.exchange.nnunet.weights import to_nnunet
from autoseg.inference.predictor import Predictor
from autoseg.plan.record import Plan
from autoseg.training.checkpoint import load_checkpoint
from autoseg.workspace import Run

CLASSES = {"plain-unet": "PlainConvUNet", "residual-encoder-unet": "ResidualEncoderUNet"}

# State dicts of nnU-Net's classes (dynamic_network_architectures 0.4.4) with two channels, three outputs and the
# arguments of `nnunet_folders`: entries, and a digest of the sorted lines "name (shape)".
STATE_DICTS = {
    (2, "plain-unet"): (112, "8a5bc7e7a1779f18"),
    (2, "residual-encoder-unet"): (232, "2c58fc6d94e563aa"),
    (3, "plain-unet"): (112, "392acbdd4be5c594"),
    (3, "residual-encoder-unet"): (232, "f6d2536b96488faa"),
}


def _plan(plans: dict[str, Any], dataset: dict[str, Any], *wanted: str, **axes: tuple[int, ...]) -> Plan:
    return read_plan(plans, dataset, wanted, axes, "FOLDER")


def _folder(root: Path, dimension: int, network: str, labels: dict[str, Any], folds: tuple[str, ...] = ("0",)) -> Path:
    """A model of one configuration; fold k is drawn with seed k."""
    name = "2d" if dimension == 2 else "3d_fullres"
    plans = theirs.plans({name: theirs.configuration(dimension, CLASSES[network])})
    dataset = theirs.dataset(labels, regions_class_order=[1, 2])
    plan = _plan(plans, dataset, name)
    checkpoints = {}
    for seed, fold in enumerate(folds):
        made = theirs.random_network(plan.configurations[name], 1, plan.labels.outputs, seed)
        weights = theirs.named_as_nnunet_does(made, residual="residual" in network)
        checkpoints[fold] = theirs.checkpoint(weights, name, tuple(range(dimension)))
    return theirs.write_folder(root, plans, dataset, checkpoints)


def _image(seed: int = 0, shape: tuple[int, int, int] = (8, 16, 12)) -> Image:
    array = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return Image(array, Geometry(spacing=(2.0, 1.0, 0.9)))


@pytest.mark.parametrize(("dimension", "network"), STATE_DICTS)
def test_names_and_shapes_are_those_of_nnunets_state_dict(dimension: int, network: str) -> None:
    plans = theirs.plans({"it": theirs.configuration(dimension, CLASSES[network])})
    plan = _plan(plans, theirs.dataset(), "it").configurations["it"]
    made = theirs.random_network(plan, 2, 3, 0)
    weights = to_nnunet(made.state_dict(), network)
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in weights.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert (len(lines), digest) == STATE_DICTS[dimension, network]
    walked = theirs.named_as_nnunet_does(made, residual="residual" in network)
    assert weights.keys() == walked.keys()
    assert all(torch.equal(tensor, walked[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("labels", [theirs.LABELS, {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}])
@pytest.mark.parametrize(("dimension", "network"), STATE_DICTS)
def test_an_imported_model_computes_the_logits_of_the_original(
    tmp_path: Path, dimension: int, network: str, labels: dict[str, Any]
) -> None:
    run = Run(tmp_path / "run")
    plan, (model,) = read_models(_folder(tmp_path / "model", dimension, network, labels, ("0", "2")), run)
    assert model.folds == ("0", "2")
    regional = "whole" in labels
    assert plan.labels.outputs == (2 if regional else 3)
    assert plan.labels.ignore == (3 if regional else None)
    predictor = Predictor.load(run.root, device="cpu", mirroring=False)
    assert predictor.runtime.precision == "float32"
    (own,) = predictor.models
    prepared = own.prepare(_image())
    np.testing.assert_allclose(prepared.data[0], (np.clip(_image().array[0], -2, 4) - 1) / 2, atol=1e-6)
    patch = prepared.data[:, :1].squeeze(1) if dimension == 2 else prepared.data
    patch = patch[..., :16, :12]
    for seed, mine in enumerate(own.networks):
        original = theirs.random_network(plan.configurations[own.name], 1, plan.labels.outputs, seed)
        with torch.no_grad():
            torch.testing.assert_close(mine(patch[None]), original(patch[None]), rtol=1e-5, atol=1e-5)
    assert predictor.predict(_image()).shape == (8, 16, 12)


def test_the_plan_is_taken_over_field_by_field(tmp_path: Path) -> None:
    dataset = theirs.dataset({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, regions_class_order=[1, 2])
    low = theirs.configuration(3, spacing=[4.0, 2.0, 1.8], next_stage="3d_cascade_fullres", batch_dice=False)
    listed = {
        "2d": theirs.configuration(2),
        "3d_lowres": low,
        "3d_fullres": theirs.configuration(3, "ResidualEncoderUNet"),
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "mine": {"inherits_from": "3d_fullres", "preprocessor_name": "MyPreprocessor"},
    }
    changes = {"transpose_forward": [1, 0, 2], "experiment_planner_used": "nnUNetPlannerResEncL"}
    plan = read_plan(theirs.plans(listed, **changes), dataset, ["3d_fullres"], {"3d_fullres": (0, 2)}, tmp_path)
    assert plan.transpose_forward == (1, 0, 2)
    assert (plan.dataset, plan.planner, plan.dimension, plan.channels) == ("Dataset007_Liver", "resenc-l", 3, ("CT",))
    assert plan.intensities[0].percentile_99_5 == 4.0
    assert plan.labels.regions == {"whole": (1, 2), "core": (2,)}
    assert (plan.labels.region_order, plan.labels.ignore) == ((1, 2), 3)
    assert list(plan.configurations) == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    full, cascade = plan.configurations["3d_fullres"], plan.configurations["3d_cascade_fullres"]
    assert (full.network, full.blocks_per_stage, full.decoder_blocks_per_stage) == (
        "residual-encoder-unet", (1, 2, 2), (2, 1),
    )  # fmt: skip
    assert full.strides == ((1, 1, 1), (1, 2, 2), (2, 2, 2))
    assert full.kernel_sizes == ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert (full.patch_size, full.spacing, full.median_shape) == ((8, 16, 12), (2.0, 1.0, 0.9), (9.0, 20.0, 14.5))
    assert (full.normalization, full.use_mask_for_norm, full.batch_dice) == (("ct",), (False,), True)
    assert full.mirror_axes == (0, 2)
    assert [step.options["axes"] for step in full.augmentation if step.name == "mirror"] == [[0, 2]]
    assert plan.configurations["3d_lowres"].next_stage == "3d_cascade_fullres"
    assert (cascade.previous_stage, cascade.strides) == ("3d_lowres", full.strides)
    assert [step.name for step in cascade.augmentation][-2:] == ["cascade-morphology", "cascade-drop-components"]


def test_plans_of_older_versions_describe_the_same_network() -> None:
    new = theirs.configuration(3)
    old = {key: value for key, value in new.items() if key != "architecture"} | {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 6,
        "n_conv_per_stage_encoder": [2, 2, 1],
        "n_conv_per_stage_decoder": [2, 1],
        "num_pool_per_axis": [1, 2, 2],
        "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    }
    new["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 6, 6]
    plan = _plan(theirs.plans({"new": new, "old": old}), theirs.dataset(), "new", "old")
    assert plan.configurations["new"] == plan.configurations["old"]


def test_one_number_stands_for_all_stages_and_axes() -> None:
    short = theirs.arguments(3, kernel_sizes=3, strides=[1, 2, 2], n_conv_per_stage=2, n_conv_per_stage_decoder=1)
    entry = theirs.configuration(3)
    entry["architecture"]["arch_kwargs"] = short
    plan = _plan(theirs.plans({"it": entry}), theirs.dataset(), "it").configurations["it"]
    assert plan.kernel_sizes == ((3, 3, 3),) * 3
    assert plan.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    assert (plan.blocks_per_stage, plan.decoder_blocks_per_stage) == ((2, 2, 2), (1, 1))


@pytest.mark.parametrize(("first", "dimension"), [(999.0, 2), (0.5 * 999, 2), (5.0, 3)])
def test_plane_images_are_told_by_their_spacing(first: float, dimension: int) -> None:
    plans = theirs.plans({"2d": theirs.configuration(2)}, original_median_spacing_after_transp=[first, 0.5, 0.5])
    assert _plan(plans, theirs.dataset(file_ending=".png"), "2d").dimension == dimension


def test_lists_of_one_value_are_labels_unless_there_is_a_region() -> None:
    single = read_labels(theirs.dataset({"background": 0, "a": [1], "b": [2]}), "here")
    assert (single.names, single.regions, single.outputs) == ({"background": 0, "a": 1, "b": 2}, {}, 3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"normalization_schemes": ["MyNormalization"]}, "normalization MyNormalization"),
        ({"preprocessor_name": "MyPreprocessor"}, "preprocessor MyPreprocessor"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "resampling function resample_torch_fornnunet"),
        ({"resampling_fn_probabilities_kwargs": {"order": 0}}, "resampling of probabilities with {'order': 0}"),
        ({"architecture": None}, "the network is not described"),
        ({"architecture": {"network_class_name": "my.Net", "arch_kwargs": {}}}, "network Net"),
        ({"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}, "norm_op 'torch.nn.modules.batchnorm.BatchNorm3d'"),
        ({"norm_op_kwargs": {"affine": False}}, "norm_op_kwargs"),
        ({"nonlin": "torch.nn.ReLU"}, "nonlin 'torch.nn.ReLU'"),
        ({"nonlin_kwargs": {"negative_slope": 0.2}}, "nonlin_kwargs"),
        ({"dropout_op": "torch.nn.Dropout3d"}, "dropout_op 'torch.nn.Dropout3d'"),
        ({"conv_bias": False}, "conv_bias False"),
        ({"nonlin_first": True}, "nonlin_first True"),
        ({"kernel_sizes": 4}, "kernels of even size"),
        ({"patch_size": [8, 16, 11]}, "must be a multiple of"),
        ({"spacing": None}, "spacing"),
    ],
)
def test_what_does_not_exist_here_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    entry = theirs.configuration(3)
    entry["architecture"]["arch_kwargs"] |= {key: value for key, value in changes.items() if key not in entry}
    entry["architecture"]["arch_kwargs"] |= {key: changes[key] for key in ("kernel_sizes",) if key in changes}
    entry |= {key: value for key, value in changes.items() if key in entry}
    with pytest.raises(ErrorGroup) as caught:
        _plan(theirs.plans({"it": entry}), theirs.dataset(), "it")
    assert named in str(caught.value)
    kept = _plan(theirs.plans({"it": entry, "other": theirs.configuration(3)}), theirs.dataset(), "other")
    assert list(kept.configurations) == ["other"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    entry = theirs.configuration(3, normalization_schemes=["Mine"])
    entry["architecture"]["arch_kwargs"]["conv_bias"] = False
    plans = theirs.plans({"it": entry}, channels=0, image_reader_writer="NibabelIOWithReorient", label_manager="Mine")
    with pytest.raises(ErrorGroup) as caught:
        _plan(plans, theirs.dataset(), "it", "missing")
    text = str(caught.value)
    assert len(caught.value.errors) == 6
    parts = ("NibabelIOWithReorient", "label manager Mine", "conv_bias", "normalization Mine", "'missing'", "channel 0")
    for part in parts:
        assert part in text


def test_configurations_that_inherit_in_a_circle_are_refused() -> None:
    listed = {"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}
    with pytest.raises(ErrorGroup, match="a -> b"):
        _plan(theirs.plans(listed), theirs.dataset(), "a")


class _Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    root = _folder(tmp_path / "model", 3, "plain-unet", theirs.LABELS)
    trap = tmp_path / "trap"
    file = root / "fold_0" / "checkpoint_final.pth"
    torch.save(theirs.checkpoint({}, "3d_fullres", None, logging=_Code(trap)), file)
    with pytest.raises(WorkspaceError, match="is not opened"):
        load_nnunet_checkpoint(file)
    (root / "postprocessing.pkl").write_bytes(pickle.dumps(_Code(trap)))
    with pytest.raises(WorkspaceError, match="mkdir"), new_folder(tmp_path / "run") as folder:
        read_models(root, Run(folder))
    assert not trap.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    root = _folder(tmp_path / "model", 3, "plain-unet", theirs.LABELS)
    file = root / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=False)
    weights = content["network_weights"]
    weights["encoder.stages.0.0.convs.0.norm.running_mean"] = torch.zeros(4)
    weights["decoder.seg_layers.1.bias"] = torch.zeros(7)
    del weights["decoder.transpconvs.0.bias"]
    torch.save(content, file)
    with pytest.raises(ErrorGroup) as caught, new_folder(tmp_path / "run") as folder:
        read_models(root, Run(folder))
    text = str(caught.value)
    for part in ("missing: decoder.transpconvs.0.bias", "running_mean", "decoder.seg_layers.1.bias (7 in place of 3)"):
        assert part in text


def test_folds_checkpoints_and_mirroring_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _folder(tmp_path / "model", 3, "plain-unet", theirs.LABELS, ("0", "all", "1/checkpoint_best"))
    file = root / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=False)
    torch.save({**content, "inference_allowed_mirroring_axes": None, "trainer_name": "nnUNetTrainerMine"}, file)
    run = Run(tmp_path / "run")
    plan, (model,) = read_models(root, run)
    assert model.folds == ("0", "all")
    assert "1 have no checkpoint_final.pth" in caplog.text
    assert "trained by nnUNetTrainerMine" in caplog.text
    assert plan.configurations["3d_fullres"].mirror_axes == ()
    configs = [load_checkpoint(run.fold("3d_fullres", key).final)["config"]["mirror_axes"] for key in model.folds]
    assert configs == ["", "zyx"]
    own = Predictor.load(run.root, device="cpu", folds=["all"]).models[0]
    assert own.sliding.mirror_axes == (0, 1, 2)
    assert Predictor.load(run.root, device="cpu", folds=["0", "all"]).models[0].sliding.mirror_axes == ()
    assert Dataset.load(run.dataset).training == ()
    best = Run(tmp_path / "best")
    assert read_models(root, best, checkpoint="best")[1][0].folds == ("1",)


def test_a_cascade_brings_its_first_stage_from_the_folder_beside(tmp_path: Path) -> None:
    low = theirs.configuration(3, next_stage="3d_cascade_fullres")
    listed = {"3d_lowres": low, "3d_cascade_fullres": {**theirs.configuration(3), "previous_stage": "3d_lowres"}}
    plans = theirs.plans(listed)
    plan = _plan(plans, theirs.dataset(), *listed)
    roots = {}
    for name, channels in (("3d_lowres", 1), ("3d_cascade_fullres", 3)):
        made = theirs.random_network(plan.configurations[name], channels, 3, 0)
        weights = theirs.named_as_nnunet_does(made, residual=False)
        roots[name] = theirs.write_folder(
            tmp_path / "Dataset007" / f"nnUNetTrainer__nnUNetPlans__{name}", plans, theirs.dataset(),
            {"0": theirs.checkpoint(weights, name, None)},
        )  # fmt: skip
    for path in (roots["3d_cascade_fullres"], tmp_path / "Dataset007"):
        run = Run(tmp_path / path.name / "run")
        assert [one.configuration for one in read_models(path, run)[1]] == ["3d_lowres", "3d_cascade_fullres"]
        predictor = Predictor.load(run.root, configuration="3d_cascade_fullres", device="cpu")
        assert predictor.models[0].previous is not None
        assert predictor.predict(_image()).shape == (8, 16, 12)
    written = write_models(run, tmp_path / "back", configuration="3d_cascade_fullres")
    assert [one.folder.name for one in written] == [root.name for root in roots.values()]
    roots["3d_lowres"].rename(tmp_path / "elsewhere")
    with pytest.raises(WorkspaceError, match="3d_lowres, which is not there"):
        read_models(roots["3d_cascade_fullres"], Run(tmp_path / "again"))


def test_folders_without_one_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="does not exist"):
        find_models(tmp_path / "nowhere")
    (tmp_path / "model.zip").touch()
    with pytest.raises(WorkspaceError, match="unpack the zip"):
        find_models(tmp_path / "model.zip")
    with pytest.raises(WorkspaceError, match="holds no trained model"):
        find_models(tmp_path)
    for plans in ("nnUNetPlans", "mine"):
        name = f"nnUNetTrainer__{plans}__2d"
        theirs.write_folder(tmp_path / name, theirs.plans({}), theirs.dataset(), {"0": {}})
    with pytest.raises(WorkspaceError, match="several trainers or plans"):
        find_models(tmp_path)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with new_folder(tmp_path / "run") as folder:
        (folder / "file").touch()
    with pytest.raises(WorkspaceError, match="is in use"), new_folder(tmp_path / "run"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "file"]


@pytest.mark.parametrize("labels", [theirs.LABELS, {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}])
@pytest.mark.parametrize(("dimension", "network"), [(2, "plain-unet"), (3, "residual-encoder-unet")])
def test_out_and_in_again_gives_the_same_plan_and_weights(
    tmp_path: Path, dimension: int, network: str, labels: dict[str, Any]
) -> None:
    run, again = Run(tmp_path / "run"), Run(tmp_path / "again")
    plan, _ = read_models(_folder(tmp_path / "model", dimension, network, labels, ("0", "1")), run)
    (model,) = write_models(run, tmp_path / "exported")
    assert (model.folder, model.folds) == (tmp_path / "exported", ("0", "1"))
    back, _ = read_models(model.folder, again)
    assert back == plan
    for fold in model.folds:
        mine, theirs_ = (load_checkpoint(one.fold(model.configuration, fold).final) for one in (run, again))
        assert mine["config"] == theirs_["config"]
        assert all(torch.equal(tensor, theirs_["network"][name]) for name, tensor in mine["network"].items())


def test_an_exported_checkpoint_has_what_nnunets_predictor_reads(tmp_path: Path) -> None:
    item = configuration(3, mirror_axes=(0, 1, 2))
    run = random_run(tmp_path / "run", {"3d_fullres": item}, {"3d_fullres": ("0", "all")}, labels=REGIONS)
    write_models(run, tmp_path / "out", folds=["all"])
    content = torch.load(tmp_path / "out" / "fold_all" / "checkpoint_final.pth", weights_only=True)
    assert content["trainer_name"] == "nnUNetTrainer"
    assert content["inference_allowed_mirroring_axes"] == (0, 1, 2)
    assert content["init_args"]["configuration"] == "3d_fullres"
    assert content["init_args"]["plans"]["configurations"]["3d_fullres"]["normalization_schemes"] == [
        "ZScoreNormalization"
    ]
    described = content["init_args"]["dataset_json"]
    assert described["labels"] == {"background": 0, "whole": [1, 2], "core": 1}
    assert described["regions_class_order"] == [2, 1]


def test_what_nnunet_cannot_hold_is_refused(tmp_path: Path) -> None:
    item = configuration(3).with_(network="mine", normalization=("mine",))
    run = random_run(tmp_path / "run", {"3d_fullres": configuration(3)}, {"3d_fullres": ("0",)})
    single = REGIONS.with_(regions={"a": (1,), "b": (2,)}, region_order=(1, 2))
    Plan.load(run.plan).with_(configurations={"3d_fullres": item}, labels=single).save(run.plan)
    with pytest.raises(ErrorGroup) as caught:
        write_models(run, tmp_path / "out")
    assert [error.subject.split(":")[-1].strip() for error in caught.value.errors][:2] == [
        "network mine", "normalization mine",
    ]  # fmt: skip
    assert "regions of one label each" in str(caught.value)
