"""The comparison of two versions: it finds the smallest difference, leaves out what time decides, and goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from benchmarks import same_as
from benchmarks.sameness import contents, rounds
from benchmarks.sameness.comparison import Comparison, compare_folders, difference_of
from benchmarks.sameness.parts import PARTS, Part, chosen_parts, needed_parts
from benchmarks.sameness.steps import Command, Narrow, Places
from benchmarks.sameness.trees import PACKAGES, CommandFailed, Tree, digest_of

WEIGHT = torch.tensor([[0.1, -2.0], [3.5, 0.0]])
SCORES = {
    "mean": {"organ": {"dice": 0.75, "hd95": None}},
    "cases": [{"id": "a", "dice": 1}],
    "seconds": 1.5,
    "predict": "autoseg predict RUN",
}


def write_results(folder: Path) -> Path:
    """A checkpoint, labels, scores and what else a part may leave behind."""
    fold = folder / "part" / "fold_0"
    fold.mkdir(parents=True)
    average = WEIGHT.to(torch.bfloat16)
    torch.save({"network": {"weight": WEIGHT}, "average": [average], "step": 60}, fold / "checkpoint_final.pt")
    labels = sitk.GetImageFromArray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3)
    labels.SetSpacing((1.0, 1.0, 1.5))
    sitk.WriteImage(labels, str(fold / "case.nii.gz"))
    (fold / "summary.json").write_text(json.dumps(SCORES), encoding="utf-8")
    (fold / "metrics.jsonl").write_text('{"step": 20, "loss": 0.5, "seconds": 3}\n', encoding="utf-8")
    (fold / "place.json").write_text(json.dumps({"run": str(folder / "part")}), encoding="utf-8")
    (fold / "run.log").write_text(f"written in {folder}", encoding="utf-8")
    sitk.WriteTransform(sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), str(fold / "transform.tfm"))
    blosc2.asarray(np.array([0.5, np.nan], np.float16), urlpath=str(fold / "case.b2nd"))
    np.savez(fold / "pictures.npz", names=np.array(["a", "b"]))
    np.save(fold / "voxels.npy", np.arange(3))
    return folder


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """The same results of both versions."""
    return write_results(tmp_path / "old"), write_results(tmp_path / "new")


def compare(sides: tuple[Path, Path]) -> Comparison:
    old, new = sides
    return compare_folders(old / "part", new / "part", sides)


def test_equal_results_are_counted_and_no_difference_is_found(sides: tuple[Path, Path]) -> None:
    found = compare(sides)
    assert found.differences == ()
    assert found.files == 9  # without the log
    assert found.tensors == 2
    assert found.voxels == 24 + (3 + 3 + 9) + (3 + 3 - 3) + 2 + 2 + 3
    assert "2 tensors" in found.amount


def one_bit(folder: Path) -> None:
    path = folder / "checkpoint_final.pt"
    content = torch.load(path, weights_only=True)
    content["network"]["weight"].view(torch.int32)[1, 0] ^= 1
    torch.save(content, path)


def other_sign_of_zero(folder: Path) -> None:
    path = folder / "checkpoint_final.pt"
    content = torch.load(path, weights_only=True)
    content["network"]["weight"][1, 1] = -0.0
    torch.save(content, path)


def other_type(folder: Path) -> None:
    path = folder / "checkpoint_final.pt"
    content = torch.load(path, weights_only=True)
    content["average"][0] = content["average"][0].float()
    torch.save(content, path)


def one_voxel(folder: Path) -> None:
    path = str(folder / "case.nii.gz")
    image = sitk.ReadImage(path)
    image[3, 2, 1] = 7
    sitk.WriteImage(image, path)


def other_spacing(folder: Path) -> None:
    path = str(folder / "case.nii.gz")
    image = sitk.ReadImage(path)
    image.SetSpacing((1.0, 1.0, 1.6))
    sitk.WriteImage(image, path)


def rewrite(folder: Path, name: str, change: Callable[[str], str]) -> None:
    path = folder / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit of a weight": (
        one_bit,
        "checkpoint_final.pt: network.weight: 1 of 4 values differ, the first at (1, 0): 3.5 and 3.500000238418579",
    ),
    "the sign of a zero weight": (other_sign_of_zero, "checkpoint_final.pt: network.weight: the same values in other"),
    "the type of a weight": (other_type, "average[0]: torch.bfloat16 (2, 2) and torch.float32 (2, 2)"),
    "a label voxel": (one_voxel, "case.nii.gz: voxels: 1 of 24 values differ, the first at (1, 2, 3): 2 and 7"),
    "the spacing of labels": (other_spacing, "case.nii.gz: spacing: 1 of 3 values differ, the first at (2,)"),
    "the last digit of a score": (
        lambda folder: rewrite(folder, "summary.json", lambda text: text.replace("0.75", "0.7500000000000001")),
        "summary.json: mean.organ.dice: 0.75 and 0.7500000000000001",
    ),
    "a score that does not exist": (
        lambda folder: rewrite(folder, "summary.json", lambda text: text.replace("null", "0.0")),
        "summary.json: mean.organ.hd95: None and 0.0",
    ),
    "one more case": (
        lambda folder: rewrite(folder, "summary.json", lambda text: text.replace("}]", '}, {"id": "b"}]')),
        "summary.json: cases[]: 1 and 2",
    ),
    "a field less": (
        lambda folder: rewrite(folder, "metrics.jsonl", lambda text: text.replace('"loss": 0.5, ', "")),
        "metrics.jsonl: [0].loss: only the old version has the value",
    ),
    "a transform": (
        lambda folder: rewrite(folder, "transform.tfm", lambda text: text.replace("1 2 3", "1 2 4")),
        "transform.tfm: 0.parameters: 1 of 3 values differ, the first at (2,): 3.0 and 4.0",
    ),
    "a stored number": (
        lambda folder: np.save(folder / "voxels.npy", np.array([0, 1, 9])),
        "voxels.npy: array: 1 of 3 values differ, the first at (2,): 2 and 9",
    ),
    "a missing file": (
        lambda folder: (folder / "case.b2nd").unlink(),
        "case.b2nd: only the old version has the file",
    ),
    "one more file": (
        lambda folder: (folder / "more.json").write_text("{}", encoding="utf-8"),
        "more.json: only the new version has the file",
    ),
    "bytes of an unknown kind": (
        lambda folder: (folder / "pictures.npz").write_bytes(b"damaged"),
        "pictures.npz: cannot be read",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_found_alone(name: str, sides: tuple[Path, Path]) -> None:
    change, line = CHANGES[name]
    change(sides[1] / "part" / "fold_0")
    differences = compare(sides).differences
    assert line in differences[0]
    assert len({difference.partition(":")[0] for difference in differences}) == 1  # a spacing is in the header as well


def test_what_time_decides_and_what_a_reader_is_told_is_left_out(sides: tuple[Path, Path]) -> None:
    fold = sides[1] / "part" / "fold_0"
    rewrite(fold, "summary.json", lambda text: text.replace("1.5", "99.0").replace("autoseg predict", "autoseg x"))
    rewrite(fold, "metrics.jsonl", lambda text: text.replace('"seconds": 3', '"seconds": 4'))
    (fold / "report.html").write_text("a page", encoding="utf-8")
    assert compare(sides).differences == ()


def test_the_page_of_the_program_names_all_that_is_left_out() -> None:
    assert same_as.__doc__ is not None
    words = same_as.__doc__.replace("(", " ").replace(")", " ").replace(",", " ").split()
    assert {*contents.LEFT_OUT, *contents.OTHER_FILES} <= {word.rstrip(".") for word in words}
    assert [part.name for part in PARTS if part.name not in words] == []


def test_values_of_other_kinds_differ() -> None:
    assert difference_of(1, 1.0) is None
    assert difference_of(float("nan"), float("nan")) is None
    assert difference_of(2**60, 2**60 + 1) is not None
    for old, new in ((1, True), (0.0, -0.0), ("1", 1), (None, 0), (torch.ones(1), np.ones(1, np.float32))):
        assert difference_of(old, new) is not None


def test_nothing_to_compare_is_a_difference(tmp_path: Path) -> None:
    found = compare_folders(tmp_path / "old", tmp_path / "new", (tmp_path,))
    assert found.differences == ("there is nothing to compare",)


PROGRAM = """
import pathlib, sys
verb, out = sys.argv[1:3]
if verb == "fail":
    print("before\\nthe reason")
    sys.exit(1)
