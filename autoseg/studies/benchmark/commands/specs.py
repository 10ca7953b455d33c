"""`autoseg list specs`: the challenges that `autoseg reproduce` knows."""

from __future__ import annotations

from autoseg.cli.listings import Listing


def specs() -> Listing:
    """Published challenges."""
    from autoseg.studies.benchmark.catalogue import entries

    rows = tuple((one.name, one.images, str(one.results), one.title) for one in entries())
    return Listing("published challenges", ("name", "training images", "results", "challenge"), rows)
