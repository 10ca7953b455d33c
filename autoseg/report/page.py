"""What every page is made with: templates that escape what they show, and the style and script inside the page."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from autoseg.report.metrics import digits, heading, label_name, number

_ROOM = "autoseg.report"


def page_environment(package: str = _ROOM) -> jinja2.Environment:
    """The templates of a package, and behind them those of this room, for macros and sections that pages share.

    A name that a page lacks is an error, not an empty place.
    """
    packages = dict.fromkeys((package, _ROOM))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in packages]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, digits=digits, heading=heading, label_name=label_name)
    return environment


def render_template(package: str, template: str, **values: Any) -> Markup:
    """A part of a page, as HTML that is safe to put into it.

    Args:
        package: dotted name of a package with a folder `templates`.
        template: file name in it.
        values: what the template shows; text is escaped.
    """
    return Markup(page_environment(package).get_template(template).render(**values))


def page_asset(name: str) -> Markup:
    """A style sheet or script of this room, to be put into a page as it is."""
    return Markup((files(_ROOM) / "templates" / name).read_text(encoding="utf-8"))
