"""What is said about the networks that predict."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from random_runs import LABELS, configuration, random_run

from autoseg.data.dataset import Case, Dataset
from autoseg.data.splits import k_fold, save_splits
from autoseg.inference.formats import write_model
from autoseg.pipeline.prediction import predict
from autoseg.run_state import begin_training
from autoseg.tasks.segmentation.trainer.application import networks_in_words
from autoseg.workspace import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Five folds in the splits: 0 and 1 are trained, 3 was begun, 2 and 4 were not."""
    made = random_run(tmp_path / "run", {"2d": configuration(2)}, {"2d": ["0", "1"]}, best=["2d"])
    write_dataset(made, tmp_path)
    begun = made.fold("2d", 3)
    begun.root.mkdir()
    begun.metrics.write_text('{"step": 7}\n', encoding="utf-8")
    return made


def write_dataset(run: Run, folder: Path) -> None:
    """dataset.json of ten cases and splits.json of five folds."""
    cases = tuple(Case(id=f"case_{i}", images=(folder / f"case_{i}.nii.gz",)) for i in range(10))
    Dataset(
        name="livers",
        folder=folder,
        layout="plain",
        channels=("CT",),
        labels=LABELS,
        file_ending=".nii.gz",
        label_ending=".nii.gz",
        training=cases,
    ).save(run.dataset)
    save_splits(run.splits, k_fold([case.id for case in cases]))


def test_unfinished_and_untrained_folds_are_told_apart(run: Run) -> None:
    assert networks_in_words(run, "2d", ("0", "1")) == (
        "2d: the mean of the networks of folds 0, 1; fold 3 was begun and never finished; folds 2, 4 are not trained"
    )
    run.fold("2d", 3).metrics.unlink()
    assert networks_in_words(run, "2d", ("0", "1", "2", "3")) == (
        "2d: the mean of the networks of folds 0, 1, 2, 3; fold 4 is not trained"
    )


def test_nothing_is_said_of_folds_that_the_user_left_out(run: Run) -> None:
    assert networks_in_words(run, "2d", ("1",), chosen=True) == "2d: the network of fold 1"


def test_the_model_of_all_data_has_no_other_folds(run: Run) -> None:
    assert networks_in_words(run, "2d", ("all",)) == "2d: the model of all data"


def test_splits_that_cannot_be_read_keep_nobody_from_predicting(run: Run) -> None:
    run.splits.write_text("[", encoding="utf-8")
    assert networks_in_words(run, "2d", ("0", "1")) == (
        "2d: the mean of the networks of folds 0, 1; fold 3 was begun and never finished"
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_prediction_says_whose_networks_it_averages(
    packed: bool, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = tmp_path / "image.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 8, 8), np.float32)), str(image))
    source, rest = run.root, "; fold 3 was begun and never finished; folds 2, 4 are not trained"
    if packed:
        source, rest = tmp_path / "model.zip", ""
        write_model("zip", run.root, source)
    caplog.set_level(logging.INFO, logger="autoseg")
    assert predict(source, [image], tmp_path / "labels", device="cpu") == []
    assert f"predicting with 2d: the mean of the networks of folds 0, 1{rest}" in caplog.messages


def test_weights_of_a_training_before_are_told(run: Run) -> None:
    begin_training(run.fold("2d", 1))
    words = networks_in_words(run, "2d", ("0", "1"), chosen=True)
    assert words.endswith("fold 1 is of the training before, as its latest is not finished")
