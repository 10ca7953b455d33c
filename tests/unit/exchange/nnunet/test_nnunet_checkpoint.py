"""Checkpoints of nnU-Net are read as they are written by several versions, and other files are refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import nnunet_folders as theirs
import pytest
import torch

from autoseg.errors import WorkspaceError
from autoseg.exchange.nnunet.checkpoint import load_nnunet_checkpoint


def test_numbers_of_both_versions_of_numpy_are_read(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    torch.save(theirs.checkpoint({"module.a": torch.ones(1)}, "2d", (0,)), file)
    content = load_nnunet_checkpoint(file)
    assert (content.configuration, content.mirror_axes, content.epochs) == ("2d", (0,), 4)
    assert list(content.weights) == ["a"]
    older = tmp_path / "older.pth"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(older, "w") as target:
        for name in source.namelist():
            pickled = source.read(name)
            assert not name.endswith("data.pkl") or b"numpy._core.multiarray" in pickled
            target.writestr(name, pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert load_nnunet_checkpoint(older) == replace(content, weights=ANY)


@pytest.mark.parametrize("content", [{"network": {}}, {"network_weights": {}, "init_args": {}}, [1]])
def test_other_files_are_no_checkpoints(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WorkspaceError, match="not a checkpoint of nnU-Net"):
        load_nnunet_checkpoint(tmp_path / "x.pth")


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        load_nnunet_checkpoint(tmp_path / "x.pth")
