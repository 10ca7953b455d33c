"""Forms that a trained model takes outside of its run folder: plug-ins of kind "model format"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autoseg import plugins
from autoseg.errors import ConfigurationError, WorkspaceError


class Writer(Protocol):
    """Writes the model of a run folder and says in lines what was written and how it is used."""

    def __call__(
        self, run: Path, out: Path, *, configuration: str | None, folds: Sequence[str] | None
    ) -> Iterable[str]:
        """Writes `out`.

        Args:
            run: run folder.
            out: the file to write, or the folder to make.
            configuration: a name, or names joined by "+" for their ensemble; None takes the best of the run.
            folds: names of folds; None takes all numbered ones that are trained, else the model of all data ("all").
        """
        ...


class Reader(Protocol):
    """Makes a run folder, with what prediction needs, of a file; None for a file that is not of its format."""

    def __call__(self, path: Path, /) -> Path | None: ...


@dataclass(frozen=True)
class ModelFormat:
    """A form of a trained model that can be written, read or both.

    Attributes:
        description: what it is for, in one line.
        write: None for a format that is read only.
        read: None for a format that is written only.
        makes_folder: whether `write` makes a folder instead of a file.
    """

    description: str
    write: Writer | None = None
    read: Reader | None = None
    makes_folder: bool = False


def model_folder(path: Path) -> Path:
    """A run folder as it is; of a model file, the run folder that the format which knows it makes of it.

    Raises:
        WorkspaceError: no such path, a file that no format knows, or one that is damaged.
    """
    if path.is_dir():
        return path
    try:
        path.open("rb").close()
    except OSError as error:
        raise WorkspaceError(
            f"cannot be read ({error.strerror})", where=path, remedy="give a run folder, or a file of `autoseg export`"
        ) from None
    readable = []
    for name in plugins.names("model format"):
        model_format: ModelFormat = plugins.resolve("model format", name)
        if model_format.read is not None:
            folder = model_format.read(path)
            if folder is not None:
                return folder
            readable.append(name)
    raise WorkspaceError(
        "is no trained model that can be read",
        where=path,
        expected=f"a run folder, or a file in a format that is read: {', '.join(readable) or 'none'}",
        remedy="give a run folder, or a zip file of `autoseg export`",
    )


def write_model(
    name: str, run: Path, out: Path, *, configuration: str | None = None, folds: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Writes a trained model in the format of that name.

    Args:
        name: of the format.
        run: a run folder or a model file.
        out: the file to write, or for some formats the folder to make.
        configuration: a name, or names joined by "+" for their ensemble; None takes the best of the run.
        folds: names of folds; None takes all numbered ones that are trained, else the model of all data ("all").

    Returns:
        Lines for the user: what was written, and how it is used.

    Raises:
        ConfigurationError: no such format, one that is read only, or a folder where a file is to be written.
        WorkspaceError: `run` is no trained model, or a fold is not trained.
    """
    model_format: ModelFormat = plugins.resolve("model format", name)
    if model_format.write is None:
        raise ConfigurationError(f"models are read from the format {name!r} and not written in it", got=out)
    if out.is_dir() and not model_format.makes_folder:
        raise ConfigurationError(
            "is a directory", where=out, expected="the file to write", remedy="give --out the path of a file"
        )
    return tuple(model_format.write(model_folder(run), out, configuration=configuration, folds=folds))
