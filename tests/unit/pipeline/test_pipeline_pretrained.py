"""What a trained run gives to another: which weights, and which plan."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError, WorkspaceError
from autoseg.fingerprint.record import Fingerprint
from autoseg.pipeline.choices import choose_configurations
from autoseg.pipeline.pretrained import adopt_plan, starting_weights, trained_plan
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.workspace import ALL_DATA, Run

STATISTICS = IntensityStatistics(mean=1, median=1, std=2, min=-3, max=5, percentile_00_5=-2, percentile_99_5=4)
OTHERS = IntensityStatistics(mean=9, median=9, std=9, min=9, max=9, percentile_00_5=9, percentile_99_5=9)
LABELS = LabelScheme(names={"background": 0, "liver": 1})


def configuration(dimension: int = 3, **changes: object) -> ConfigurationPlan:
    made = ConfigurationPlan(
        spacing=(1.0,) * dimension,
        median_shape=(8.0,) * dimension,
        patch_size=(8,) * dimension,
        batch_size=2,
        strides=((1,) * dimension, (2,) * dimension),
        kernel_sizes=((3,) * dimension,) * 2,
        features_per_stage=(4, 8),
        blocks_per_stage=(1, 1),
        decoder_blocks_per_stage=(1,),
        normalization=("ct",),
        use_mask_for_norm=(False,),
        batch_dice=False,
    )
    return made.with_(**changes)


def run_with(root: Path, configurations: dict[str, ConfigurationPlan], **trained: tuple[str, ...]) -> Run:
    """A run whose folds have a file in the place of their weights."""
    run = Run(root)
    Plan(
        dataset="Liver",
        planner="nnunet",
        channels=("CT",),
        labels=LABELS,
        dimension=3,
        transpose_forward=(2, 0, 1),
        intensities=(STATISTICS,),
        file_ending=".nii.gz",
        configurations=configurations,
    ).save(run.plan)
    for name, folds in trained.items():
        for fold in folds:
            run.fold(name, fold).root.mkdir(parents=True)
            run.fold(name, fold).final.write_bytes(b"weights")
    return run


def measured(root: Path, channels: tuple[str, ...] = ("CT",), dimension: int = 3) -> Run:
    """A run with a fingerprint of two cases, not planned."""
    run = Run(root)
    labels = LabelScheme(names={"background": 0, "spleen": 3, "kidney": 7})
    cases = tuple(Case(id=name, images=(root / name,), label=root / name) for name in ("a", "b"))
    Dataset(
        name="Spleen", folder=root, layout="plain", channels=channels, labels=labels, file_ending=".mha",
        label_ending=".nrrd", training=cases,
    ).save(run.dataset)  # fmt: skip
    Fingerprint(
        name="Spleen", dimension=dimension, channels=channels, outputs=3, labels_with_background=3,
        intensities=(OTHERS,) * len(channels), cases=(), median_relative_size=1.0,
    ).save(run.fingerprint)  # fmt: skip
    return run


def test_a_checkpoint_is_taken_as_it_is(tmp_path: Path) -> None:
    assert starting_weights(tmp_path / "weights.pt", "2d", "3") == tmp_path / "weights.pt"


def test_each_fold_starts_from_its_own_and_others_say_that_they_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_with(tmp_path, {"3d_fullres": configuration()}, **{"3d_fullres": ("2", "10", ALL_DATA)})
    for fold in ("2", "10", ALL_DATA):
        assert starting_weights(run.root, "3d_fullres", fold) == run.fold("3d_fullres", fold).final
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert starting_weights(run.root, "3d_fullres", "0") == run.fold("3d_fullres", "2").final
    assert "fold 0 starts from fold 2" in caplog.text


def test_a_model_of_all_data_may_start_from_any_fold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = run_with(tmp_path, {"2d": configuration(2)}, **{"2d": ("1",)})
    assert starting_weights(run.root, "2d", ALL_DATA) == run.fold("2d", "1").final
    assert not caplog.records


def test_a_configuration_without_weights_is_refused(tmp_path: Path) -> None:
    run = run_with(tmp_path, {"2d": configuration(2), "3d_fullres": configuration()}, **{"2d": ("0",)})
    with pytest.raises(WorkspaceError, match="no trained fold of 3d_fullres") as caught:
        starting_weights(run.root, "3d_fullres", "0")
    assert caught.value.got == "trained: 2d"


def test_the_plan_keeps_what_is_trained_and_its_links(tmp_path: Path) -> None:
    low = configuration(next_stage="3d_cascade_fullres")
    items = {"3d_lowres": low, "3d_cascade_fullres": configuration(previous_stage="3d_lowres"), "2d": configuration(2)}
    both = run_with(tmp_path / "both", items, **{"3d_lowres": ("0",), "3d_cascade_fullres": ("0",)})
    assert trained_plan(both.root).configurations == {name: items[name] for name in ("3d_lowres", "3d_cascade_fullres")}
    first = run_with(tmp_path / "first", items, **{"3d_lowres": ("0",)})
    assert trained_plan(first.root).configurations == {"3d_lowres": configuration()}
    second = run_with(tmp_path / "second", items, **{"3d_cascade_fullres": ("0",)})
    with pytest.raises(WorkspaceError, match="no trained network"):
        trained_plan(second.root)


def test_the_plan_is_the_trained_runs_and_the_names_are_the_datas(tmp_path: Path) -> None:
    source = run_with(tmp_path / "source", {"2d": configuration(2), "3d_lowres": configuration()}, **{"2d": ("0",)})
    run = measured(tmp_path / "run", channels=("MR",))
    adopted = adopt_plan(run.root, source.root)
    assert adopted == Plan.load(run.plan)
    assert adopted.configurations == {"2d": configuration(2)}
    assert (adopted.intensities, adopted.transpose_forward, adopted.planner) == ((STATISTICS,), (2, 0, 1), "nnunet")
    assert (adopted.dataset, adopted.channels, adopted.file_ending) == ("Spleen", ("MR",), ".nrrd")
    assert adopted.labels == Dataset.load(run.dataset).labels
    assert choose_configurations(adopted, "auto", budget=True) == ("2d",)


def test_a_budget_trains_what_there_is_when_neither_usual_configuration_is(tmp_path: Path) -> None:
    run = run_with(tmp_path, {"3d_lowres": configuration()}, **{"3d_lowres": ("0",)})
    assert choose_configurations(trained_plan(run.root), "auto", budget=True) == ("3d_lowres",)


@pytest.mark.parametrize(
    ("data", "text"), [({"channels": ("CT", "PET")}, "number of channels"), ({"dimension": 2}, "is for 3D images")]
)
def test_data_that_the_plan_does_not_fit_are_refused(tmp_path: Path, data: dict[str, object], text: str) -> None:
    source = run_with(tmp_path / "source", {"3d_fullres": configuration()}, **{"3d_fullres": ("0",)})
    run = measured(tmp_path / "run", **data)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=text):
        adopt_plan(run.root, source.root)
    assert not run.plan.exists()
