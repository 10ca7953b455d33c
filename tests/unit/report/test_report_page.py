"""The page as a whole: well formed, self-contained, its numbers those of the files, and whole for any part of a run."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autoseg.report.build import write_report
from autoseg.workspace import Run

SECTIONS = (
    "headline",
    "results",
    "uncertainty",
    "overlays",
    "data",
    "plan",
    "training",
    "postprocessing",
    "machine",
)
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects a page's elements and checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[tuple[dict[str, str | None], list[str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag == "td":
            self.rows[-1][1].append(dict(attrs).get("data-value"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def page(run: Run) -> Page:
    path = write_report(run)
    assert path == run.report
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(reported_run: Run) -> Page:
    return Page(reported_run.report.read_text(encoding="utf-8"))


def test_page_is_well_formed_and_has_every_section(whole: Page) -> None:
    sections = [attributes["id"] for tag, attributes in whole.elements if tag == "section"]
    assert sections == list(SECTIONS)
    assert "This makes it:" not in whole.words  # nothing is missing
    assert "Phantom <one> & two" in whole.words  # escaped in the source
    ids = [attributes["id"] for _, attributes in whole.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_page_refers_to_nothing_outside(whole: Page, reported_run: Run) -> None:
    for tag, attributes in whole.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, name, address)
    source = reported_run.report.read_text(encoding="utf-8")
    assert "@import" not in source
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", source))


def test_numbers_are_those_of_the_summary(whole: Page) -> None:
    headline = next(attributes for _, attributes in whole.elements if attributes.get("class") == "score")
    assert float(headline["data-value"] or "nan") == 0.6375
    rows = {(a["data-label"], a["data-metric"]): cells for a, cells in whole.rows if "data-metric" in a}
    assert set(rows) == {(label, metric) for label in ("organ", "lesion") for metric in ("dice", "hd95")}

    def numbers(label: str, metric: str) -> list[float]:  # mean, median, std, min, max
        return [float(cell) for cell in rows[label, metric][1:6] if cell]

    assert numbers("organ", "dice") == pytest.approx([0.775, 0.825, 0.2020726, 0.5, 0.95])
    assert numbers("lesion", "dice") == pytest.approx([0.5, 0.65, 0.4444097, 0.0, 0.85])
    assert numbers("lesion", "hd95") == pytest.approx([4.25, 4.25, 0.0, 4.25, 4.25])
    assert "0.637 ± 0.206" in whole.words
    assert "brings the mean to 0.651" in whole.words


def test_undefined_numbers_are_counted_not_shown_as_zero(reported_run: Run) -> None:
    source = reported_run.report.read_text(encoding="utf-8")
    row = re.search(r'data-label="lesion" data-metric="dice">.*?</tr>', source)
    assert row is not None
    assert row.group().endswith("<td>3</td><td>1</td></tr>")
    case = re.search(r">case_c</th>.*?</tr>", source)
    assert case is not None
    assert '<td data-value="">–</td>' in case.group()


def test_overlays_show_best_median_and_worst_with_three_planes_each(whole: Page) -> None:
    pictures = [a for tag, a in whole.elements if tag == "img"]
    assert [str(a["alt"]).split(",")[0] for a in pictures] == [
        f"{rank} case {case}: {plane}"
        for rank, case in (("best", "case_a"), ("median", "case_c"), ("worst", "case_d"))
        for plane in ("axial", "coronal", "sagittal")
    ]
    assert all(str(a["src"]).startswith("data:image/png;base64,") for a in pictures)


def test_command_warnings_and_decision_are_told(whole: Page) -> None:
    words = whole.words
    assert "autoseg plan-and-train 'my data' --out run --folds 0" in words
    for warning in ("labels were discovered", "the lesion is rare", "the budget is short"):
        assert warning in words
    assert "Accepted: largest-component:organ." in words
    assert "0.7750 0.8024" in words
    assert "+0.0274" in words
    assert "12m34s" in words


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        (("fingerprint.json",), "no fingerprint yet"),
        (("plan.json",), "no plan yet"),
        (("summary.json", "postprocessing.json"), "made after the cross-validation"),
        (("summary.json", "3d_fullres/fold_0/validation/summary.json"), "No fold has been validated"),
        (("3d_fullres",), "No training has started"),
        (("provenance.json",), "has not noted its machine"),
    ],
)
def test_missing_pieces_are_notes_with_a_command(finished_run: Run, missing: tuple[str, ...], note: str) -> None:
    shutil.rmtree(finished_run.root.parent / "data")  # overlays are not looked at here, and take most of the time
    for name in missing:
        path = finished_run.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    words = page(finished_run).words
    assert note in words
    assert "This makes it: autoseg " in words


def test_empty_run_folder_gives_a_page_of_notes(tmp_path: Path) -> None:
    found = page(Run(tmp_path))
    assert [a["id"] for tag, a in found.elements if tag == "section"] == list(SECTIONS)
    assert found.words.count("This makes it:") == len(SECTIONS)


def test_images_that_are_gone_leave_a_note(finished_run: Run) -> None:
    shutil.rmtree(finished_run.root.parent / "data" / "images")
    found = page(finished_run)
    assert not [tag for tag, _ in found.elements if tag == "img"]
    assert "case_a (best) is not shown" in found.words


def test_unreadable_file_is_a_warning(finished_run: Run) -> None:
    finished_run.fingerprint.write_text("{", encoding="utf-8")
    words = page(finished_run).words
    assert "fingerprint.json, line 1, column 2: is not valid JSON" in words
    assert "no fingerprint yet" in words


def test_a_run_without_expected_dice_claims_nothing(whole: Page) -> None:
    assert "did not record what Dice its predictions let expect" in whole.words
    assert "rank correlation" not in whole.words
    assert re.search(r"To use it autoseg predict \S*run IMAGES --out DIR", whole.words)


def test_same_run_gives_the_same_page(reported_run: Run) -> None:
    first = reported_run.report.read_bytes()
    assert write_report(reported_run).read_bytes() == first