pathlib.Path(out).mkdir(parents=True)
(pathlib.Path(out) / "scores.json").write_text('{"dice": SCORE, "seconds": 1}')
"""
"""A command line that writes a score, in place of the project's."""


def write_checkout(folder: Path, score: str) -> Path:
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    (folder / "autoseg" / "__main__.py").write_text(PROGRAM.replace("SCORE", score), encoding="utf-8")
    return folder


def write_no_inputs(folder: Path) -> Places:
    """In place of the data sets."""
    return {}


GOOD = Part("good", (Command("score {here}/out"),))
BAD = Part("bad", (Command("fail now"),))
NEEDY = Part("needy", (Command("score {here}/out"),), needs=("bad",))


@pytest.fixture
def checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two versions that score alike; the second is the one that the program stands in."""
    old, new = write_checkout(tmp_path / "before", "0.5"), write_checkout(tmp_path / "now", "0.5")
    monkeypatch.setattr(same_as, "ROOT", new)
    monkeypatch.setattr(same_as, "write_inputs", write_no_inputs)
    monkeypatch.setattr("benchmarks.sameness.parts.PARTS", (GOOD, BAD, NEEDY))
    return old, new


def test_versions_are_run_compared_and_kept(
    checkouts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = checkouts
    words = [str(old), "--only", "good", "--out", str(tmp_path / "out")]
    assert same_as.main(words) == 0
    assert "1 numbers in 1 files" in capsys.readouterr().out
    program = new / "autoseg" / "__main__.py"
    program.write_text(program.read_text(encoding="utf-8").replace("0.5", "0.25"), encoding="utf-8")
    assert same_as.main(words) == 1
    said = capsys.readouterr().out
    assert "kept" in said
    assert "DIFFERENT" in said
    assert "out/scores.json: dice: 0.5 and 0.25" in said
    program = old / "autoseg" / "__main__.py"
    program.write_text(program.read_text(encoding="utf-8").replace("0.5", "0.25"), encoding="utf-8")
    assert same_as.main(words) == 0  # the old version has changed and is run again
    assert "kept" not in capsys.readouterr().out


def test_a_part_that_fails_is_told_and_the_others_go_on(
    checkouts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert same_as.main([str(checkouts[0]), "--keep", str(tmp_path / "kept")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.split()[-1] == "-"] == ["bad", "needy"]
    assert any("the reason" in line for line in lines)
    assert any("it needs bad, which failed" in line for line in lines)
    assert lines[-1].startswith("1 of 3 parts are equal")


def test_a_folder_without_the_packages_is_refused(
    checkouts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkouts[0] / "autoseg").rename(tmp_path / "elsewhere")
    assert same_as.main([str(checkouts[0]), "--keep", str(tmp_path / "kept")]) == 2
    assert "autoseg" in capsys.readouterr().err


def test_a_command_that_ends_late_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.sameness.trees.LIMIT", 0.5)
    checkout = write_checkout(tmp_path / "now", "0.5")
    (checkout / "autoseg" / "__main__.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    with pytest.raises(CommandFailed, match=r"more than 0 s|more than 1 s"):
        Tree("new", checkout, tmp_path).autoseg(["score"], tmp_path / "log")


def test_the_digest_of_a_checkout_is_that_of_its_files(tmp_path: Path) -> None:
    one, other = write_checkout(tmp_path / "one", "1"), write_checkout(tmp_path / "other", "1")
    assert digest_of(one) == digest_of(other)
    (other / "planners" / "rules.toml").write_text("width = 1", encoding="utf-8")
    assert digest_of(one) != digest_of(other)


def test_what_a_part_needs_comes_before_it() -> None:
    names = [part.name for part in PARTS]
    for number, part in enumerate(PARTS):
        assert {*part.needs, *part.needs_old} <= set(names[:number])


def test_what_parts_need_is_done_too_in_the_old_version_also_for_the_new_one() -> None:
    (reading,) = chosen_parts("reading")
    assert needed_parts((reading,), old=False) == (reading,)
    assert {part.name for part in needed_parts((reading,), old=True)} >= {"segmentation", "predict", "stopped"}
    with pytest.raises(ValueError, match="there is no part x; expected some of segmentation"):
        chosen_parts("segmentation,x")


def test_a_plan_is_narrowed_to_what_its_strides_allow(tmp_path: Path) -> None:
    configuration = {"patch_size": [16, 4], "strides": [[1, 1], [2, 2], [2, 1]], "features_per_stage": [32, 64]}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"configurations": {"2d": {**configuration, "batch_size": 9}}}), encoding="utf-8")
    Narrow("{run}/plan.json", 2).run(Tree("new", tmp_path, tmp_path), {"run": tmp_path}, tmp_path / "log")
    (found,) = json.loads(path.read_text(encoding="utf-8"))["configurations"].values()
    assert (found["patch_size"], found["features_per_stage"], found["batch_size"]) == ([12, 4], [8, 16], 2)


def test_inputs_are_the_same_files_each_time(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "other"):
        places = rounds.write_inputs(tmp_path / name)
        digests.append([path.read_bytes() for path in sorted(places["volumes"].rglob("*.*"))])
        image = sitk.ReadImage(str(places["pictures"] / "imagesTr" / "case_0_0000.png"))
        assert (image.GetDimension(), image.GetNumberOfComponentsPerPixel()) == (2, 1)
    assert len(digests[0]) == 2 * 10 + 1
    assert digests[0] == digests[1]
