"""The phantom is the same every time, and each switch does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import label

from autoseg.data.check import compare_cases, read_and_check
from autoseg.data.discovery import discover
from autoseg.data.image import Image
from autoseg.data.phantom import PhantomOptions, make_case, write_phantom

SMALL: dict[str, Any] = {"cases": 5, "shape": (40, 40, 40)}
CLEAN = {
    "partial_volume": False, "noise": False, "inhomogeneity": False, "anisotropic": False, "varied_shapes": False,
    "low_contrast": False,
}  # fmt: skip


def clean(case: int = 0, **switches: bool) -> tuple[Image, np.ndarray]:
    return make_case(case, PhantomOptions(**SMALL, **{**CLEAN, **switches}))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("dimension", [2, 3])
def test_files_are_equal_every_time(tmp_path: Path, dimension: int) -> None:
    options = PhantomOptions(**SMALL, dimension=dimension)
    for name in ("a", "b"):
        write_phantom(tmp_path / name, options)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    write_phantom(tmp_path / "c", options.with_(seed=1))
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize("dimension", [2, 3])
def test_is_a_sound_nnunet_data_set(tmp_path: Path, dimension: int) -> None:
    dataset = discover(write_phantom(tmp_path, PhantomOptions(**SMALL, dimension=dimension)))
    assert (dataset.layout, dataset.channels) == ("nnunet", ("MR",))
    assert list(dataset.labels.names) == ["background", "organ", "lesion", "vessel"]
    checked = [read_and_check(case, dataset) for case in dataset.training]
    assert len(checked) == 5
    assert [problem for item in checked for problem in item.problems] + compare_cases(dataset, checked) == []
    assert {item.dimension for item in checked} == {dimension}


def test_default_cases_hold_every_class_and_differ() -> None:
    cases = [make_case(number, PhantomOptions()) for number in range(3)]
    for image, labels in cases:
        assert image.shape == labels.shape
        assert image.array.dtype == np.uint16
        voxels = np.bincount(labels.ravel(), minlength=4)
        assert voxels.min() > 200
    assert len({image.shape for image, _ in cases}) > 1


def test_lesion_lies_in_the_organ() -> None:
    _, labels = clean()
    inside = np.argwhere(labels == 2)
    neighbours = {labels[z, y, x + 1] for z, y, x in inside} | {labels[z, y - 1, x] for z, y, x in inside}
    assert {1, 2} <= neighbours
    assert 3 not in neighbours
    assert label(np.isin(labels, (1, 2)))[1] == 1


def test_no_threshold_separates_the_classes() -> None:
    image, labels = clean()
    for value in (1, 3):
        inside = np.unique(image.array[0][labels == value])
        assert np.isin(image.array[0][labels == 0], inside).any(), "a structure without label looks the same"


def test_classes_can_be_dropped() -> None:
    _, labels = make_case(0, PhantomOptions(**SMALL, classes=1))
    assert set(np.unique(labels)) == {0, 1}


def test_clean_phantom_has_a_handful_of_intensities() -> None:
    image, _ = clean()
    assert len(np.unique(image.array)) == 5
    assert np.array_equal(clean(0)[0].array, clean(1)[0].array), "cases differ in nothing"


def test_partial_volume_mixes_intensities() -> None:
    image, _ = clean(partial_volume=True)
    pure = np.unique(clean()[0].array)
    mixed = ~np.isin(image.array, pure)
    assert 0.02 < mixed.mean() < 0.4
    assert image.array.min() >= pure.min()
    assert image.array.max() <= pure.max()


def test_noise_is_rician() -> None:
    image, noisy = clean()[0].array, clean(noise=True)[0].array.astype(float)
    air, tissue = noisy[image == 0], noisy[image == 400]
    # Gudbjartsson and Patz (1995): in air a Rayleigh distribution, mean sigma sqrt(pi / 2), deviation
    # sigma sqrt(2 - pi / 2), their ratio 1.913; where the signal is strong nearly Gaussian with deviation sigma.
    assert air.mean() / air.std() == pytest.approx(1.913, abs=0.03)
    assert tissue.std() == pytest.approx(air.std() / np.sqrt(2 - np.pi / 2), rel=0.03)


def test_inhomogeneity_is_smooth_and_multiplicative() -> None:
    flat, biased = clean()[0].array[0], clean(inhomogeneity=True)[0].array[0]
    assert np.array_equal(biased == 0, flat == 0)
    gain = np.where(flat > 0, biased / np.maximum(flat, 1), np.nan)
    assert np.nanmax(gain) - np.nanmin(gain) > 0.1
    assert np.nanmax(np.abs(np.diff(gain, axis=2))) < 0.1


def test_anisotropy_makes_thick_and_few_slices() -> None:
    fine, coarse = clean()[0], clean(anisotropic=True)[0]
    assert coarse.geometry.spacing == (2.5, 1.0, 1.0)
    assert coarse.shape == (16, 40, 40)
    assert fine.geometry.spacing == (1.0, 1.0, 1.0)
    assert fine.shape == (40, 40, 40)


def test_shapes_vary_between_cases() -> None:
    options = PhantomOptions(**SMALL, **{**CLEAN, "varied_shapes": True})
    labels = [make_case(case, options)[1] for case in range(3)]
    volumes = [np.bincount(array.ravel(), minlength=4)[1] for array in labels]
    assert max(volumes) > 1.1 * min(volumes)


def test_low_contrast_brings_intensities_together() -> None:
    (strong, labels), (weak, _) = clean(), clean(low_contrast=True)
    for value in (1, 2, 3):
        contrast = [float(image.array[0][labels == value].mean()) - 400 for image in (strong, weak)]
        assert 0 < contrast[1] < 0.7 * contrast[0]
