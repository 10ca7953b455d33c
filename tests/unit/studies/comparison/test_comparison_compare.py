"""Which methods are compared, on which cases, and how memory is measured."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.studies.comparison.pipeline.compare import chosen_cases
from autoseg.studies.comparison.pipeline.memory import peak_gb, reset_peak
from autoseg.studies.comparison.pipeline.methods import NEEDED, OWN, MethodChoice, choose_methods
from autoseg.studies.comparison.pipeline.process import first_line


def test_all_is_every_baseline_that_needs_no_option() -> None:
    methods = choose_methods(MethodChoice("otsu,all,autoseg"))
    names = [method.name for method in methods]
    assert sorted(names) == sorted({*plugins.names("baseline"), OWN} - set(NEEDED))
    assert (names[0], names[-1]) == ("otsu", OWN)
    assert all(method.plugin == method.name for method in methods)


def test_a_run_and_predictions_take_part_without_being_named(tmp_path: Path) -> None:
    chosen = MethodChoice(
        "empty", run=tmp_path, predictions={"theirs": tmp_path}, peer_python=Path("python"), budget=9.0
    )
    empty, theirs_last, own = (choose_methods(chosen)[index] for index in (0, -1, 1))
    assert empty.options == {}  # a budget is for what trains: other choices of it do not change this method
    assert own.options["run"] == tmp_path
    assert (theirs_last.name, theirs_last.plugin) == ("theirs", "folder")
    assert theirs_last.options == {"predictions": tmp_path}
    (peer,) = choose_methods(MethodChoice("nnunetv2", peer_python=Path("python"), budget=9.0))
    assert (peer.options["peer_python"], peer.options["seconds"]) == (Path("python"), 9.0)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (MethodChoice("otsi"), "did you mean 'otsu'"),
        (MethodChoice(""), "no method is named"),
        (MethodChoice("nnunetv2"), "--peer-python"),
        (MethodChoice("folder"), "--predictions NAME=FOLDER"),
        (MethodChoice("otsu", predictions={"autoseg": Path()}), "cannot have this name"),
        (MethodChoice("otsu", predictions={"../up": Path()}), "cannot have this name"),
        (MethodChoice("otsu", training_cases={"empty": 3}), "unknown method 'empty'"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_work(chosen: MethodChoice, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        choose_methods(chosen)


def test_limits_are_for_one_baseline_or_for_the_others() -> None:
    methods = choose_methods(MethodChoice("otsu,empty,autoseg", training_cases={"": 5, "otsu": 3}))
    assert [method.training_cases for method in methods] == [3, 5, None]


def test_fewer_training_cases_are_among_more() -> None:
    cases = [f"case_{number:02d}" for number in range(20)]
    drawn = [chosen_cases(cases, most, seed=3) for most in range(1, 21)]
    assert [len(one) for one in drawn] == list(range(1, 21))
    assert all(set(fewer) < set(more) for fewer, more in itertools.pairwise(drawn))
    assert all(list(one) == sorted(one) for one in drawn)
    assert chosen_cases(cases, None, seed=3) == tuple(cases) == drawn[-1]
    assert chosen_cases(cases, 5, seed=4) != drawn[4]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be started anew")
def test_the_peak_of_memory_is_of_the_span() -> None:
    size = 0.2
    reset_peak()
    before = peak_gb()
    array = np.ones(int(size * 1e9 / 8))
    during = peak_gb()
    del array
    reset_peak()
    after = peak_gb()
    assert before is not None
    assert during is not None
    assert after is not None
    assert during - before == pytest.approx(size, abs=0.02)
    assert during - after == pytest.approx(size, abs=0.02)


def test_a_description_is_the_first_line() -> None:
    def plugin() -> None:
        """Votes of atlases.

        More about them.
        """

    assert first_line(plugin) == "Votes of atlases"
    assert first_line(object.__new__(type("Plain", (), {}))) == ""
