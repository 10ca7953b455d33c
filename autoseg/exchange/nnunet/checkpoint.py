"""nnU-Net's checkpoints, read without running code from them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoseg.errors import WorkspaceError

# nnU-Net's log of losses and scores makes its checkpoints hold NumPy numbers, which PyTorch's safe reader refuses by
# itself. These names turn a type code and eight bytes into a number and can do nothing else; all other names in the
# pickle stay refused. NumPy 1 and 2 write the function under two names, whichever of them is installed here.
_scalar: Any = np.float32(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    np.dtype,
    (_scalar, "numpy._core.multiarray.scalar"),
    (_scalar, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(code)) for code in "?bBhHiIqQefd"),
]

_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


@dataclass(frozen=True)
class NnunetCheckpoint:
    """What prediction needs of a checkpoint of nnU-Net.

    Attributes:
        weights: nnU-Net's name -> tensor, each tensor under one name (`canonical_name`).
        configuration: of the plans.
        trainer: class that trained it.
        mirror_axes: patch axes that may be mirrored in prediction.
        epochs: trained.
    """

    weights: dict[str, Tensor]
    configuration: str
    trainer: str
    mirror_axes: tuple[int, ...]
    epochs: int


def load_nnunet_checkpoint(path: Path) -> NnunetCheckpoint:
    """Reads a `checkpoint_*.pth` onto the CPU; nothing in the file is run.

    Raises:
        WorkspaceError: the file is missing, damaged, no checkpoint of nnU-Net, or holds more than tensors, numbers,
            strings and containers of them.
    """
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WorkspaceError(
            "the checkpoint holds more than tensors, numbers and strings, and is not opened",
            where=path,
            got=_refused(error),
            remedy="nnU-Net's own trainers write no such parts; do not open it elsewhere unless you know what they are",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise WorkspaceError(f"the checkpoint cannot be read: {str(error).splitlines()[0]}", where=path) from error
    return _checkpoint(content, path)


def canonical_name(name: str) -> str:
    """The one name of a tensor that nnU-Net's state dict has under several.

    Its blocks list their convolution and norm again as `all_modules`, and its decoder lists the encoder again.
    """
    for prefix in _WRAPPERS:
        name = name.removeprefix(prefix)
    if name.startswith("decoder.encoder."):
        name = name.removeprefix("decoder.")
    return name.replace(".all_modules.0.", ".conv.").replace(".all_modules.1.", ".norm.")


def _checkpoint(content: Any, path: Path) -> NnunetCheckpoint:
    weights = content.get("network_weights") if isinstance(content, Mapping) else None
    start = content.get("init_args") if isinstance(content, Mapping) else None
    configuration = start.get("configuration") if isinstance(start, Mapping) else None
    if not isinstance(weights, Mapping) or not isinstance(configuration, str):
        raise WorkspaceError(
            "is not a checkpoint of nnU-Net v2",
            where=path,
            got=", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__,
            expected="network_weights and init_args with the configuration",
        )
    axes = content.get("inference_allowed_mirroring_axes")
    return NnunetCheckpoint(
        weights={canonical_name(name): tensor for name, tensor in weights.items()},
        configuration=configuration,
        trainer=str(content.get("trainer_name", "")),
        mirror_axes=tuple(int(axis) for axis in axes or ()),
        epochs=int(content.get("current_epoch", 0)),
    )


def _refused(error: Exception) -> str:
    """The name in the pickle that was refused, of PyTorch's long message."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "GLOBAL" in line or "Unsupported" in line), lines[0])[:200]
