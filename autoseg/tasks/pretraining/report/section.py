"""What a pretraining has learned: its images, how embeddings developed, and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.image import imsave

from autoseg.errors import AutosegError
from autoseg.report.gather import FoldRecords, RunRecords
from autoseg.report.metrics import number
from autoseg.report.page import render_template
from autoseg.report.section import Section
from autoseg.report.theme import inline_svg, new_figure
from autoseg.run_state import MetricsRow
from autoseg.tasks.pretraining.trainer.gallery import Gallery, gallery_file
from autoseg.tasks.pretraining.trainer.sources import ImageSource, Sources, sources_file
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.curves import SERIES, plain_axes

MEASURES = {
    "deviation": "Deviation of directions",
    "effective_rank": "Effective rank",
    "alignment": "Alignment of two views",
    "uniformity": "Uniformity",
    "information": "Information of assignments",
}
"""Measure of the embeddings -> its title; `pretraining.watch` has the definitions."""

_BORDER = 1  # pixels around a picture


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with what it shows."""

    data: Markup
    caption: str


@dataclass(frozen=True)
class PretrainingSection:
    """The section of the page.

    Attributes:
        method: name of the method, "?" before the training is finished.
        sources: the folders; empty where the run does not tell.
        hold_out: the fold that is held out, as the user gave it.
        curves: of the embeddings' measures; None before the first round.
        last: (title, value) of the last round.
        pace: seconds per step and share of the time waiting for data, in words.
        pictures: of the final weights.
    """

    method: str
    sources: tuple[ImageSource, ...]
    hold_out: str | None
    curves: Markup | None
    last: tuple[tuple[str, str], ...]
    pace: str
    pictures: tuple[Picture, ...]


def pretraining_section(records: RunRecords) -> Section | None:
    """What a pretraining learnt, and from which images; nothing of other runs."""
    content = learned(records)
    if content is None:
        return None
    html = render_template("autoseg.tasks.pretraining.report", "pretraining.html.jinja", pretraining=content)
    return Section("pretraining", "Pretraining", html, instead_of=("results", "overlays"))


def learned(records: RunRecords) -> PretrainingSection | None:
    """The section of a run; None for a run of another task."""
    if not records.pretrains:
        return None
    contents = [content for folds in records.folds.values() for content in folds.values() if content.metrics]
    rows = contents[0].metrics if contents else []
    sources = _sources(records)
    curves = inline_svg(_figure(rows), "embeddings", "Measures of the embeddings over the steps") if rows else None
    return PretrainingSection(
        method=_method(contents),
        sources=sources.sources if sources is not None else (),
        hold_out=None if sources is None else sources.hold_out,
        curves=curves,
        last=_last(rows),
        pace=pace(rows),
        pictures=tuple(picture for content in contents for picture in _pictures(content)),
    )


def pace(rows: Sequence[MetricsRow]) -> str:
    """Seconds per step and the share of them spent waiting for data, in words; empty for no rows."""
    if not rows:
        return ""
    seconds = float(np.mean([row["step_seconds"] for row in rows]))
    waiting = float(np.mean([row["waiting_for_data"] for row in rows]))
    return f"{seconds:.3f} s per step, {waiting:.1%} of the time waiting for data"


def _method(contents: Sequence[FoldRecords]) -> str:
    for content in contents:
        for file in (content.folder.final, content.folder.last):
            try:
                return str(load_checkpoint(file)["config"]["options"]["method"])
            except (AutosegError, KeyError):
                continue
    return "?"


def _sources(records: RunRecords) -> Sources | None:
    try:
        return Sources.load(sources_file(records.run))
    except AutosegError:
        return None


def _last(rows: Sequence[MetricsRow]) -> tuple[tuple[str, str], ...]:
    measures = (rows[-1].get("measures") or {}) if rows else {}
    measured = ((title, measures.get(name)) for name, title in MEASURES.items())
    return tuple((title, number(value)) for title, value in measured if value is not None)


def _figure(rows: Sequence[MetricsRow]) -> Figure:
    """A panel for each measure that the method has."""
    points = {
        name: [(row["step"], value) for row in rows if (value := (row.get("measures") or {}).get(name)) is not None]
        for name in MEASURES
    }
    colours = dict(zip(MEASURES, SERIES, strict=False))
    shown = [name for name in MEASURES if points[name]] or list(MEASURES)[:1]
    figure = new_figure(9.0, 2.5)
    for panel, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        axes = plain_axes(panel, MEASURES[name])
        if column := points[name]:
            marker = "o" if len(column) < 3 else None
            axes.plot(*zip(*column, strict=True), color=colours[name], linewidth=1.4, marker=marker)
    return figure


def _pictures(content: FoldRecords) -> tuple[Picture, ...]:
    file = gallery_file(content.folder)
    if not file.exists():
        return ()
    try:
        gallery = Gallery.load(file)
    except AutosegError:
        return ()
    pictures = []
    if len(gallery.restored):
        pictures.append(
            Picture(_png(_tiled(gallery.restored)), "what the encoder saw, what was restored, the original")
        )
    if len(gallery.neighbours):
        names = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in gallery.names)
        pictures.append(
            Picture(_png(_tiled(gallery.neighbours)), f"a view, then the nearest ones of other images ({names})")
        )
    if len(gallery.features):
        grey = np.repeat(gallery.images[..., None], 3, axis=-1)
        pairs = np.stack((grey, gallery.features), axis=1)
        pictures.append(
            Picture(
                _png(_tiled(pairs)),
                "an image, and the encoder's features by their three principal components as colours: places of one "
                "colour are alike to the encoder",
            )
        )
    return tuple(pictures)


def _tiled(pictures: np.ndarray) -> np.ndarray:
    """Pictures (rows, columns, H, W, ...) as one, with white lines between them."""
    borders = [(0, 0), (0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER), *[(0, 0)] * (pictures.ndim - 4)]
    padded = np.pad(pictures, borders, constant_values=255)
    return np.concatenate([np.concatenate(list(row), axis=1) for row in padded])


def _png(picture: np.ndarray) -> Markup:
    """Grey (H, W) or coloured (H, W, 3) uint8 values as a data URI, each pixel as it is."""
    stream = io.BytesIO()
    imsave(stream, picture, format="png", cmap="gray", vmin=0, vmax=255)
    return Markup("data:image/png;base64,") + base64.b64encode(stream.getvalue()).decode("ascii")
