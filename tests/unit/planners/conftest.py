from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint

STATISTICS = IntensityStatistics(0.5, 0.5, 0.2, 0.0, 1.0, 0.01, 0.99)


@pytest.fixture
def labels() -> LabelScheme:
    """Background and two organs."""
    return LabelScheme(names={"background": 0, "liver": 1, "tumour": 2})


@pytest.fixture
def fingerprint() -> Callable[..., Fingerprint]:
    """Makes a fingerprint of cases with given shapes and spacings, in which some classes may be absent."""

    def make(
        shapes: Sequence[Sequence[int]],
        spacings: Sequence[Sequence[float]] | None = None,
        channels: tuple[str, ...] = ("MRI",),
        present: dict[str, Sequence[int]] | None = None,
        relative_size: float = 1.0,
    ) -> Fingerprint:
        spacings = spacings or [(1.0, 1.0, 1.0)] * len(shapes)
        present = present or {}
        cases = [
            CaseFingerprint(
                id=f"case_{index}",
                shape=tuple(shape),
                spacing=tuple(spacing),
                crop_box=tuple((0, edge) for edge in shape),
                relative_size=relative_size,
                intensities=(STATISTICS,) * len(channels),
                class_voxels={name: 100 if index in where else 0 for name, where in present.items()},
                class_volumes={name: 100.0 if index in where else 0.0 for name, where in present.items()},
            )
            for index, (shape, spacing) in enumerate(zip(shapes, spacings, strict=True))
        ]
        return Fingerprint(
            name="phantom",
            dimension=3,
            channels=channels,
            outputs=3,
            labels_with_background=3,
            intensities=(STATISTICS,) * len(channels),
            cases=tuple(cases),
            median_relative_size=relative_size,
        )

    return make
