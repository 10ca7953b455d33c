"""`autoseg propagate-labels`: votes, choice of atlases, disagreement, and going on after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from registered_images import ball

from autoseg import plugins
from autoseg.cli.main import run
from autoseg.data.files import read_image, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError, RegistrationError, WorkspaceError
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, StageReport
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.pipeline.propagation import Proposal, propagate_labels
from autoseg.tasks.registration.pipeline.request import RegistrationRequest, SubjectsRequest
from autoseg.tasks.registration.transforms import Affine

SHAPE = (24, 40, 24)
SHIFTS = {"a": (0.0, 0.0, 0.0), "b": (0.0, 1.0, 0.0), "c": (0.0, -1.0, 0.0), "d": (5.0, 6.0, -4.0)}
CALLS: list[float] = []
REQUEST = SubjectsRequest(RegistrationRequest("still", device="cpu"), workers=1)


def still(pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device) -> RegistrationResult:
    """Moves nothing, so that votes are the atlases' own labels; refuses images that are bright in the corner."""
    CALLS.append(float(pair.moving.sum()))
    if pair.moving[0, 0, 0, 0] > 0.5:
        raise RegistrationError("too bright")
    return RegistrationResult(
        Affine.identity(3), "still", (StageReport("center", "ncc", 1.0, 0.5, 1, 0.1, "converged"),)
    )


@pytest.fixture(autouse=True)
def _still_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {"registration": {"still": still}})
    CALLS.clear()


def write_case(folder: Path, name: str, shift: tuple[float, ...], value: int = 3) -> None:
    distance = ball(Geometry(), SHAPE, shift)
    write_image(folder / "images" / f"{name}.nii.gz", Image(np.exp(-distance / 5).astype(np.float32)[None], Geometry()))
    write_labels(folder / "labels" / f"{name}.nii.gz", (distance < 6).astype(np.uint8) * value, Geometry())


@pytest.fixture
def atlases(tmp_path: Path) -> Path:
    for name, shift in SHIFTS.items():
        write_case(tmp_path / "atlases", name, shift)
    return tmp_path / "atlases"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    write_case(tmp_path / "new", "t", (0.0, 0.2, 0.0))
    return tmp_path / "new" / "images" / "t.nii.gz"


