"""The zip file as a model format: written by `autoseg export`, taken in place of a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from autoseg.inference.formats import ModelFormat

_SIGNATURE = b"PK\x03\x04"  # of the first file in a zip


def write(run: Path, out: Path, *, configuration: str | None, folds: Sequence[str] | None) -> Iterator[str]:
    """Writes the zip file (`write_archive`).

    Args:
        run: a run folder.
        out: the file to write.
        configuration: a name, or names joined by "+"; None takes the best of the run.
        folds: names; None takes all numbered ones that are trained, else the model of all data.
    """
    from autoseg.exchange.archive.writing import write_archive
    from autoseg.log import counted
    from autoseg.workspace import Run

    manifest = write_archive(Run(run), out, configuration=configuration, folds=folds)
    yield f"model: {out}, {out.stat().st_size / 1e6:.1f} MB, {counted(len(manifest.files) + 1, 'file')}"
    for name, names in manifest.folds.items():
        note = "" if name in manifest.configurations else " (previous stage)"
        yield f"  {name}{note}: fold {', '.join(names)}"
    yield f"use it with: autoseg predict {out} IMAGES --out DIR"


def read(path: Path) -> Path | None:
    """The unpacked run folder; None for a file that is no zip by its name nor by its first bytes.

    Raises:
        ArchiveError: a zip that is no model or is damaged (`unpack`).
    """
    with path.open("rb") as file:
        if path.suffix.lower() != ".zip" and file.read(len(_SIGNATURE)) != _SIGNATURE:
            return None
    from autoseg.exchange.archive.reading import unpack

    return unpack(path)


ZIP = ModelFormat(description="for `autoseg predict` elsewhere", write=write, read=read)
