"""A cascade from the plan to the prediction of a new image, forced on images that would not need one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import small_networks

from autoseg import Predictor, pipeline
from autoseg.data.discovery import discover
from autoseg.data.files import read_labels
from autoseg.data.splits import Split, save_splits
from autoseg.errors import WorkspaceError
from autoseg.inference.probabilities import SavedProbabilities, probability_file
from autoseg.plan.record import Plan
from autoseg.preprocessing.previous_stage import PreviousStage, previous_stage_file, write_previous
from autoseg.preprocessing.store import Store
from autoseg.workspace import Run

FIRST, SECOND = "3d_lowres", "3d_cascade_fullres"
OPTIONS = {"steps": 6, "device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def planned(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two folds with a forced cascade, preprocessed, not trained. Do not change it."""
    run = Run(tmp_path_factory.mktemp("cascade") / "run")
    run.root.mkdir()
    one, other = np.array_split(discover(phantom).identifiers, 2)
    halves = tuple(map(str, one)), tuple(map(str, other))
    save_splits(run.splits, [Split(train=halves[i], validation=halves[1 - i]) for i in range(2)])
    pipeline.fingerprint_dataset(phantom, run.root, workers=1)
    pipeline.make_plan(run.root, cascade=True)
    small_networks(run)
    pipeline.preprocess(run.root, configurations=f"{FIRST},{SECOND}", workers=1)
    return run


@pytest.fixture(scope="module")
def trained_cascade(planned: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both folds of the first stage and fold 0 of the second, for a few steps. Do not change it."""
    run = Run(tmp_path_factory.mktemp("trained_cascade") / "run")
    shutil.copytree(planned.root, run.root)
    for fold in (0, 1):
        pipeline.train_fold(run.root, FIRST, fold, **OPTIONS)
    pipeline.train_fold(run.root, SECOND, 0, **OPTIONS)
    return run


def test_the_images_of_the_full_resolution_are_stored_once(planned: Run) -> None:
    assert list(Plan.load(planned.plan).configurations) == ["2d", FIRST, "3d_fullres", SECOND]
    assert {folder.name for folder in (planned.root / "preprocessed").iterdir()} == {FIRST, "3d_fullres"}


def test_the_second_stage_asks_for_every_fold_of_the_first(planned: Run) -> None:
    with pytest.raises(WorkspaceError) as caught:
        pipeline.train_fold(planned.root, SECOND, 0, **OPTIONS)
    for fold in (0, 1):
        assert f"autoseg train {planned.root} --configuration {FIRST} --fold {fold}" in str(caught.value)


def test_the_first_stage_leaves_labels_in_the_voxels_of_the_second(trained_cascade: Run, phantom: Path) -> None:
    store, scheme = Store(trained_cascade.preprocessed("3d_fullres")), Plan.load(trained_cascade.plan).labels
    found = {}
    for fold in (0, 1):
        folder = trained_cascade.fold(FIRST, fold)
        for path in folder.next_stage.iterdir():
            found[path.name.removesuffix(".b2nd")] = (path, folder.validation)
    assert sorted(found) == sorted(discover(phantom).identifiers)
    labels = PreviousStage({case: path for case, (path, _) in found.items()}, scheme)
    for case, (_, validation) in found.items():
        assert labels.shape(case) == store.shape(case)[1:]
        # Both come from the same logits: where the second stage's voxels are the image's, they are the same labels.
        properties, predicted = store.properties(case), read_labels(validation / f"{case}.nii.gz").array[0]
        if properties.shape == properties.shape_before_resampling:
            cropped = predicted.transpose(properties.transpose)[properties.crop]
            assert np.array_equal(labels.read(case), scheme.encode(cropped))


def test_the_second_stage_is_validated_like_any_other(trained_cascade: Run, phantom: Path) -> None:
    folder = trained_cascade.fold(SECOND, 0)
    assert folder.validation_summary.is_file()
    predictions = sorted(folder.validation.glob("*.nii.gz"))
    assert len(predictions) == 3
    for path in predictions:
        assert read_labels(path).geometry == read_labels(phantom / "labelsTr" / path.name).geometry


def test_the_validation_sees_the_labels_of_the_fold_that_did_not_see_the_case(
    trained_cascade: Run, tmp_path: Path
) -> None:
    """Other labels of one case, put where that fold's lie, change the prediction of this case alone."""
    run = Run(tmp_path / "run")
    shutil.copytree(trained_cascade.root, run.root)
    folder, first = run.fold(SECOND, 0), run.fold(FIRST, 0)
    cases = [path.name.removesuffix(".nii.gz") for path in sorted(folder.validation.glob("*.nii.gz"))]
    before = {case: _probabilities(run, case) for case in cases}
    labels = PreviousStage({cases[0]: previous_stage_file(first.next_stage, cases[0])}, Plan.load(run.plan).labels)
    write_previous(first.next_stage, cases[0], (labels.read(cases[0]) + 1) % 4, (16, 16, 16))
    pipeline.train_fold(run.root, SECOND, 0, resume=True, **OPTIONS)
    assert not np.array_equal(before[cases[0]], _probabilities(run, cases[0]))
    assert all(np.array_equal(before[case], _probabilities(run, case)) for case in cases[1:])


def _probabilities(run: Run, case: str) -> np.ndarray:
    return SavedProbabilities.open(probability_file(run.fold(SECOND, 0).probabilities, case)).rows(slice(None))


def test_an_image_through_both_stages_gives_what_the_validation_of_its_fold_gave(
    trained_cascade: Run, phantom: Path
) -> None:
    """The networks of fold 0 saw neither these images nor, in the first stage, anything made from them."""
    predictor = Predictor.load(trained_cascade.root, configuration=SECOND, folds=("0",), device="cpu")
    (model,) = predictor.models
    assert model.previous is not None
    assert (model.previous.name, model.previous.folds) == (FIRST, ("0",))
    for path in sorted(trained_cascade.fold(SECOND, 0).validation.glob("*.nii.gz")):
        image = phantom / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz")
        assert np.array_equal(predictor.predict(image), read_labels(path).array[0])


def test_a_whole_run_trains_the_first_stage_on_every_fold(planned: Run, phantom: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(planned.root, run.root)
    pipeline.plan_and_train(
        phantom, run.root, configurations=SECOND, folds="1", steps=4, device="cpu", workers=0, resume=True
    )
    assert [run.fold(FIRST, fold).validation_summary.is_file() for fold in (0, 1)] == [True, True]
    assert [run.fold(SECOND, fold).validation_summary.is_file() for fold in (0, 1)] == [False, True]
    assert SECOND in run.summary.read_text(encoding="utf-8")
