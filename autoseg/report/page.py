"""What every page is made with: templates that escape what they show, and the style and script inside the page."""

from __future__ import annotations

from importlib.resources import files

import jinja2
from markupsafe import Markup

from autoseg.report.metrics import digits, heading, label_name, number


def page_environment() -> jinja2.Environment:
    """The templates of this room; a name that a page lacks is an error, not an empty place."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autoseg.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, digits=digits, heading=heading, label_name=label_name)
    return environment


def page_asset(name: str) -> Markup:
    """A style sheet or script of this room, to be put into a page as it is."""
    return Markup((files("autoseg.report") / "templates" / name).read_text(encoding="utf-8"))
