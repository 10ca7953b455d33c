"""batchgenerators' transforms in a policy, and a policy's transforms among batchgenerators'.

Its transforms are callables from and to a dictionary with "data" (B, C, *spatial) and "seg" (B, L, *spatial), and
take their random numbers from numpy's global generator, which it seeds in each of its workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autoseg.batches.augment.transform import Sample, Shape, Transform

DataDict = dict[str, Any]


@dataclass(frozen=True)
class FromBatchgenerators:
    """One of batchgenerators' transforms as a `Transform`; its parameters are the seed it runs under."""

    transform: Callable[..., DataDict]

    def draw(self, rng: np.random.Generator, shape: Shape) -> int | None:
        """A seed."""
        return int(rng.integers(2**32))

    def apply(self, sample: Sample, parameters: int) -> Sample:
        """Runs the transform under the seed and puts numpy's global generator back as it was."""
        before = np.random.get_state()  # noqa: NPY002 - the generator that batchgenerators draws from
        np.random.seed(parameters)  # noqa: NPY002
        try:
            result = self.transform(data=sample.image.numpy()[None], seg=sample.labels.numpy()[None])
        finally:
            np.random.set_state(before)  # noqa: NPY002
        return Sample(
            torch.from_numpy(np.ascontiguousarray(result["data"][0], dtype=np.float32)),
            torch.from_numpy(np.ascontiguousarray(result["seg"][0], dtype=np.int16)),
        )


@dataclass(frozen=True)
class ToBatchgenerators:
    """A `Transform` as batchgenerators calls them, for its `Compose` and its augmenters.

    Attributes:
        transform: applied to each sample of the batch alone.
        probability: chance of each sample.
        data_key, label_key: arrays float32 (B, C, *spatial) and integer (B, L, *spatial), which are replaced.
    """

    transform: Transform
    probability: float = 1.0
    data_key: str = "data"
    label_key: str = "seg"

    def __call__(self, **data_dict: Any) -> DataDict:
        """The dictionary with new arrays; other entries are handed on."""
        images, labels = data_dict[self.data_key], data_dict[self.label_key]
        rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002 - what batchgenerators seeds its workers by
        results = []
        for image, label in zip(images, labels, strict=True):
            sample = Sample(
                torch.from_numpy(np.array(image, dtype=np.float32)), torch.from_numpy(np.array(label, dtype=np.int16))
            )
            drawn = self.transform.draw(rng, image.shape) if rng.random() < self.probability else None
            results.append(sample if drawn is None else self.transform.apply(sample, drawn))
        data_dict[self.data_key] = np.stack([sample.image.numpy() for sample in results])
        data_dict[self.label_key] = np.stack([sample.labels.numpy() for sample in results]).astype(labels.dtype)
        return data_dict
