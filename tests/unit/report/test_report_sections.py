"""Sections of third parties: one that fails costs itself, not the page, and one that cannot be called is told early."""

from __future__ import annotations

import logging

import pytest
from markupsafe import Markup

from autoseg import plugins
from autoseg.errors import PluginError
from autoseg.report.build import render
from autoseg.report.gather import RunRecords, gather
from autoseg.report.section import Section, check_sections
from autoseg.workspace import Run


@pytest.fixture(autouse=True)
def _nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})


def test_a_section_stands_where_it_says(finished_run: Run) -> None:
    @plugins.register("report section", "mine")
    def mine(records: RunRecords) -> Section:
        html = Markup('<section id="mine"><h2>Mine</h2><p>{}</p></section>').format("a < b")
        return Section("mine", "My own", html, after="data")

    page = render(gather(finished_run))
    assert page.index('<section id="data">') < page.index('<section id="mine">') < page.index('<section id="plan">')
    assert '<a href="#mine">My own</a>' in page
    assert "a &lt; b" in page


def test_a_section_that_fails_is_left_out(finished_run: Run, caplog: pytest.LogCaptureFixture) -> None:
    @plugins.register("report section", "broken")
    def broken(records: RunRecords) -> Section:
        raise ValueError("no luck")

    with caplog.at_level(logging.WARNING, logger="autoseg"):
        page = render(gather(finished_run))
    assert '<section id="plan">' in page
    assert "the report section broken is left out: ValueError: no luck" in caplog.text


def test_a_section_that_cannot_be_called_is_told_before_the_work() -> None:
    check_sections()
    plugins.register("report section", "wrong")(lambda: None)
    with pytest.raises(PluginError, match="the report section 'wrong' cannot be called"):
        check_sections()
