"""`autoseg list specs`: the challenges that `autoseg reproduce` knows."""

from __future__ import annotations

from autoseg.cli.listings import Listing


def specs() -> Listing:
    """Published challenges."""
    from autoseg.studies.benchmark.catalogue import entries

    rows = tuple((entry.name, entry.images, str(entry.results), entry.title) for entry in entries())
    return Listing("published challenges", ("name", "training images", "results", "challenge"), rows)
