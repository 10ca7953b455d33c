"""Where the images of a pretraining come from, and which images they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from autoseg.records import Record
from autoseg.workspace import Run


class ImageSource(Record):
    """One folder of images, or one list of them.

    Attributes:
        name: of the data set.
        folder: where it lies; the file that lists them.
        weight: how often one of its images is drawn, compared with one of a source of weight 1.
        cases: identifiers of its images in the run.
        held_out: identifiers, in the folder, of images of the fold that is held out.
        copies: identifiers, in the folder, of images with the voxels of a held-out one.
    """

    name: str
    folder: Path
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    cases: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


class Sources(Record):
    """All images of a pretraining, the run's `sources.json`.

    Attributes:
        sources: the folders.
        digests: case -> digest of its voxels, by which copies are known.
        hold_out: the splits and the fold that is held out, as the user gave them; None if nothing is.
    """

    sources: tuple[ImageSource, ...]
    digests: dict[str, str]
    hold_out: str | None = None

    @property
    def weights(self) -> Mapping[str, float]:
        """Case -> how often it is drawn, compared with others."""
        return {case: source.weight for source in self.sources for case in source.cases}


def sources_file(run: Run) -> Path:
    """Where a pretraining run keeps its `Sources`."""
    return run.root / "sources.json"
