"""The folders that nnU-Net trains into: which model lies where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoseg.errors import WorkspaceError
from autoseg.records import read_mapping
from autoseg.workspace import ALL_DATA

Checkpoint = Literal["final", "best"]

_REMEDY = (
    "give the folder that nnU-Net trained into, such as Dataset004_Name/nnUNetTrainer__nnUNetPlans__3d_fullres with "
    "plans.json and dataset.json, or the folder of the data set with several of them"
)


@dataclass(frozen=True)
class ModelFolder:
    """One trained configuration: a folder with plans.json, dataset.json and fold_*/checkpoint_*.pth.

    Attributes:
        plans, dataset: contents of the two files.
        checkpoints: fold ("0", "1", ..., "all") -> file.
        incomplete: folds that have a folder but no such checkpoint.
    """

    root: Path
    plans: dict[str, Any]
    dataset: dict[str, Any]
    checkpoints: dict[str, Path]
    incomplete: tuple[str, ...]

    @property
    def name(self) -> tuple[str, ...]:
        """Trainer, plans and configuration, of which nnU-Net makes the folder's name; empty for another name."""
        parts = self.root.name.split("__")
        return tuple(parts) if len(parts) == 3 else ()

    def sibling(self, configuration: str) -> Path | None:
        """The folder of another configuration with the same trainer and plans, where nnU-Net puts it."""
        if not self.name:
            return None
        path = self.root.with_name("__".join((*self.name[:2], configuration)))
        return path if (path / "plans.json").is_file() else None

    def fold(self, key: str) -> Path:
        """Folder of a fold."""
        return self.root / f"fold_{key}"


def find_models(path: Path, checkpoint: Checkpoint = "final") -> list[ModelFolder]:
    """The trained models in a folder: the one it is, or all that it holds.

    Args:
        path: a model's folder, or a data set's with a folder for each configuration.
        checkpoint: which checkpoint of each fold.

    Raises:
        WorkspaceError: no model is there, or the models in it are of several trainers or plans.
        ConfigurationError: a JSON file cannot be read.
    """
    path = path.resolve()
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        unpack = "unpack the zip, then " if path.is_file() else ""
        raise WorkspaceError(what, where=path, remedy=unpack + _REMEDY)
    if (path / "plans.json").is_file():
        models = [read_model_folder(path, checkpoint)]
    else:
        roots = sorted(file.parent for file in path.glob("*__*__*/plans.json"))
        models = [read_model_folder(root, checkpoint) for root in roots]
    models = [model for model in models if model.checkpoints]
    if not models:
        raise WorkspaceError(
            "holds no trained model of nnU-Net v2",
            where=path,
            expected=f"fold_*/checkpoint_{checkpoint}.pth beside plans.json and dataset.json",
            remedy=_REMEDY,
        )
    kinds = sorted({model.name[:2] for model in models})
    if len(kinds) > 1:
        raise WorkspaceError(
            "holds models of several trainers or plans, which do not fit into one run",
            where=path,
            got=", ".join("__".join(kind) for kind in kinds),
            remedy="give the folder of one of them",
        )
    return models


def read_model_folder(root: Path, checkpoint: Checkpoint = "final") -> ModelFolder:
    """A model's folder, without opening its checkpoints.

    Raises:
        ConfigurationError: plans.json or dataset.json is missing or no JSON.
    """
    folds = {match[1]: match[0] for path in root.glob("fold_*") if (match := _FOLD.fullmatch(path.name))}
    keys = sorted(folds, key=lambda key: (key == ALL_DATA, len(key), key))
    files = {key: root / folds[key] / f"checkpoint_{checkpoint}.pth" for key in keys}
    return ModelFolder(
        root=root,
        plans=read_mapping(root / "plans.json", nan=True),
        dataset=read_mapping(root / "dataset.json"),
        checkpoints={key: file for key, file in files.items() if file.is_file()},
        incomplete=tuple(key for key, file in files.items() if not file.is_file()),
    )


_FOLD = re.compile(r"fold_(\d+|all)")
