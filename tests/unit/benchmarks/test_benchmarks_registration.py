from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Displacement
from benchmarks.registration import peer_worker
from benchmarks.registration.cases import Subject, case_pairs, cases_of, centred, read_subject
from benchmarks.registration.ours import CENTRED, find_method, timed
from benchmarks.registration.outcomes import MethodOutcomes, Outcome, load, save, scored
from benchmarks.registration.page import compared, page, pair_rows
from benchmarks.registration.peers import PEERS, Peer, PeerFailed, PeerMissing, Registered
from benchmarks.registration_hippocampus import _numbers, measure, measure_peer

EDGE = 12

STUB = """
import json, sys
import numpy as np
if sys.argv[-1] == "absent":
    print(json.dumps({"missing": "no such tool"}), flush=True)
    sys.exit()
print(json.dumps({"ready": "stub 1.0"}), flush=True)
for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    fixed, moving = (np.load(request[name]) for name in ("fixed", "moving"))
    if fixed["array"].max() > 5:
        print(json.dumps({"error": "ValueError: too bright"}), flush=True)
        continue
    field = np.zeros((fixed["array"].ndim, *fixed["array"].shape), np.float32)
    field[0] = fixed["spacing"][0]
    np.savez(request["out"], field=field)
    print(json.dumps({"seconds": 2.0, "cpu_seconds": 1.0}), flush=True)
"""


def subject(name: str, corner: tuple[int, int, int], brightness: float = 1.0) -> Subject:
    """Two touching cubes of side 4, labels 1 and 2, in a case of 12 voxels a side."""
    labels = np.zeros((EDGE,) * 3, np.uint8)
    z, y, x = corner
    labels[z : z + 4, y : y + 4, x : x + 4] = 1
    labels[z : z + 4, y : y + 4, x + 4 : x + 8] = 2
    image = brightness * labels.astype(np.float32)
    return Subject(name, Image(image[None], Geometry()), Image(labels[None], Geometry()), np.ones((EDGE,) * 3, bool))


