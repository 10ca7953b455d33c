"""Using a trained run: one image, a folder, wrong images, other kinds of data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from skimage.io import imsave
from small_runs import small_networks

from autoseg import Predictor, pipeline
from autoseg.data.discovery import discover
from autoseg.data.files import read_image, read_labels
from autoseg.errors import ImageError, WorkspaceError
from autoseg.inference.estimate import CaseEstimates
from autoseg.plan.record import Plan
from autoseg.workspace import Run


def _images(phantom: Path) -> list[Path]:
    return sorted((phantom / "imagesTr").iterdir())


def test_a_folder_gives_one_label_file_a_case_in_its_geometry(trained: Run, phantom: Path, tmp_path: Path) -> None:
    assert pipeline.predict(trained.root, [phantom / "imagesTr"], tmp_path, device="cpu") == []
    cases = {case.id for case in discover(phantom).training}
    assert {path.name.removesuffix(".nii.gz") for path in tmp_path.iterdir()} == {*cases, "uncertainty.json"}
    assert CaseEstimates.load(tmp_path / "uncertainty.json").cases.keys() == cases
    for case in cases:
        image = read_image(phantom / "imagesTr" / f"{case}_0000.nii.gz")
        assert read_labels(tmp_path / f"{case}.nii.gz").geometry == image.geometry


def test_an_array_a_file_and_an_image_give_the_same_labels(trained: Run, phantom: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(trained.root, device="cpu")
    file = _images(phantom)[0]
    image = read_image(file)
    from_file = predictor.predict(file)
    assert from_file.shape == image.shape
    assert np.array_equal(from_file, predictor.predict(image))
    assert np.array_equal(from_file, predictor.predict(image.array, spacing=image.geometry.spacing))
    pipeline.predict(trained.root, [file], tmp_path, device="cpu")
    written = read_labels(next(tmp_path.glob("*.nii.gz"))).array[0]
    assert np.array_equal(from_file, written)


def test_validation_and_prediction_are_the_same_path(trained: Run, phantom: Path) -> None:
    predictor = Predictor.load(trained.root, device="cpu")
    predictor._decision = None  # the validation predicts without post-processing
    for path in trained.fold("3d_fullres", 0).validation.glob("*.nii.gz"):
        image = phantom / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz")
        assert np.array_equal(predictor.predict(image), read_labels(path).array[0])


def test_wrong_images_are_named_and_the_others_go_on(trained: Run, phantom: Path, tmp_path: Path) -> None:
    inputs, out = tmp_path / "inputs", tmp_path / "out"
    inputs.mkdir()
    good = _images(phantom)[0]
    shutil.copy(good, inputs / "good.nii.gz")
    (inputs / "broken.nii.gz").write_bytes(good.read_bytes()[:200])
    volume = sitk.GetImageFromArray(np.zeros((8, 8, 8, 2), np.float32), isVector=True)
    sitk.WriteImage(volume, str(inputs / "two_channels.nii.gz"))
    imsave(inputs / "plane.png", np.zeros((16, 16), np.uint8), check_contrast=False)
    failures = pipeline.predict(trained.root, [inputs], out, device="cpu")
    assert sorted(path.name for path in out.iterdir()) == ["good.nii.gz", "uncertainty.json"]
    text = "\n".join(failures)
    assert len(failures) == 3
    assert "broken" in text
    assert "number of channels does not fit the model" in text
    assert "dimensionality does not fit the model" in text


def test_probabilities_agree_with_the_labels(trained: Run, phantom: Path, tmp_path: Path) -> None:
    file = _images(phantom)[0]
    pipeline.predict(trained.root, [file], tmp_path, device="cpu", save_probabilities=True)
    probabilities = np.load(next(tmp_path.glob("*.npz")))["probabilities"]
    labels = read_labels(next(tmp_path.glob("*.nii.gz"))).array[0]
    np.testing.assert_allclose(probabilities.astype(np.float32).sum(0), 1, atol=3e-3)
    assert (probabilities.argmax(0) == labels).mean() > 0.95  # float16 ties, and post-processing if there is one


def test_an_interrupted_prediction_goes_on(trained: Run, phantom: Path, tmp_path: Path) -> None:
    first, second = _images(phantom)[:2]
    pipeline.predict(trained.root, [first], tmp_path, device="cpu")
    done = tmp_path / first.name.replace("_0000", "")
    made = done.stat().st_mtime_ns
    pipeline.predict(trained.root, [first, second], tmp_path, device="cpu", keep_existing=True)
    assert done.stat().st_mtime_ns == made
    assert len(CaseEstimates.load(tmp_path / "uncertainty.json").cases) == len(list(tmp_path.glob("*.nii.gz"))) == 2
    pipeline.predict(trained.root, [first], tmp_path, device="cpu")
    assert done.stat().st_mtime_ns > made


def test_several_processes_divide_the_images(
    trained: Run, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert pipeline.predict(trained.root, [phantom / "imagesTr"], alone, device="cpu") == []
    everything = {path.name: path.read_bytes() for path in alone.iterdir()}
    monkeypatch.setenv("WORLD_SIZE", "3")
    for number, rank in enumerate("201", start=1):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert pipeline.predict(trained.root, [phantom / "imagesTr"], together, device="cpu") == []
        assert len(list(together.glob("*.nii.gz"))) == 2 * number
        assert (together / "uncertainty.json").exists() == (number == 3)
    assert {path.name: path.read_bytes() for path in together.iterdir()} == everything
    for rank in "012":  # after an interruption each goes on with its own share
        min(together.glob("*.nii.gz")).unlink()
        monkeypatch.setenv("RANK", rank)
        pipeline.predict(trained.root, [phantom / "imagesTr"], together, device="cpu", keep_existing=True)
    for rank in "012":
        monkeypatch.setenv("RANK", rank)
        pipeline.predict(trained.root, [phantom / "imagesTr"], together, device="cpu", keep_existing=True)
    assert {path.name: path.read_bytes() for path in together.iterdir()} == everything


def test_an_array_without_spacing_and_an_untrained_run_are_refused(trained: Run, prepared: Run) -> None:
    with pytest.raises(ImageError, match="an array needs its spacing"):
        Predictor.load(trained.root, device="cpu").predict(np.zeros((8, 8, 8), np.float32))
    with pytest.raises(WorkspaceError, match="no trained model"):
        Predictor.load(prepared.root)
    with pytest.raises(WorkspaceError, match="no trained fold 3"):
        Predictor.load(trained.root, folds=("3",))


def _run_few_steps(dataset: Path, run: Run, configuration: str) -> dict:
    pipeline.fingerprint_dataset(dataset, run.root, workers=1)
    pipeline.make_plan(run.root)
    small_networks(run)
    return pipeline.plan_and_train(
        dataset, run.root, configurations=configuration, folds="0", steps=3, device="cpu", workers=0, resume=True
    )


def test_2d_colour_pictures_of_several_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dataset, run = tmp_path / "dataset", Run(tmp_path / "run")
    for folder in ("images", "labels"):
        (dataset / folder).mkdir(parents=True)
    for i in range(6):
        shape = (40 + 4 * i, 48)
        labels = np.zeros(shape, np.uint8)
        labels[10:20, 8 + i : 30] = 255
        picture = (rng.random((*shape, 3)) * 60 + labels[..., None] * 0.6).astype(np.uint8)
        if i % 2:  # grey pictures among coloured ones, as microscopes give them
            picture = picture[..., 0]
        imsave(dataset / "images" / f"case{i}.png", picture, check_contrast=False)
        imsave(dataset / "labels" / f"case{i}.png", labels, check_contrast=False)
    _run_few_steps(dataset, run, "2d")
    predictions = list(run.fold("2d", 0).validation.glob("*.png"))
    assert predictions
    for path in predictions:
        array = read_labels(path).array
        assert array.shape == read_labels(dataset / "labels" / path.name).array.shape
        assert set(np.unique(array)) <= {0, 255}
    assert run.report.is_file()


def test_regions_and_an_ignore_label(phantom: Path, tmp_path: Path) -> None:
    dataset, run = tmp_path / "dataset", Run(tmp_path / "run")
    shutil.copytree(phantom, dataset)
    description = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    description["labels"] = {"background": 0, "whole": [1, 2], "inner": [2], "vessel": [3], "ignore": 4}
    description["regions_class_order"] = [1, 2, 3]
    (dataset / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    for path in (dataset / "labelsTr").iterdir():
        labels = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(labels)
        array[:3] = 4  # the first slices are not annotated
        changed = sitk.GetImageFromArray(array)
        changed.CopyInformation(labels)
        sitk.WriteImage(changed, str(path))
    summary = _run_few_steps(dataset, run, "3d_fullres")
    assert set(summary.configurations["3d_fullres"].mean) == {"whole", "inner", "vessel"}
    assert Plan.load(run.plan).labels.outputs == 3
    for path in run.fold("3d_fullres", 0).validation.glob("*.nii.gz"):
        assert set(np.unique(read_labels(path).array)) <= {0, 1, 2, 3}
