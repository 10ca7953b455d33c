"""A batch as workers hand it to a device: read and drawn, but not augmented yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from autoseg.batches.augment.batched_spatial import crop
from autoseg.batches.augment.on_device import Boxes, Division, Packed, moved, stack_boxes
from autoseg.batches.augment.spatial import SpatialParameters
from autoseg.batches.augment.transform import PatchBox, Sample, Shape

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Int64


@dataclass(frozen=True)
class Read:
    """A sample whose voxels are read and whose parameters are drawn.

    Attributes:
        case, start: what was read, see `Batch`.
        sample: the box.
        parameters: of each step of the policy.
        box: what the policy asked for.
    """

    case: str
    start: tuple[int, ...]
    sample: Sample
    parameters: Sequence[Any | None]
    box: PatchBox


@dataclass(frozen=True)
class RawBatch:
    """Samples of one step before the part of augmentation that a device does.

    Small arrays are numpy's, so that they travel between processes by value and each batch costs few descriptors.

    Attributes:
        image: float32 (n, C, *patch) of the samples that are patches already.
        labels: int16 (n, L, *patch) of them.
        boxes: the other samples, None if there are none.
        order: for each sample its place among the patches followed by the boxes, int64 (B,).
        packed: what each step on the device needs (`Division.pack`).
        cases, starts, step: as in `Batch`.
    """

    image: Float32[Tensor, "samples channel *patch"]
    labels: Int16[Tensor, "samples label *patch"]
    boxes: Boxes | None
    order: Int64[np.ndarray | Tensor, " batch"]
    packed: tuple[Packed | None, ...]
    cases: tuple[str, ...]
    starts: tuple[tuple[int, ...], ...]
    step: int

    def to(self, device: str | torch.device) -> RawBatch:
        """The same batch on a device; nothing is waited for where memory is pinned."""
        return self._moved(lambda values: values.to(device, non_blocking=True))

    def pin_memory(self) -> RawBatch:
        """The same batch in page-locked memory."""
        return self._moved(lambda values: values.pin_memory())

    def patches(
        self, patch_size: Shape
    ) -> tuple[Float32[Tensor, "batch channel *patch"], Int16[Tensor, "batch label *patch"]]:
        """Image (B, C, *patch) and labels (B, L, *patch) in the order of the batch, which must have been moved by `to`.

        Without boxes these are the batch's own tensors.
        """
        if self.boxes is None:
            return self.image, self.labels
        boxes = self.boxes
        cropped = crop(boxes.image, boxes.labels, boxes.matrices, boxes.centres, patch_size)  # type: ignore[arg-type]
        both = zip((self.image, self.labels), cropped, strict=True)
        image, labels = (torch.cat(parts).index_select(0, self.order) for parts in both)  # type: ignore[arg-type]
        return image, labels

    def _moved(self, move: Callable[[Tensor], Tensor]) -> RawBatch:
        boxes = self.boxes
        moved_boxes = None
        if boxes is not None:
            moved_boxes = Boxes(*moved((boxes.image, boxes.labels, boxes.matrices, boxes.centres), move))
        image, labels, order, packed = moved((self.image, self.labels, self.order, self.packed), move)
        return replace(self, image=image, labels=labels, boxes=moved_boxes, order=order, packed=packed)


def raw_batch(read: Sequence[Read], division: Division, patch_size: Shape, step: int) -> RawBatch:
    """Applies the workers' part of the policy to at least one sample, and gathers what the device needs.

    Args:
        read: the samples of the batch, as they were read.
        division: which part of the policy is applied here and which on the device.
        patch_size: voxels per axis.
        step: which batch it is.
    """
    patches: list[Sample] = []
    boxes: list[tuple[Sample, SpatialParameters, PatchBox]] = []
    order = np.empty(len(read), np.int64)
    for index, one in enumerate(read):
        if division.crops and one.parameters[0] is not None:
            order[index] = len(boxes) - len(read)  # negative: behind the patches, whose number is not known yet
            boxes.append((one.sample, one.parameters[0], one.box))
        else:
            order[index] = len(patches)
            done = division.before.apply(one.sample, one.parameters[: len(division.before.steps)], one.box, patch_size)
            patches.append(done)
    order[order < 0] += len(read) + len(patches)
    channels = len(read[0].sample.image)
    return RawBatch(
        image=_stacked([sample.image for sample in patches], read[0].sample.image, patch_size),
        labels=_stacked([sample.labels for sample in patches], read[0].sample.labels, patch_size),
        boxes=stack_boxes(boxes) if boxes else None,
        order=order,
        packed=division.pack([one.parameters for one in read], (channels, *patch_size)),
        cases=tuple(one.case for one in read),
        starts=tuple(one.start for one in read),
        step=step,
    )


def _stacked(patches: list[Tensor], like: Tensor, patch_size: Shape) -> Tensor:
    """Patches (n, channels, *patch), also none, with the channels and the type of another tensor."""
    return torch.stack(patches) if patches else like.new_empty((0, len(like), *patch_size))
