"""`autoseg build-atlas`: mean intensities, mean shape, mean labels, and going on after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg import plugins
from autoseg.cli.main import run
from autoseg.data.files import read_image, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import DatasetError, RegistrationError, WorkspaceError
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, StageReport
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.pipeline.atlas import MeanAtlas, build_atlas
from autoseg.tasks.registration.pipeline.mean_grid import joint_grid
from autoseg.tasks.registration.pipeline.request import RegistrationRequest, SubjectsRequest
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine

RADII = {"a": 6.0, "b": 7.0, "c": 8.0, "d": 9.0}
SHAPE = (1, 40, 44)
CALLS: list[tuple[str, ...]] = []
REQUEST = SubjectsRequest(RegistrationRequest("scaling", device="cpu"), workers=1)


def disc(radius: float, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    y, x = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[2]), indexing="ij")
    distance: np.ndarray = np.hypot(y - 19.5 - shift[0], x - 21.5 - shift[1]) - radius
    return distance[None]


def radius_of(image: torch.Tensor) -> float:
    """Of a disc of intensities between 0 and 1, in pixels of 1 mm."""
    return float((image.sum() / np.pi).sqrt())


def scaling(pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device) -> RegistrationResult:
    """Scales one disc onto the other around their centres; refuses inverted images."""
    CALLS.append(options.stages)
    if float(pair.moving[0, 0, 0]) > 0.5:
        raise RegistrationError("inverted")
    factor = radius_of(pair.moving) / radius_of(pair.fixed)
    centre = torch.tensor(pair.fixed_grid.centre, dtype=torch.float64)
    shift = torch.tensor(pair.moving_grid.centre, dtype=torch.float64) - centre
    stage = StageReport("affine", "ssd", 1.0, 0.5, 1, 0.1, "converged")
    return RegistrationResult(Affine(factor * torch.eye(2, dtype=torch.float64), shift, centre), "scaling", (stage,))


@pytest.fixture(autouse=True)
def _scaling_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {"registration": {"scaling": scaling}})
    CALLS.clear()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Discs of four sizes, wherever in the world."""
    for number, (name, radius) in enumerate(RADII.items()):
        place = Geometry(Geometry.plane().spacing, (0.0, 900.0 * number, -70.0 * number), dimension=2)
        edge = np.clip(0.5 - disc(radius), 0, 1).astype(np.float32)
        write_image(tmp_path / "data" / "images" / f"{name}.nii.gz", Image(edge[None], place))
        write_labels(tmp_path / "data" / "labels" / f"{name}.nii.gz", (disc(radius) < 0) * 5, place)
    return tmp_path / "data"


def test_the_template_has_the_mean_size(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    atlas = build_atlas(dataset, out, REQUEST, iterations=3)
    template = read_image(out / "template.nii.gz")
    assert template.shape == SHAPE
    assert radius_of(torch.from_numpy(template.array)) == pytest.approx(np.mean(list(RADII.values())), abs=0.15)
    inside, outside = disc(6.5) < 0, disc(8.5) > 0
    assert template.array[0][inside].min() > 0.95
    assert template.array[0][outside].max() < 0.05, "it is sharp, as the cases are"
    assert atlas == MeanAtlas.load(out / "atlas.json")
    assert atlas.iterations[-1].shape_change < 0.05
    assert atlas.iterations[-1].change < 0.01 < atlas.iterations[0].change
    assert [iteration.stages for iteration in atlas.iterations] == [("center", "affine"), *(CALLS[-1:] * 2)]
    assert "deformable" in CALLS[-1]
    assert not [path for path in (out / "iterations").iterdir() if path.is_dir()], "no case's file is left"


def test_its_labels_are_shares_and_the_most_likely(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["build-atlas", str(dataset), "--out", str(out), "--iterations", "2", "--method", "scaling"]
    assert run([*arguments, "--workers", "1", "--device", "cpu"]) == 0
    soft = read_image(out / "labels_soft.nii.gz")
    assert MeanAtlas.load(out / "atlas.json").labels == ("background", "5")
    assert soft.array.shape == (2, *SHAPE)
    assert soft.array.sum(0) == pytest.approx(1, abs=1e-5)
    hard = read_labels(out / "labels.nii.gz").array[0]
    assert set(np.unique(hard)) == {0, 5}
    assert np.array_equal(hard == 5, soft.array[1] > 0.5)
    assert np.sqrt((hard == 5).sum() / np.pi) == pytest.approx(7.5, abs=0.3)


def test_it_goes_on_where_it_was_stopped(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_atlas(dataset, tmp_path / "whole", REQUEST, iterations=3)

    def stopping(
        pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device
    ) -> RegistrationResult:
        if len(CALLS) == 6:
            raise KeyboardInterrupt
        return scaling(pair, options, seed=seed, device=device)

    CALLS.clear()
    monkeypatch.setattr(plugins, "_registered", {"registration": {"scaling": stopping}})
    with pytest.raises(KeyboardInterrupt):
        build_atlas(dataset, tmp_path / "out", REQUEST, iterations=3)
    monkeypatch.setattr(plugins, "_registered", {"registration": {"scaling": scaling}})
    with pytest.raises(WorkspaceError, match="in use"):
        build_atlas(dataset, tmp_path / "out", REQUEST, iterations=3)
    other = replace(REQUEST, registration=replace(REQUEST.registration, seed=3), resume=True)
    with pytest.raises(WorkspaceError, match="begun with other choices\n  got:      seed 3 instead of 0"):
        build_atlas(dataset, tmp_path / "out", other, iterations=3)
    resumed = build_atlas(dataset, tmp_path / "out", replace(REQUEST, resume=True), iterations=3)
    assert len(CALLS) == 12, "six before, six after"
    assert resumed == whole
    first, second = (read_image(tmp_path / name / "template.nii.gz").array for name in ("whole", "out"))
    assert np.array_equal(first, second)


def test_a_case_that_cannot_be_registered_is_left_out(dataset: Path, tmp_path: Path) -> None:
    path = dataset / "images" / "d.nii.gz"
    image = read_image(path)
    write_image(path, image.with_array(1 - image.array))
    atlas = build_atlas(dataset, tmp_path / "out", REQUEST, iterations=2)
    assert atlas.iterations[-1].failed == {"d": "inverted"}


def test_too_few_cases_are_refused(dataset: Path, tmp_path: Path) -> None:
    for name in "abc":
        (dataset / "images" / f"{name}.nii.gz").unlink()
    with pytest.raises(DatasetError, match="at least two cases"):
        build_atlas(dataset, tmp_path / "out")


def test_the_grid_holds_all_cases() -> None:
    small = Grid((10, 20, 30), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))
    turned = Grid((20, 10, 30), ((0.0, 2.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (50.0, 0.0, 0.0))
    found = joint_grid([small, small, turned], "data")
    assert found.matrix == small.matrix
    assert found.centre == pytest.approx(small.centre)
    assert found.shape == (18, 20, 30)  # the 90th percentile of 10, 10 and 20
    with pytest.raises(DatasetError, match="mixed"):
        joint_grid([small, Grid((5, 5), ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0))], "data")
