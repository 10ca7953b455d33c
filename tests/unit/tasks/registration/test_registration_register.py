"""`autoseg register` from files to files, with a method that knows the way."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from registered_images import FIXED, SHAPES, known, write_pair

from autoseg import plugins
from autoseg.cli.main import run
from autoseg.data import itk
from autoseg.data.files import read_image, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.tasks.registration.files import read_displacement
from autoseg.tasks.registration.record import RegistrationRecord

pytestmark = pytest.mark.usefixtures("fresh_logging")

ALL = ("fixed_labels", "moving_labels", "fixed_landmarks", "moving_landmarks")


@pytest.fixture(autouse=True)
def _known_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {"registration": {"known": known}})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_pair(tmp_path)


def register(files: dict[str, Path], out: Path, *more: str, given: tuple[str, ...] = ()) -> int:
    options = [text for name in given for text in (f"--{name.replace('_', '-')}", str(files[name]))]
    arguments = ["register", str(files["fixed"]), str(files["moving"]), "--out", str(out), "--method", "known"]
    return run([*arguments, "--device", "cpu", *options, *more])


def test_everything_is_written_and_fits_together(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert register(files, out, given=ALL) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "warped.nii.gz", "warped_labels.nii.gz", "transform.h5", "displacement.nii.gz", "inverse_displacement.nii.gz",
        "warped_landmarks.csv", "metrics.json", "picture.png", "report.html", "run.log",
    }  # fmt: skip
    record = RegistrationRecord.load(out / "metrics.json")
    assert set(record.files) == names - {"run.log"}
    assert record.given["fixed labels"] == str(files["fixed_labels"])
    assert [stage.name for stage in record.stages] == ["center", "affine", "deformable"]
    assert record.quality.seconds == 1.5
    labels = record.quality.labels
    assert list(labels) == ["1", "2"]
    assert labels["1"].dice > 0.85 > labels["1"].dice_before  # type: ignore[operator]
    assert labels["1"].hd95 < 1.8 < labels["1"].hd95_before  # type: ignore[operator]
    marks = record.quality.landmarks
    assert marks is not None
    assert marks.before.mean == pytest.approx(np.sqrt(29), abs=1e-4)
    assert marks.after.max < 0.21
    assert marks.relative_before.mean == pytest.approx(np.sqrt(29) / np.sqrt(28**2 + 26**2 + 24**2), abs=1e-4)
    assert record.warnings == ("waved",)
    printed = capsys.readouterr().out
    assert "Dice before" in printed
    assert "distance of 3 landmarks" in printed
    assert "warning: waved" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Mean Dice" in page
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")


def test_simpleitk_reads_the_transform_and_gets_our_image(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert register(files, out, given=("moving_labels",)) == 0
    library = itk.library()
    images = [library.ReadImage(str(files[name])) for name in ("fixed", "moving", "moving_labels")]
    outside = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["outside"]
    field = library.Cast(library.ReadImage(str(out / "displacement.nii.gz")), library.sitkVectorFloat64)
    for transform in (library.ReadTransform(str(out / "transform.h5")), library.DisplacementFieldTransform(field)):
        theirs = library.Resample(images[1], images[0], transform, library.sitkLinear, outside, library.sitkFloat32)
        ours = read_image(out / "warped.nii.gz").array[0]
        assert library.GetArrayFromImage(theirs) == pytest.approx(ours, abs=0.2)  # of 1000
        labels = library.Resample(images[2], images[0], transform, library.sitkNearestNeighbor)
        assert (library.GetArrayFromImage(labels) != read_labels(out / "warped_labels.nii.gz").array[0]).mean() < 1e-3
    assert read_displacement(out / "inverse_displacement.nii.gz").grid.shape == SHAPES[1]


def test_a_linear_result_is_written_as_text_too_and_the_next_call_replaces_all(
    files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert register(files, out, given=ALL) == 0
    (out / "mine.txt").write_text("stays", encoding="utf-8")
    assert register(files, out, "--stages", "translation") == 0
    names = {path.name for path in out.iterdir()}
    assert "AffineTransform" in (out / "transform.tfm").read_text(encoding="utf-8")
    assert "mine.txt" in names
    assert not names & {"warped_labels.nii.gz", "warped_landmarks.csv"}, "of the call before"
    assert not [name for name in names if name.startswith(".")]


def test_the_report_of_a_training_is_not_replaced(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "report.html").write_text("mine", encoding="utf-8")
    assert "a report that is not of a registration" in refusal(capsys, register(files, out))
    assert (out / "report.html").read_text(encoding="utf-8") == "mine"


def test_the_optimised_similarity_alone_is_no_evidence(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert register(files, tmp_path / "out", "--similarity", "mind", given=("moving_labels",)) == 0
    assert "warning: The only evidence for this result is the similarity that was optimised (mind)" in (
        capsys.readouterr().out
    )
    assert "To know before using it" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_names_of_labels_and_a_mask(files: dict[str, Path], tmp_path: Path) -> None:
    spec = tmp_path / "dataset.json"
    labels = {"background": 0, "core": 1, "shell": 2}
    spec.write_text(
        json.dumps({"labels": labels, "channel_names": {"0": "MR"}, "file_ending": ".nii.gz"}), encoding="utf-8"
    )
    more = ("--spec", str(spec), "--mask", str(files["fixed_labels"]), "--label-interpolation", "linear")
    assert register(files, tmp_path / "out", *more, given=ALL[:2]) == 0
    record = RegistrationRecord.load(tmp_path / "out" / "metrics.json")
    assert list(record.quality.labels) == ["core", "shell"]
    assert record.quality.label_interpolation == "linear"
    inside = np.count_nonzero(read_labels(files["fixed_labels"]).array)
    assert record.quality.deformation.voxels == inside


def test_pictures_are_planes_of_1_mm(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    paths = []
    for name in ("a", "b"):
        paths.append(tmp_path / f"{name}.png")
        write_image(paths[-1], Image(generator.integers(0, 255, (3, 1, 30, 40)).astype(np.uint8), Geometry.plane()))
    marks = tmp_path / "marks.csv"
    marks.write_text(" ,X,Y\n1,10,12\n2,30,5\n", encoding="utf-8")
    files = {"fixed": paths[0], "moving": paths[1], "fixed_landmarks": marks, "moving_landmarks": marks}
    more = ("--landmark-unit", "voxel")
    assert register(files, tmp_path / "out", *more, given=ALL[2:]) == 0
    record = RegistrationRecord.load(tmp_path / "out" / "metrics.json")
    assert record.dimension == 2
    assert any("how large a pixel is" in text for text in record.warnings)
    assert any("farther apart than before" in text for text in record.warnings)
    assert record.quality.landmarks is not None
    assert record.quality.landmarks.after.median == pytest.approx(5.0, abs=0.21)
    assert (tmp_path / "out" / "warped_landmarks.csv").read_text(encoding="utf-8").startswith("x,y\n13.9")


def refusal(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 2
    return " ".join(capsys.readouterr().err.split())


def test_bad_input_is_refused_with_what_to_do(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    far = tmp_path / "far.nii.gz"
    moving = read_image(files["moving"])
    write_image(far, Image(moving.array, Geometry(origin=(5000.0, 0.0, 0.0))))
    said = refusal(capsys, register({**files, "moving": far}, out))
    assert "no common field of view" in said
    assert "to do:" in said
    content = bytearray(gzip.decompress(files["moving"].read_bytes()))
    content[80:84] = bytes(4)  # pixdim[1], the spacing along x
    (tmp_path / "scaleless.nii.gz").write_bytes(gzip.compress(bytes(content)))
    said = refusal(capsys, register({**files, "moving": tmp_path / "scaleless.nii.gz"}, out))
    assert "the spacing is missing" in said
    plane = tmp_path / "plane.png"
    write_image(plane, Image(np.arange(600, dtype=np.uint8).reshape(1, 1, 20, 30), Geometry.plane()))
    assert "different dimensionality" in refusal(capsys, register({**files, "moving": plane}, out))
    labels = tmp_path / "small.nii.gz"
    write_labels(labels, np.ones((3, 4, 5), np.uint8), FIXED)
    said = refusal(capsys, register({**files, "fixed_labels": labels}, out, given=ALL[:2]))
    assert "the fixed labels' shape is not the fixed image's" in said
    assert "to do:" in said
    marks = tmp_path / "marks.csv"
    marks.write_text("x,y,z\n2,17,13\n2,17,900\n", encoding="utf-8")
    said = refusal(capsys, register({**files, "fixed_landmarks": marks}, out, given=ALL[2:]))
    assert "landmarks lie outside of their image" in said
    marks.write_text("x,y,z\n2,17,13\n", encoding="utf-8")
    said = refusal(capsys, register({**files, "fixed_landmarks": marks}, out, given=ALL[2:]))
    assert "different numbers of landmarks" in said
    said = refusal(capsys, register(files, out, given=("fixed_labels",)))
    assert "labels of one image alone" in said
    assert "--moving-labels" in said
    assert "did you mean 'rigid'?" in refusal(capsys, register(files, out, "--stages", "rigit"))
    assert "named twice" in refusal(capsys, register(files, out, "--stages", "rigid,rigid"))
    assert {path.name for path in out.iterdir()} == {"run.log"}, "nothing half done"
