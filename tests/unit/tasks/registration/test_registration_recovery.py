"""Known transforms of real pictures, and of a phantom volume, are found again."""

from __future__ import annotations

from functools import cache

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data

from autoseg.data.image import Geometry, Image
from autoseg.tasks.registration.methods import RegistrationOptions, StageName, register
from benchmarks.registration.known import Kind, known_pair, turned_grey

STAGES: dict[Kind, tuple[StageName, ...]] = {
    "rigid": ("center", "rigid"),
    "affine": ("center", "affine"),
    "smooth": ("deformable",),
}

WITHIN: dict[tuple[str, Kind], float] = {
    ("brain", "rigid"): 0.4,
    ("brain", "affine"): 0.4,
    ("brain", "smooth"): 1.8,
    ("tissue", "rigid"): 0.2,
    ("tissue", "affine"): 0.2,
    ("tissue", "smooth"): 0.8,
    ("volume", "rigid"): 0.3,
    ("volume", "affine"): 0.4,
    ("volume", "smooth"): 0.9,
}
"""Mean error in mm: at most a third of a voxel for linear maps, and a voxel for smooth ones."""


@cache
def picture(name: str) -> Image:
    """A slice of a head (MR, 1.8 mm), a stained section of a colon (1 mm pixels), or blobs in a volume (1.2 mm)."""
    if name == "brain":
        with matplotlib.cbook.get_sample_data("s1045.ima.gz") as file:
            content = file.read()
        array = np.frombuffer(content, dtype=">u2").reshape(256, 256)[::2, ::2].astype(np.float32)
        return Image(array[None, None], Geometry.plane((1.8, 1.8)))
    if name == "tissue":
        colours = np.moveaxis(skimage.data.immunohistochemistry()[::4, ::4], -1, 0)
        return Image(np.ascontiguousarray(colours)[:, None], Geometry.plane((1.0, 1.0)))
    random = np.random.default_rng(4)
    places = np.stack(np.meshgrid(*map(np.arange, (36, 40, 34)), indexing="ij"), axis=-1)
    array = np.zeros(places.shape[:-1])
    for _ in range(40):
        centre, width = random.uniform(3, 35, 3), random.uniform(1.5, 5.0, 3)
        array += random.uniform(-1, 1) * np.exp(-(((places - centre) / width) ** 2).sum(-1) / 2)
    return Image(array.astype(np.float32)[None], Geometry(spacing=(1.2, 1.2, 1.2)))


@pytest.mark.parametrize("similarity", ["mutual-information", "gradient-fields", "mind", None])
@pytest.mark.parametrize(("name", "kind"), list(WITHIN))
def test_a_transform_is_recovered_between_modalities(name: str, kind: Kind, similarity: str | None) -> None:
    known = known_pair(picture(name), kind, seed=1, grey=turned_grey)
    found = register(known.pair, RegistrationOptions(stages=STAGES[kind], similarity=similarity))
    assert known.error(found.transform) < WITHIN[name, kind] < 0.85 * known.untouched


@pytest.mark.parametrize(("name", "kind"), list(WITHIN))
def test_a_transform_is_recovered_within_a_modality(name: str, kind: Kind) -> None:
    known = known_pair(picture(name), kind, seed=2)
    found = register(known.pair, RegistrationOptions(stages=STAGES[kind]))
    assert known.error(found.transform) < WITHIN[name, kind] < 0.85 * known.untouched


@pytest.mark.parametrize(("name", "kind"), list(WITHIN))
def test_squared_differences_recover_within_a_modality_and_fail_between_two(name: str, kind: Kind) -> None:
    options = RegistrationOptions(stages=STAGES[kind], similarity="ssd")
    same, other = (known_pair(picture(name), kind, seed=1, grey=grey) for grey in (None, turned_grey))
    assert same.error(register(same.pair, options).transform) < WITHIN[name, kind]
    assert other.error(register(other.pair, options).transform) > other.untouched


@pytest.mark.parametrize("seed", range(3))
def test_all_stages_together_recover_an_affine_map_and_a_deformation(seed: int) -> None:
    """The default, from a start that its deformable stage alone does not find back from."""
    known = known_pair(picture("tissue"), "affine", seed=seed)
    found = register(known.pair)
    assert [stage.name for stage in found.stages] == ["center", "affine", "deformable"]
    assert known.error(found.transform) < 1.0
    assert known.untouched > 5.0