def test_the_majority_decides_and_the_rest_is_disagreement(atlases: Path, target: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = propagate_labels(atlases, [target], out, REQUEST)
    votes = np.stack([read_labels(atlases / "labels" / f"{name}.nii.gz").array[0] == 3 for name in SHIFTS])
    labels = read_labels(out / "t.nii.gz").array[0]
    assert np.array_equal(labels, np.where(votes.sum(0) > 2, 3, 0))  # of four: a draw is background
    share = np.where(labels == 3, votes.sum(0), 4 - votes.sum(0)) / 4
    assert read_image(out / "disagreement" / "t.nii.gz").array[0] == pytest.approx(1 - share)
    proposal = Proposal.load(out / "t.json")
    assert proposal == done.proposals["t"]
    assert [vote.atlas for vote in proposal.votes] == list("abcd")
    assert proposal.volumes == {"3": float((labels == 3).sum())}
    assert proposal.disagreement["3"] == pytest.approx((1 - share)[labels == 3].mean())
    assert {path.name for path in out.iterdir()} == {"t.nii.gz", "t.json", "disagreement", "propagation.json"}


def test_the_most_similar_atlases_are_chosen(atlases: Path, target: Path, tmp_path: Path) -> None:
    # one that looks like nothing else is passed over
    noise = np.random.default_rng(0).random((1, *SHAPE)).astype(np.float32)
    write_image(atlases / "images" / "d.nii.gz", Image(noise, Geometry()))
    done = propagate_labels(atlases, [target], tmp_path / "out", REQUEST, atlases=3)
    votes = done.proposals["t"].votes
    assert {vote.atlas for vote in votes} == {"a", "b", "c"}
    scores = [vote.similarity for vote in votes]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert scores[0] > 0.95  # type: ignore[operator]


def test_an_atlas_does_not_vote_for_itself(atlases: Path, tmp_path: Path) -> None:
    images = [atlases / "images" / f"{name}.nii.gz" for name in "ab"]
    done = propagate_labels(atlases, images, tmp_path / "out", REQUEST)
    assert [vote.atlas for vote in done.proposals["a"].votes] == ["b", "c", "d"]
    assert [vote.atlas for vote in done.proposals["b"].votes] == ["a", "c", "d"]


def test_an_atlas_that_fails_is_named_and_the_others_vote(
    atlases: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = read_image(atlases / "images" / "b.nii.gz")
    image.array[0, 0, 0, 0] = 1
    write_image(atlases / "images" / "b.nii.gz", image)
    arguments = ["propagate-labels", str(atlases), str(target), "--out", str(tmp_path / "out"), "--method", "still"]
    assert run([*arguments, "--workers", "1", "--device", "cpu"]) == 0
    assert "warning: t: could not be registered: b" in capsys.readouterr().out
    proposal = Proposal.load(tmp_path / "out" / "t.json")
    assert [vote.failure for vote in proposal.votes] == [None, "too bright", None, None]


def test_what_is_done_is_kept(atlases: Path, target: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    propagate_labels(atlases, [target], out, REQUEST)
    assert len(CALLS) == 4
    with pytest.raises(WorkspaceError, match="in use"):
        propagate_labels(atlases, [target], out, REQUEST)
    other = replace(REQUEST, registration=replace(REQUEST.registration, seed=1), resume=True)
    with pytest.raises(WorkspaceError, match="other choices"):
        propagate_labels(atlases, [target], out, other)
    write_case(tmp_path / "new", "u", (0.0, 0.0, 0.3))
    done = propagate_labels(atlases, [tmp_path / "new" / "images"], out, replace(REQUEST, resume=True))
    assert len(CALLS) == 8, "only the new target was worked on"
    assert list(done.proposals) == ["t", "u"]


def test_votes_of_an_interrupted_call_are_used(
    atlases: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(
        pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device
    ) -> RegistrationResult:
        if len(CALLS) == 2:
            raise KeyboardInterrupt
        return still(pair, options, seed=seed, device=device)

    monkeypatch.setattr(plugins, "_registered", {"registration": {"still": stopping}})
    with pytest.raises(KeyboardInterrupt):
        propagate_labels(atlases, [target], tmp_path / "out", REQUEST)
    monkeypatch.setattr(plugins, "_registered", {"registration": {"still": still}})
    propagate_labels(atlases, [target], tmp_path / "out", replace(REQUEST, resume=True))
    assert len(CALLS) == 4


def test_images_that_share_no_place_are_laid_centre_on_centre(atlases: Path, tmp_path: Path) -> None:
    image = read_image(atlases / "images" / "a.nii.gz")
    far = tmp_path / "far.nii.gz"
    write_image(far, Image(image.array, Geometry(origin=(4000.0, -900.0, 70.0))))
    propagate_labels(atlases, [far], tmp_path / "out", REQUEST)
    votes = np.stack([read_labels(atlases / "labels" / f"{name}.nii.gz").array[0] == 3 for name in SHIFTS])
    assert np.array_equal(read_labels(tmp_path / "out" / "far.nii.gz").array[0] == 3, votes.sum(0) > 2)


def test_no_way_to_a_target_makes_the_exit_code_2(
    atlases: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plane = tmp_path / "new" / "images" / "p.nii.gz"
    write_image(plane, Image(np.random.default_rng(0).random((1, 1, 9, 9)).astype(np.float32), Geometry.plane()))
    arguments = ["propagate-labels", str(atlases), str(plane.parent), "--out", str(tmp_path / "out")]
    assert run([*arguments, "--method", "still", "--workers", "1", "--device", "cpu"]) == 2
    assert "error: p: no atlas could be registered" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "t.json").read_text(encoding="utf-8"))["target"] == "t"


def test_wrong_numbers_are_refused(atlases: Path, target: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no number of atlases"):
        propagate_labels(atlases, [target], tmp_path / "out", atlases=0)
