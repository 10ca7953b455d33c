"""Pictures of what a pretraining has learned, as arrays in a file beside its weights."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from autoseg.errors import WorkspaceError
from autoseg.records import write_bytes
from autoseg.workspace import Fold


@dataclass(frozen=True)
class Gallery:
    """Pictures, uint8; every array may have none.

    Attributes:
        restored: (N, 3, H, W): what the encoder saw, what came of it, the original.
        neighbours: (Q, 1 + K, H, W): a view, and the views of other images whose embeddings are nearest to its own.
        names: (Q, 1 + K): their cases.
        features: (N, H, W, 3): the encoder's features by their three principal components as colours.
        images: (N, H, W): what these features are of.
    """

    restored: np.ndarray
    neighbours: np.ndarray
    names: np.ndarray
    features: np.ndarray
    images: np.ndarray

    def save(self, path: Path) -> None:
        """Writes all arrays, whole or not at all."""
        stream = io.BytesIO()
        np.savez_compressed(stream, **{field.name: getattr(self, field.name) for field in fields(self)})
        write_bytes(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> Gallery:
        """Reads them.

        Raises:
            WorkspaceError: the file cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                return cls(**{field.name: content[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise WorkspaceError("the pictures cannot be read", where=path, got=str(error)) from None


def gallery_file(fold: Fold) -> Path:
    """Where a pretraining keeps its pictures."""
    return fold.root / "pictures.npz"