def moved_by(shift: tuple[float, float, float]) -> Registered:
    grid = Grid.of(Geometry(), (EDGE,) * 3)
    field = torch.tensor(shift, dtype=torch.float32).reshape(3, 1, 1, 1).expand(3, *grid.shape).clone()
    return Registered(Displacement(grid, field), 2.0, 1.0)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A worker that moves everything by one voxel along z, in place of the tools."""
    script = tmp_path / "stub.py"
    script.write_text(STUB, encoding="utf-8")
    monkeypatch.setattr("benchmarks.registration.peers._WORKER", script)
    return tmp_path


def test_partner_is_thirteen_further_counted_round() -> None:
    cases = [f"c{i}" for i in range(15)]
    pairs = case_pairs(cases, [0, 1, 2, 14])
    assert [(pair.fixed, pair.moving) for pair in pairs] == [
        ("c0", "c13"), ("c1", "c14"), ("c2", "c0"), ("c14", "c12"),
    ]  # fmt: skip
    assert [pair.name for pair in pairs][:2] == ["000_c0_c13", "001_c1_c14"]


@pytest.mark.parametrize("cases", [["a"], [str(i) for i in range(13)]])
def test_a_case_is_never_its_own_partner(cases: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        case_pairs(cases, [0])


def test_a_number_without_a_case_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no pairs \[5\]"):
        case_pairs(["a", "b", "c", "d", "e"], [0, 5])


def test_cases_are_those_of_scikit_learns_first_fold(tmp_path: Path) -> None:
    (tmp_path / "labelsTr").mkdir()
    for number in range(11):
        (tmp_path / "labelsTr" / f"h_{number:03d}.nii.gz").touch()
    (tmp_path / "labelsTr" / "._h_000.nii.gz").touch()
    # sklearn.model_selection.KFold(5, shuffle=True, random_state=12345) on 11 cases
    from sklearn.model_selection import KFold

    train, validation = next(KFold(5, shuffle=True, random_state=12345).split(np.arange(11)))
    assert cases_of(tmp_path, "validation") == tuple(f"h_{number:03d}" for number in validation)
    assert cases_of(tmp_path, "training") == tuple(f"h_{number:03d}" for number in train)


@pytest.mark.parametrize(
    ("length", "edge", "first", "last"),
    [(2, 6, 2, 3), (3, 6, 1, 3), (2, 5, 1, 2), (3, 5, 1, 3), (6, 6, 0, 5)],
)
def test_an_array_is_put_in_the_middle(length: int, edge: int, first: int, last: int) -> None:
    found = centred(np.arange(1, length + 1)[:, None, None] * np.ones((1, edge, edge), int), edge)
    assert found.shape == (edge,) * 3
    places = np.flatnonzero(found[:, 0, 0])
    assert (places[0], places[-1]) == (first, last)
    np.testing.assert_array_equal(found[first : last + 1, 0, 0], np.arange(1, length + 1))


def test_what_is_longer_than_the_cube_is_cut_on_both_sides() -> None:
    found = centred(np.arange(7)[:, None, None] * np.ones((1, 4, 4), int), 4)
    np.testing.assert_array_equal(found[:, 0, 0], [1, 2, 3, 4])


def test_a_case_is_z_scored_over_its_own_voxels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(50, 7, (1, 9, 12, 11)).astype(np.float32)
    labels = rng.integers(0, 3, (1, 9, 12, 11)).astype(np.uint8)
    geometry = Geometry(origin=(5.0, -3.0, 2.0))
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    write_image(tmp_path / "imagesTr" / "a.nii.gz", Image(array, geometry))
    write_labels(tmp_path / "labelsTr" / "a.nii.gz", labels[0], geometry)
    case = read_subject(tmp_path, "a")
    assert case.image.array.shape == case.labels.array.shape == (1, 64, 64, 64)
    inner = case.image.array[0][case.own]
    assert inner.size == array.size
    assert inner.mean() == pytest.approx(0, abs=1e-5)
    assert inner.std() == pytest.approx(1, abs=1e-5)
    assert not case.image.array[0][~case.own].any()
    np.testing.assert_array_equal(case.labels.array[0][case.own], labels.ravel())
    assert case.image.geometry == Geometry()


def test_dice_of_known_shifts() -> None:
    fixed, moving = subject("f", (4, 4, 2)), subject("m", (6, 4, 2))
    left = scored(moved_by((0, 0, 0)), fixed, moving)
    assert left.dice == pytest.approx(0.5)  # two of four slices overlap
    assert left.labels["anterior"]["n_ref"] == 64
    right = scored(moved_by((2, 0, 0)), fixed, moving)  # fixed places are found two further in the moving one
    assert right.dice == 1
    assert right.labels["posterior"]["hd95"] == 0
    assert (right.nonpositive_percent, right.log_jacobian_std) == (0, 0)
    assert (right.seconds, right.cpu_seconds) == (2.0, 1.0)
    assert scored(moved_by((-2, 0, 0)), fixed, moving).dice == 0


def test_folds_count_on_the_fixed_cases_own_voxels_alone() -> None:
    registered = moved_by((0, 0, 0))
    registered.transform.field[0, 8:] = -5.0  # the planes there jump over those before them
    case = subject("f", (2, 2, 2))
    assert scored(registered, case, case).nonpositive_percent > 0
    own = np.zeros((EDGE,) * 3, bool)
    own[:6] = True
    assert scored(registered, Subject("f", case.image, case.labels, own), case).nonpositive_percent == 0


def test_leaving_images_as_they_lie_moves_nothing() -> None:
    case = subject("f", (2, 2, 2))
    registered = timed(find_method(CENTRED, {}), case.image, case.image)
    assert not registered.transform.field.any()
    assert registered.transform.grid.shape == (EDGE,) * 3


def test_unknown_methods_and_stages_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="greedi"):
        find_method("greedi", {})
    with pytest.raises(ConfigurationError, match="stages"):
        find_method("multi-stage:centre", {})


def test_a_tools_field_is_in_mm_on_the_fixed_grid(stub: Path) -> None:
    fixed = Grid((4, 5), ((2.0, 0.0), (0.0, 3.0)), (10.0, 20.0))
    moving = Grid((6, 5), ((1.0, 0.0), (0.0, 1.0)), (11.0, 25.0))
    with Peer(Path(sys.executable), "greedy", stub / "log") as peer:
        assert peer.versions == "stub 1.0"
        found = peer.register(np.ones(fixed.shape), np.ones(moving.shape), fixed, moving)
    assert found.cpu_seconds == 1.0
    # one voxel of 2 mm, and the way from the one origin to the other
    np.testing.assert_allclose(found.transform.field[:, 0, 0], [2.0 + 1.0, 5.0])


def test_a_tool_that_fails_goes_on_with_the_next_pair(stub: Path) -> None:
    grid = Grid.of(Geometry(), (4, 4, 4))
    with Peer(Path(sys.executable), "greedy", stub / "log") as peer:
        with pytest.raises(PeerFailed, match="too bright"):
            peer.register(np.full(grid.shape, 9.0), np.ones(grid.shape), grid, grid)
        peer.register(np.ones(grid.shape), np.ones(grid.shape), grid, grid)


def test_a_tool_that_is_not_installed_is_said(stub: Path) -> None:
    with pytest.raises(PeerMissing, match="no such tool"), Peer(Path(sys.executable), "absent", stub / "log"):
        pass


def test_a_run_goes_on_where_it_stopped(stub: Path) -> None:
    cases = {name: subject(name, (place, 4, 2)) for name, place in (("a", 4), ("b", 5), ("c", 6))}
    cases["c"] = subject("c", (6, 4, 2), brightness=9.0)
    pairs = case_pairs(["a", "b", "c"], [0, 1, 2])
    first = load(stub, "greedy")
    assert first == MethodOutcomes()
    measure_peer("greedy", Path(sys.executable), pairs[:1], cases.__getitem__, stub)
    kept = load(stub, "greedy").pairs[pairs[0].name]
    measure_peer("greedy", Path(sys.executable), pairs, cases.__getitem__, stub)
    found = load(stub, "greedy")
    assert found.made_by == "stub 1.0"
    assert found.pairs[pairs[0].name] == kept
    assert found.pairs[pairs[0].name].dice == 1.0  # b lies one voxel below a
    assert "too bright" in (found.pairs[pairs[2].name].failure or "")


def test_without_an_interpreter_a_tool_counts_as_missing(tmp_path: Path) -> None:
    pairs = case_pairs(["a", "b"], [0])
    measure_peer("greedy", None, pairs, {}.__getitem__, tmp_path)
    assert "--peer-python" in (load(tmp_path, "greedy").missing or "")


def outcome(dice: float) -> Outcome:
    row = {"dice": dice, "hd95": 2.0, "n_pred": 5.0, "n_ref": 6.0}
    return Outcome(
        labels={"anterior": row, "posterior": {**row, "dice": dice + 0.1}},
        nonpositive_percent=0.25,
        log_jacobian_std=0.125,
        seconds=3.0,
        cpu_seconds=2.0,
    )


def test_page_and_csv_have_the_means_the_failures_and_the_missing() -> None:
    pairs = case_pairs([f"c{i}" for i in range(6)], range(5))
    ours = MethodOutcomes(pairs={pair.name: outcome(0.6 + 0.01 * i) for i, pair in enumerate(pairs)})
    peer = MethodOutcomes(made_by="tool 1", pairs={pair.name: outcome(0.5) for pair in pairs[:4]})
    peer = peer.with_pair(pairs[4].name, Outcome(failure="crashed"))
    done = {"multi-stage": ours, "tool": peer, "other": MethodOutcomes(missing="other is not installed")}
    text = page(done, pairs, "validation", "multi-stage", {"tool": "as it comes"})
    assert "| multi-stage | 5 | 0.670 | 0.620 | 0.720 | 2.00 | 0.250 | 0.125 | 2.00 | 3.00 | 0 |" in text
    assert "| tool | 5 | 0.440 | 0.400 | 0.480 | 2.00 | 0.250 | 0.125 | 2.00 | 3.00 | 1 |" in text
    assert "| other | other is not installed |" in text
    assert "- tool: as it comes; tool 1" in text
    comparison = compared(done, pairs, "multi-stage")
    assert comparison is not None
    (difference,) = [one for one in comparison.differences if (one.label, one.metric) == ("foreground_mean", "dice")]
    # 0.65, 0.66, 0.67, 0.68, 0.69 against 0.55 four times and a failure
    assert difference.mean == pytest.approx((0.1 + 0.11 + 0.12 + 0.13 + 0.69) / 5)
    rows = list(csv.DictReader(io.StringIO(pair_rows(done, pairs))))
    assert len(rows) == 10
    assert rows[-1]["failure"] == "crashed"
    assert rows[-1]["dice"] == ""
    assert float(rows[0]["dice"]) == pytest.approx(0.65)


def test_a_page_without_our_default_has_no_differences() -> None:
    pairs = case_pairs(["a", "b"], [0, 1])
    done = {"tool": MethodOutcomes(pairs={pair.name: outcome(0.5) for pair in pairs})}
    assert "Beside" not in page(done, pairs, "training", "multi-stage", {})


def test_outcomes_are_kept_under_the_name_of_their_method(tmp_path: Path) -> None:
    kept = MethodOutcomes().with_pair("p", outcome(0.5))
    save(tmp_path, "multi-stage:center+affine", kept)
    assert load(tmp_path, "multi-stage:center+affine") == kept
    assert load(tmp_path, "multi-stage") == MethodOutcomes()


def test_ours_are_measured_pair_by_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {"a": subject("a", (4, 4, 2)), "b": subject("b", (6, 4, 2))}
    pairs = case_pairs(["a", "b"], [0, 1])
    measure("shift", lambda fixed, moving: moved_by((2, 0, 0)), pairs, cases.__getitem__, tmp_path)
    assert [one.dice for one in load(tmp_path, "shift").pairs.values()] == [1.0, 0.0]
    assert "pair 1" in capsys.readouterr().out


def test_numbers_of_pairs() -> None:
    assert _numbers("0-3,7") == [0, 1, 2, 3, 7]


def test_names_of_the_tools_are_those_of_the_worker() -> None:
    assert set(PEERS) == set(peer_worker.METHODS)


def test_simpleitk_lays_a_moved_blob_on_its_place() -> None:
    """The one tool that is installed here: field, order of axes and direction are those that scoring expects."""
    z, y, x = np.indices((20, 24, 28))

    def blob(centre: tuple[float, float, float]) -> peer_worker.Scan:
        squares = sum((one - c) ** 2 / s**2 for one, c, s in zip((z, y, x), centre, (2.5, 3.5, 4.5), strict=True))
        return peer_worker.Scan(np.exp(-squares / 2).astype(np.float32), (1.0, 1.0, 1.0))

    clock = peer_worker.Clock()
    field = peer_worker.METHODS["simpleitk-affine"][1](blob((9.5, 11.5, 13.5)), blob((10.5, 13.5, 10.5)), clock)
    assert field.shape == (3, 20, 24, 28)
    np.testing.assert_allclose(field[:, 9:11, 11:13, 13:15].mean(axis=(1, 2, 3)), [1.0, 2.0, -3.0], atol=0.1)
    assert clock.cpu_seconds > 0
