"""Memory of a device, in nnU-Net's gigabytes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from autoseg.training.runtime import device_memory_gb


def test_devices_without_memory_of_their_own() -> None:
    assert device_memory_gb("cpu") is None
    assert device_memory_gb("mps") is None


def test_memory_of_a_gpu_is_counted_in_powers_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(total_memory=24 * 1024**3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card if device == "cuda:1" else None)
    assert device_memory_gb("cuda:1") == 24.0
