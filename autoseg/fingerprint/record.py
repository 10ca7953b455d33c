"""What the data is: one record per case and one for the data set, everything a planner may look at."""

from __future__ import annotations

from autoseg.data.image import IntensityStatistics
from autoseg.records import Record

Shape = tuple[int, int, int]
Vector = tuple[float, float, float]


class CaseFingerprint(Record):
    """One case, measured. Axes in the order (z, y, x) of the data set's orientation.

    Attributes:
        shape: voxels before the crop.
        crop_box: (start, stop) per axis of the non-zero region.
        relative_size: voxels inside the crop box over all voxels.
        intensities: statistics per channel over the case's foreground; None where it has no foreground.
        class_voxels: foreground name -> voxels, of the classes that were looked for; empty for a case without labels.
        class_volumes: foreground name -> mm3 (mm2 in 2D), of the same.
        left_right_axis: axis that runs along the patient's left-right direction; None where no axis lies within
            45 degrees of it.
        orientation: in which the case is stored (`autoseg.data.orientation.orientation_code`).
    """

    id: str
    shape: Shape
    spacing: Vector
    crop_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    relative_size: float
    intensities: tuple[IntensityStatistics | None, ...]
    class_voxels: dict[str, int]
    class_volumes: dict[str, float]
    left_right_axis: int | None = None
    orientation: str | None = None

    @property
    def shape_after_crop(self) -> Shape:
        """Voxels after the crop to the non-zero region."""
        (z0, z1), (y0, y1), (x0, x1) = self.crop_box
        return z1 - z0, y1 - y0, x1 - x0


class Fingerprint(Record):
    """A data set, measured.

    Attributes:
        dimension: 2 or 3.
        channels: channel names.
        outputs: network outputs that the labels ask for (labels with background, or regions).
        labels_with_background: entries of the label table with background and, as nnU-Net counts them, ignore.
        intensities: statistics per channel over sampled foreground voxels of all cases.
        cases: the training cases, sorted by identifier.
        warnings: what is unusual, in words.
        orientation: in which most cases are stored, and all are measured; None for planes.
    """

    name: str
    dimension: int
    channels: tuple[str, ...]
    outputs: int
    labels_with_background: int
    intensities: tuple[IntensityStatistics, ...]
    cases: tuple[CaseFingerprint, ...]
    median_relative_size: float
    warnings: tuple[str, ...] = ()
    orientation: str | None = None

    @property
    def left_right_axis(self) -> int | None:
        """The axis (0 z, 1 y, 2 x) along the patient's left-right direction; None unless all cases agree on one."""
        axes = {case.left_right_axis for case in self.cases}
        return axes.pop() if len(axes) == 1 else None

    @property
    def classes(self) -> dict[str, frozenset[str]]:
        """Case -> names of the foreground classes that occur in it."""
        return {case.id: frozenset(name for name, voxels in case.class_voxels.items() if voxels) for case in self.cases}
