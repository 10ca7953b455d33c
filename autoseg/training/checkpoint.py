"""Checkpoints: plain tensors, numbers and strings, written whole or not at all, read without running code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from autoseg.errors import WorkspaceError
from autoseg.records import write_bytes

FORMAT = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint beside its place and renames it."""
    stream = io.BytesIO()
    torch.save({"format": FORMAT, **content}, stream)
    write_bytes(path, stream.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU.

    Raises:
        WorkspaceError: the file is missing, damaged, or of a form that this version does not know.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WorkspaceError("the checkpoint is missing", where=path, remedy="train this fold first") from None
    except pickle.UnpicklingError as error:
        raise WorkspaceError(
            "the checkpoint holds more than tensors, numbers and strings",
            where=path,
            remedy="it may be damaged or made to run code: do not use it unless you made it, and then train again",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WorkspaceError(
            f"the checkpoint cannot be read: {reason}", where=path, remedy="delete the file and train the fold again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        version = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise WorkspaceError("is not a checkpoint of this version", where=path, got=version, expected=FORMAT)
    return content
