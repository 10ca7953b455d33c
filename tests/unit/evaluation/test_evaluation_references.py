"""References that name their structures are scored as the same labels in NIfTI files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_labels import ORIGIN, SPACING, structure_set, to_patient

from autoseg.data.files import write_labels
from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.errors import ErrorGroup
from autoseg.evaluation.evaluate import evaluate
from autoseg.evaluation.postprocessing import decide_postprocessing

GEOMETRY = Geometry(spacing=SPACING, origin=(ORIGIN[2], ORIGIN[1], ORIGIN[0]))
SCHEME = LabelScheme(names={"background": 0, "liver": 1, "spleen": 4})


def labels_of(case: int) -> np.ndarray:
    labels = np.zeros((6, 14, 16), np.uint8)
    labels[1:4, 2:9, 3 : 8 + case] = 1
    labels[2:5, 10:13, 9:13] = 4
    return labels


def write_masks(case: int, folder: Path) -> None:
    for name, value in (("Liver", 1), ("Spleen", 4)):
        write_labels(folder / f"case_{case}" / f"{name}.nii.gz", labels_of(case) == value, GEOMETRY)


def write_contours(case: int, folder: Path) -> None:
    contours: dict[str, list[np.ndarray]] = {"Liver": [], "Spleen": []}
    for name, value in (("Liver", 1), ("Spleen", 4)):
        mask = labels_of(case) == value
        for level in np.flatnonzero(mask.any(axis=(1, 2))):
            rows, columns = np.nonzero(mask[level])
            top, bottom, left, right = rows.min() - 0.5, rows.max() + 0.5, columns.min() - 0.5, columns.max() + 0.5
            corners = [(level, top, left), (level, top, right), (level, bottom, right), (level, bottom, left)]
            contours[name].append(to_patient(np.array(corners, float)))
    folder.mkdir(exist_ok=True)
    structure_set(contours).save_as(folder / f"case_{case}.dcm", enforce_file_format=True)


def write_cropped(case: int, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(np.minimum(labels_of(case), 2)[1:, 2:, 3:])
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin([ORIGIN[0] + 3 * SPACING[2], ORIGIN[1] + 2 * SPACING[1], ORIGIN[2] + SPACING[0]])
    for number, name in enumerate(("Liver", "Spleen")):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(number + 1))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    sitk.WriteImage(image, str(folder / f"case_{case}.seg.nrrd"))


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    for case in range(3):
        write_labels(tmp_path / "predictions" / f"case_{case}.nii.gz", np.roll(labels_of(case), 1, axis=2), GEOMETRY)
        write_labels(tmp_path / "plain" / f"case_{case}.nii.gz", labels_of(case), GEOMETRY)
    return tmp_path / "predictions"


@pytest.mark.parametrize("write", [write_masks, write_contours, write_cropped])
def test_named_references_are_scored_as_values(
    tmp_path: Path, predictions: Path, write: Callable[[int, Path], None]
) -> None:
    for case in range(3):
        write(case, tmp_path / "named")
    plain = evaluate(predictions, tmp_path / "plain", spec=SCHEME, workers=1)
    named = evaluate(predictions, tmp_path / "named", spec=SCHEME, workers=1)
    assert named.errors == {}
    assert named.cases == plain.cases
    pairs = {
        folder: {f"case_{case}": (predictions / f"case_{case}.nii.gz", path) for case, path in enumerate(sorted(paths))}
        for folder, paths in ((name, (tmp_path / name).iterdir()) for name in ("plain", "named"))
    }
    decisions = [decide_postprocessing(pairs[folder], SCHEME, workers=1) for folder in ("plain", "named")]
    assert decisions[0] == decisions[1]


def test_names_need_a_description(tmp_path: Path, predictions: Path) -> None:
    for case in range(3):
        write_masks(case, tmp_path / "named")
    with pytest.raises(ErrorGroup, match="names its structures"):
        evaluate(predictions, tmp_path / "named", workers=1)


def test_folders_of_other_things_are_no_references(tmp_path: Path, predictions: Path) -> None:
    write_labels(tmp_path / "plain" / "backup" / "case_0.nii.gz", labels_of(0), GEOMETRY)
    assert evaluate(predictions, tmp_path / "plain", spec=SCHEME, workers=1).missing_predictions == ()
    for case in range(3):
        write_masks(case, tmp_path / "named")
    (predictions / "case_2.nii.gz").unlink()
    scores = evaluate(predictions, tmp_path / "named", spec=SCHEME, workers=1)
    assert scores.missing_predictions == ("case_2",)
