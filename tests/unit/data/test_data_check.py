"""Every kind of problem is found, with its message; and all problems are found at once."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import skimage.io
import tifffile

from autoseg.data.check import CheckedCase, Problem, compare_cases, format_problem, read_and_check
from autoseg.data.dataset import Case, Dataset, Reading
from autoseg.data.labels import LabelScheme

SCHEME = LabelScheme(names={"background": 0, "a": 1, "b": 2}, ignore=7)


def save(
    path: Path,
    array: np.ndarray,
    *,
    spacing: tuple[float, ...] = (1.0, 1.0, 2.0),
    origin: tuple[float, ...] = (0.0, 0.0, 0.0),
    flip: bool = False,
) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if flip:
        image.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(image, str(path))
    return path


def scan(seed: int = 0, shape: tuple[int, ...] = (4, 5, 6)) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


def mask(*values: int, shape: tuple[int, ...] = (4, 5, 6)) -> np.ndarray:
    return np.resize(np.array(values or (0, 1, 2), np.uint8), shape)


def a_dataset(folder: Path, *cases: Case, channels: int = 1, **fields: object) -> Dataset:
    values = {
        "name": "d", "folder": folder, "layout": "plain", "labels": SCHEME, "file_ending": ".nii.gz",
        "label_ending": ".nii.gz", "channels": tuple(f"m{number}" for number in range(channels)), "training": cases,
    }  # fmt: skip
    return Dataset.model_validate(values | fields)


def check(folder: Path, *images: Path, label: Path | None = None, channels: int = 1) -> CheckedCase:
    case = Case(id="x", images=images, label=label)
    return read_and_check(case, a_dataset(folder, case, channels=channels))


def only(checked: CheckedCase) -> Problem:
    assert len(checked.problems) == 1, [format_problem(problem) for problem in checked.problems]
    return checked.problems[0]


def test_sound_case(tmp_path: Path) -> None:
    image, label = save(tmp_path / "i.nii.gz", scan()), save(tmp_path / "l.nii.gz", mask(0, 1, 2, 7))
    checked = check(tmp_path, image, label=label)
    assert checked.problems == ()
    assert checked.usable
    assert checked.image is not None
    assert checked.labels is not None
    assert np.array_equal(checked.image.array[0], scan())
    assert np.array_equal(checked.labels, mask(0, 1, 2, 7))
    assert (checked.shape, checked.spacing, checked.dimension) == ((4, 5, 6), (2.0, 1.0, 1.0), 3)


def test_summary_is_small(tmp_path: Path) -> None:
    image = save(tmp_path / "i.nii.gz", scan(shape=(40, 50, 60)))
    label = save(tmp_path / "l.nii.gz", mask(shape=(40, 50, 60)))
    summary = check(tmp_path, image, label=label).summary()
    assert len(pickle.dumps(summary)) < 2000
    assert summary.digest
    assert summary.shape == (40, 50, 60)


@pytest.mark.parametrize("which", ["image", "label"])
def test_unreadable_file(tmp_path: Path, which: str) -> None:
    paths = {"image": save(tmp_path / "i.nii.gz", scan()), "label": save(tmp_path / "l.nii.gz", mask())}
    content = paths[which].read_bytes()
    paths[which].write_bytes(content[: len(content) // 2])
    checked = check(tmp_path, paths["image"], label=paths["label"])
    problem = only(checked)
    assert (problem.code, problem.severity, problem.file) == ("unreadable", "error", str(paths[which]))
    assert "the image cannot be read (damaged, truncated or not an image)" in problem.what
    assert problem.remedy
    assert not checked.usable


@pytest.mark.parametrize(("value", "count"), [(np.nan, "3 NaN, 0 infinite"), (-np.inf, "0 NaN, 3 infinite")])
def test_values_that_are_not_finite(tmp_path: Path, value: float, count: str) -> None:
    array = scan()
    array[0, 0, :3] = value
    problem = only(check(tmp_path, save(tmp_path / "i.nii.gz", array)))
    assert (problem.code, problem.severity) == ("not-finite", "error")
    assert "channel m0 holds values that are not finite" in problem.what
    assert problem.got == f"{count} voxels"


def test_constant_image(tmp_path: Path) -> None:
    checked = check(tmp_path, save(tmp_path / "i.nii.gz", np.full((4, 5, 6), 3, np.int16)))
    problem = only(checked)
    assert (problem.code, problem.severity) == ("constant-image", "warning")
    assert "channel m0 is constant; got 3 everywhere" in format_problem(problem)
    assert checked.usable


def test_shape_mismatch_between_image_and_label(tmp_path: Path) -> None:
    image, label = save(tmp_path / "i.nii.gz", scan()), save(tmp_path / "l.nii.gz", mask(shape=(4, 6, 5)))
    checked = check(tmp_path, image, label=label)
    problem = only(checked)
    assert (problem.code, problem.severity, problem.file) == ("shape-mismatch", "error", str(label))
    assert "the shape differs from the image's; got 4 x 6 x 5 (z, y, x); expected 4 x 5 x 6" in format_problem(problem)
    assert checked.labels is None
    assert not checked.usable


def test_shape_mismatch_between_channels(tmp_path: Path) -> None:
    first, second = save(tmp_path / "x_0000.nrrd", scan()), save(tmp_path / "x_0001.nrrd", scan(shape=(4, 5, 7)))
    checked = check(tmp_path, first, second, channels=2)
    problem = only(checked)
    assert (problem.code, problem.severity, problem.file) == ("shape-mismatch", "error", str(second))
    assert problem.expected == "4 x 5 x 6 (z, y, x) in x_0000.nrrd"
    assert checked.image is None


def test_spacing_mismatch(tmp_path: Path) -> None:
    image = save(tmp_path / "i.nii.gz", scan())
    label = save(tmp_path / "l.nii.gz", mask(), spacing=(1.0, 1.0, 2.5))
    problem = only(check(tmp_path, image, label=label))
    assert (problem.code, problem.severity) == ("spacing-mismatch", "error")
    assert "got (2.5, 1, 1) mm; expected (2, 1, 1) mm" in format_problem(problem)
    other = save(tmp_path / "j.nii.gz", scan(), spacing=(1.0, 1.0, 2.5))
    assert only(check(tmp_path, image, other, channels=2)).code == "spacing-mismatch"
    rounded = save(tmp_path / "l.nii.gz", mask(), spacing=(1.0, 1.0, 2.001))
    assert check(tmp_path, image, label=rounded).problems == (), "within the tolerance"


def test_label_tiff_without_spacing_is_a_warning(tmp_path: Path) -> None:
    image = save(tmp_path / "i.nii.gz", scan())
    tifffile.imwrite(tmp_path / "l.tif", mask(), photometric="minisblack")
    problem = only(check(tmp_path, image, label=tmp_path / "l.tif"))
    assert (problem.code, problem.severity) == ("spacing-mismatch", "warning")


def test_another_origin_is_an_error_beyond_half_a_voxel(tmp_path: Path) -> None:
    image, label = save(tmp_path / "i.nrrd", scan()), save(tmp_path / "l.nrrd", mask(), origin=(0.0, 0.0, 5.0))
    checked = check(tmp_path, image, label=label)
    problem = only(checked)
    assert (problem.code, problem.severity) == ("origin-mismatch", "error")
    assert "got (5, 0, 0) mm; expected (0, 0, 0) mm in i.nrrd (within 0.01 mm)" in format_problem(problem)
    assert "--trust-arrays" in format_problem(problem)
    assert not checked.usable
    near = save(tmp_path / "l.nrrd", mask(), origin=(0.0, 0.0, 0.4))
    assert only(check(tmp_path, image, label=near)).severity == "warning"
    nearer = save(tmp_path / "l.nrrd", mask(), origin=(0.0, 0.0, 0.009))
    assert check(tmp_path, image, label=nearer).problems == ()


def test_other_directions_are_an_error(tmp_path: Path) -> None:
    image, label = save(tmp_path / "i.nrrd", scan()), save(tmp_path / "l.nrrd", mask(), flip=True)
    problem = only(check(tmp_path, image, label=label))
    assert (problem.code, problem.severity) == ("direction-mismatch", "error")
    assert "got [(1, 0, 0) (0, -1, 0) (0, 0, -1)]; expected [(1, 0, 0) (0, 1, 0) (0, 0, 1)]" in format_problem(problem)


def test_arrays_that_are_trusted_give_a_warning(tmp_path: Path) -> None:
    image, label = save(tmp_path / "i.nrrd", scan()), save(tmp_path / "l.nrrd", mask(), flip=True)
    case = Case(id="a", images=(image,), label=label, reading=Reading(trust_arrays=True))
    checked = read_and_check(case, a_dataset(tmp_path, case))
    assert [(problem.code, problem.severity) for problem in checked.problems] == [("direction-mismatch", "warning")]
    assert checked.labels is not None
    assert np.array_equal(checked.labels, mask())


def test_unexpected_label_values(tmp_path: Path) -> None:
    image, label = save(tmp_path / "i.nii.gz", scan()), save(tmp_path / "l.nii.gz", mask(0, 1, 3, 9))
    problem = only(check(tmp_path, image, label=label))
    assert (problem.code, problem.severity) == ("label-values", "error")
    assert (
        "values that the data set does not name; got 3 (30 voxels), 9 (30 voxels); expected 0, 1, 2, 7"
        in format_problem(problem)
    )


def test_label_values_that_are_not_whole(tmp_path: Path) -> None:
    image = save(tmp_path / "i.nii.gz", scan())
    label = save(tmp_path / "l.nii.gz", mask().astype(np.float32) / 2)
    problem = only(check(tmp_path, image, label=label))
    assert (problem.code, problem.severity) == ("label-not-integer", "error")
    assert "label values are not whole numbers; got 0.5" in format_problem(problem)


@pytest.mark.parametrize("values", [(0,), (0, 7)])
def test_empty_label(tmp_path: Path, values: tuple[int, ...]) -> None:
    image, label = save(tmp_path / "i.nii.gz", scan()), save(tmp_path / "l.nii.gz", mask(*values))
    checked = check(tmp_path, image, label=label)
    problem = only(checked)
    assert (problem.code, problem.severity) == ("empty-label", "warning")
    assert "the labels hold no foreground" in problem.what
    assert checked.usable


def test_wrong_number_of_channels(tmp_path: Path) -> None:
    problem = only(check(tmp_path, save(tmp_path / "i.nii.gz", scan()), channels=2))
    assert (problem.code, problem.severity) == ("channel-count", "error")
    assert "got 1 in 1 file; expected 2 (m0, m1)" in format_problem(problem)


def test_grey_picture_among_coloured_ones_is_fine(tmp_path: Path) -> None:
    skimage.io.imsave(tmp_path / "i.png", mask(0, 90, 200, shape=(5, 6)), check_contrast=False)
    checked = check(tmp_path, tmp_path / "i.png", channels=3)
    assert checked.problems == ()
    assert checked.image is not None
    assert checked.image.array.shape == (3, 1, 5, 6)
    assert checked.dimension == 2


def test_all_problems_of_a_case_together(tmp_path: Path) -> None:
    array = scan()
    array[0] = np.nan
    image = save(tmp_path / "i.nrrd", array)
    label = save(tmp_path / "l.nrrd", mask(9), spacing=(3.0, 3.0, 3.0), origin=(9.0, 9.0, 9.0), flip=True)
    codes = {problem.code for problem in check(tmp_path, image, label=label, channels=2).problems}
    assert codes == {
        "not-finite", "label-values", "spacing-mismatch", "origin-mismatch", "direction-mismatch", "channel-count",
    }  # fmt: skip


def sound_cases(folder: Path, count: int, make: Callable[[int], np.ndarray] = scan) -> list[Case]:
    return [
        Case(id=f"c{number}", images=(save(folder / f"c{number}.nii.gz", make(number)),)) for number in range(count)
    ]


def compare(dataset: Dataset) -> list[Problem]:
    return compare_cases(dataset, [read_and_check(case, dataset).summary() for case in dataset.training])


def test_sound_data_set(tmp_path: Path) -> None:
    assert compare(a_dataset(tmp_path, *sound_cases(tmp_path, 5))) == []


@pytest.mark.parametrize(
    ("field", "code", "message"),
    [
        ("unmatched_images", "image-without-label", "the image has no label; expected a label file of the same name"),
        ("unmatched_labels", "label-without-image", "the label has no image; expected an image file of the same name"),
        ("missing_files", "missing-file", "the file is listed in dataset.json but is not there"),
    ],
)
def test_files_without_partner(tmp_path: Path, field: str, code: str, message: str) -> None:
    dataset = a_dataset(tmp_path, *sound_cases(tmp_path, 5), **{field: (tmp_path / "lonely.nii.gz",)})
    (problem,) = compare(dataset)
    assert (problem.code, problem.severity) == (code, "error")
    assert f"lonely.nii.gz: {message}" in format_problem(problem)
    assert problem.remedy


def test_missing_channel_is_reported_once(tmp_path: Path) -> None:
    cases = []
    for number in range(5):
        paths = [save(tmp_path / f"c{number}_{channel:04d}.nrrd", scan(10 * number + channel)) for channel in range(2)]
        cases.append(Case(id=f"c{number}", images=tuple(paths[: 1 if number == 3 else 2])))
    dataset = a_dataset(tmp_path, *cases, channels=2, missing_channels={"c3": ("c3_0001.nrrd",)})
    checked = [read_and_check(case, dataset) for case in dataset.training]
    assert all(item.problems == () for item in checked)
    (problem,) = compare_cases(dataset, checked)
    assert (problem.code, problem.severity) == ("missing-channel", "error")
    assert "c3_0001.nrrd: the case lacks a channel; got 1 of 2 channels; expected c3_0001.nrrd" in format_problem(
        problem
    )


def test_mixed_dimensions(tmp_path: Path) -> None:
    skimage.io.imsave(tmp_path / "flat.png", mask(shape=(5, 6)), check_contrast=False)
    cases = [*sound_cases(tmp_path, 5), Case(id="flat", images=(tmp_path / "flat.png",))]
    (problem,) = compare(a_dataset(tmp_path, *cases))
    assert (problem.code, problem.severity) == ("mixed-dimensions", "error")
    assert "flat.png: the image is 2D among 3D images" in format_problem(problem)
    assert problem.expected == "3D, as 5 of 6 images are"


def test_duplicate_images(tmp_path: Path) -> None:
    cases = sound_cases(tmp_path, 6, lambda number: scan(number % 5))
    (problem,) = compare(a_dataset(tmp_path, *cases))
    assert (problem.code, problem.severity, problem.got) == ("duplicate-images", "warning", "c0, c5")
    assert "same content, which leaks from training to validation" in problem.what


def test_same_numbers_in_another_shape_are_no_duplicates(tmp_path: Path) -> None:
    cases = sound_cases(tmp_path, 5, lambda number: scan(0, (4, 5, 6) if number == 0 else (number, 7, 7)))
    assert compare(a_dataset(tmp_path, *cases)) == []


@pytest.mark.parametrize(
    ("count", "severity", "message"),
    [
        (0, "error", "there are too few cases with labels; got 0; expected at least 2"),
        (1, "error", "there are too few cases with labels; got 1; expected at least 2"),
        (4, "warning", "there are few cases with labels; got 4; expected at least 5"),
    ],
)
def test_too_few_cases(tmp_path: Path, count: int, severity: str, message: str) -> None:
    (problem,) = compare(a_dataset(tmp_path, *sound_cases(tmp_path, count)))
    assert (problem.code, problem.severity) == ("few-cases", severity)
    assert message in format_problem(problem)


def test_checking_changes_nothing(tmp_path: Path) -> None:
    image, label = save(tmp_path / "i.nii.gz", scan()), save(tmp_path / "l.nii.gz", mask())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    check(tmp_path, image, label=label)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_line_of_a_problem() -> None:
    problem = Problem(code="c", severity="error", what="is wrong", file="f.nii", got="1", expected="2", remedy="mend")
    assert format_problem(problem) == "error: f.nii: is wrong; got 1; expected 2; to do: mend"
    assert format_problem(Problem(code="c", severity="warning", what="is odd", file="f")) == "warning: f: is odd"
