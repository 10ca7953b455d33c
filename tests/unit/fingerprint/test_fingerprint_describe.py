"""Each sentence appears for data made to provoke it, and none for ordinary data."""

from __future__ import annotations

from typing import Any

import pytest

from autoseg.data.image import IntensityStatistics
from autoseg.fingerprint.describe import describe
from autoseg.fingerprint.measure import Measurement
from autoseg.fingerprint.record import CaseFingerprint


def statistics(median: float) -> IntensityStatistics:
    return IntensityStatistics(median, median, 1.0, median - 2, median + 2, median - 2, median + 2)


def measured(**changes: Any) -> Measurement:
    """An ordinary case with one channel and two classes."""
    shape = changes.pop("shape", (50, 50, 50))
    values = {
        "spacing": (1.0, 1.0, 1.0),
        "class_voxels": {"a": 5000, "b": 9000},
        "intensities": (statistics(changes.pop("median", 100.0)),),
    }
    own = {name: changes.pop(name) for name in list(changes) if name in values}
    values.update(own)
    case = CaseFingerprint(
        id="x",
        shape=shape,
        crop_box=tuple((0, n) for n in shape),
        relative_size=1.0,
        class_volumes={name: float(n) for name, n in values["class_voxels"].items()},
        **values,
    )
    rest = {"ranges": ((0.0, 700.0),), "whole_numbers": (True,), "at_border": False} | changes
    return Measurement(fingerprint=case, samples=(), **rest)


def sentences(*cases: Measurement, channel: str = "T1", repeat: int = 30) -> tuple[str, ...]:
    return describe(cases * repeat, (channel,))


def test_ordinary_data_gives_no_sentence():
    assert sentences(measured()) == ()


def test_no_cases_give_no_sentence():
    assert describe((), ("T1",)) == ()


HU = {"ranges": ((-1024.0, 1500.0),)}


@pytest.mark.parametrize(
    ("expected", "cases"),
    [
        ("spacing along z differs much between cases: 1 to 5 mm", [{}, {"spacing": (5.0, 2.0, 2.0)}]),
        ("images differ much in size along x: 10 to 50 voxels", [{}, {"shape": (50, 50, 10)}]),
        ("voxels are anisotropic: 5 x 0.5 x 0.5 mm (zyx), 10.0 times", [{"spacing": (5.0, 0.5, 0.5)}]),
        ("class b is missing in 30 of 60 cases", [{}, {"class_voxels": {"a": 5000, "b": 0}}]),
        ("class b appears in no case: it cannot be learned", [{"class_voxels": {"a": 5000, "b": 0}}]),
        ("class b is rare: 0.040% of the voxels", [{"class_voxels": {"a": 500, "b": 50}}]),
        ("classes are unbalanced: a has 100 times the voxels of b", [{"class_voxels": {"a": 50000, "b": 500}}]),
        ("foreground touches the image border in 30 of 60 cases", [{}, {"at_border": True}]),
        ("channel 'T1' looks like Hounsfield units but is not named CT", [HU]),
        (
            "intensities of channel 'T1' differ by orders of magnitude between cases: medians from 2 to 100",
            [{}, {"median": 2.0}],
        ),
    ],
)
def test_unusual_data_is_described(expected, cases):
    found = sentences(*(measured(**changes) for changes in cases))

    assert len(found) == 1, found
    assert expected in found[0]


def test_few_cases():
    assert sentences(measured(), repeat=4) == ("only 4 cases: scores will vary much between folds",)


def test_a_channel_named_ct_may_look_like_it():
    assert sentences(measured(**HU), channel="ct") == ()


def test_a_channel_named_ct_that_has_no_air():
    (sentence,) = sentences(measured(), channel="CT")

    assert "has no negative values: is it in Hounsfield units?" in sentence


def test_fractional_intensities_do_not_look_like_hounsfield_units():
    assert sentences(measured(whole_numbers=(False,), **HU)) == ()


def test_a_plane_image_is_not_called_anisotropic():
    assert sentences(measured(shape=(1, 300, 300), spacing=(999.0, 1.0, 1.0))) == ()
