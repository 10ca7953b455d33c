"""How figures enter the page: as inline SVG that takes its colours and its font from the page."""

from __future__ import annotations

import io
import re

import matplotlib
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from autoseg.training.curves import GRID, INK, MUTED, SERIES

COLOURS = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {c: f"--series-{i}" for i, c in enumerate(SERIES)}
"""Colour in a figure -> custom property of the style sheet, which has a light and a dark value for each."""


def new_figure(width: float = 5.4, height: float = 2.9) -> Figure:
    """An empty figure, inches; it is scaled to its column, so sizes set proportions and text size."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """A figure as an SVG element.

    Args:
        name: unique in the page; identifiers inside the picture are prefixed with it, since clip paths of two
            pictures would otherwise be taken for each other.
        description: what a reader who cannot see it should know.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", name)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    for colour, variable in COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    size = re.search(r'viewBox="0 0 ([\d.]+) ', text)
    width = float(size.group(1)) if size else 400.0
    opening = f'<svg role="img" aria-label="{escape(description)}" style="max-width:{1.6 * width:.0f}px"'
    text = re.sub(r'<svg([^>]*?) width="[^"]*"', rf"{opening}\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return Markup(text)  # made by matplotlib from escaped text, not by a user
