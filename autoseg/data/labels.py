"""What the values of a label image mean, and how they become the targets of a network and back."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from autoseg.errors import ConfigurationError
from autoseg.records import Record

NOWHERE = -1
"""Stands among a scheme's file values for a background that no voxel has."""

OUTSIDE = -1
"""Training value of voxels outside the image's non-zero region."""


class LabelScheme(Record):
    """The labels of a data set.

    Attributes:
        names: name -> value in the files, background first with value 0. Values need not be consecutive.
        regions: name -> values whose union is the region; empty for plain labels. With regions a network
            has one sigmoid output per region instead of a softmax over the labels.
        region_order: with regions, the value written for each region, later ones over earlier ones
            (nnU-Net's `regions_class_order`).
        ignore: the value of voxels without annotation, if there is one.
        zero_is_class: whether 0 is a label like the others, so that no voxel is background. Networks have an output
            for background all the same; where it is found, and outside the image's non-zero region, 0 is written.
    """

    names: dict[str, int]
    regions: dict[str, tuple[int, ...]] = {}
    region_order: tuple[int, ...] = ()
    ignore: int | None = None
    zero_is_class: bool = False

    @cached_property
    def values(self) -> tuple[int, ...]:
        """Annotated values in the files: background (0), then the others sorted; the ignore value is not among them.

        Where 0 is a class, background is `NOWHERE`.
        """
        listed = {0, *self.names.values(), *(v for region in self.regions.values() for v in region)}
        if self.zero_is_class:
            return (NOWHERE, *sorted(listed - {self.ignore}))
        return (0, *sorted(listed - {0, self.ignore}))

    @cached_property
    def file_values(self) -> tuple[int, ...]:
        """All values that files may have, the ignore value among them."""
        known = self.values[1:] if self.zero_is_class else self.values
        return known if self.ignore is None else (*known, self.ignore)

    @cached_property
    def foreground(self) -> dict[str, tuple[int, ...]]:
        """What is scored: name -> file values of each foreground label, or of each region."""
        if self.regions:
            return dict(self.regions)
        by_value = {value: name for name, value in self.names.items()}
        return {by_value.get(value, str(value)): (value,) for value in self.values[1:]}

    @cached_property
    def training_foreground(self) -> dict[str, tuple[int, ...]]:
        """Like `foreground`, in training values (0 background, 1..K by file value)."""
        index = {value: i for i, value in enumerate(self.values)}
        return {name: tuple(index[v] for v in values) for name, values in self.foreground.items()}

    @property
    def outputs(self) -> int:
        """Channels of a network's output: labels with background, or regions."""
        return len(self.regions) if self.regions else len(self.values)

    @property
    def training_ignore(self) -> int | None:
        """Training value of ignored voxels: one more than the largest label; None if nothing is ignored."""
        return None if self.ignore is None else len(self.values)

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """File values -> training values (int16): 0..K, and `training_ignore`.

        Raises:
            ConfigurationError: a value that the scheme does not know.
        """
        allowed = list(self.file_values)
        first = int(self.zero_is_class)
        codes = list(range(first, first + len(allowed)))
        if allowed == codes:
            if labels.size and (labels.min() < 0 or labels.max() >= len(allowed)):
                self._refuse(labels, allowed)
            return labels.astype(np.int16)
        order = np.argsort(allowed)
        ordered = np.asarray(allowed)[order]
        rank = np.clip(np.searchsorted(ordered, labels), 0, len(ordered) - 1)
        if not np.array_equal(ordered[rank], labels):
            self._refuse(labels, allowed)
        return np.asarray(codes, np.int16)[order][rank]

    def decode(self, labels: np.ndarray) -> np.ndarray:
        """Training values 0..K -> file values (the smallest integer type that holds them)."""
        table = np.asarray([0, *self.values[1:]])
        fitting = (kind for kind in (np.uint8, np.int16, np.int32) if np.array_equal(table.astype(kind), table))
        return table.astype(next(fitting, np.int64))[labels]

    @model_serializer(mode="wrap")
    def _write(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; whether 0 is a class only where it is."""
        return {name: value for name, value in serialize(self).items() if value or name != "zero_is_class"}

    def _refuse(self, labels: np.ndarray, allowed: list[int]) -> None:
        unknown = sorted(set(np.unique(labels).tolist()) - set(allowed))
        raise ConfigurationError("label values are not in the data set's labels", got=unknown, expected=allowed)
