"""How the stored values of a frame become the values that are meant. Source: DICOM PS3.3, C.11.1 and C.7.6.16.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoseg.data.dicom.attributes import Attributes
from autoseg.data.dicom.traits import FrameGroups
from autoseg.data.image import Remark

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Rescale:
    """value = slope * stored + intercept, or the entry of a table.

    Attributes:
        slope, intercept: of the frame.
        table: data set that has the modality LUT sequence; None for none.
        note: remark on where they come from.
        unit: RescaleType ("HU", "US", ...); "" where it is not said.
        stated: whether the header says how values are rescaled.
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: Dataset | None = None
    note: Remark | None = None
    unit: str = ""
    stated: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether whole stored values become whole values."""
        return self.table is not None or (self.slope.is_integer() and self.intercept.is_integer())

    @property
    def changes(self) -> bool:
        """Whether values are others than the stored ones."""
        return self.table is not None or self.slope != 1 or self.intercept != 0


def read_rescale(groups: FrameGroups, top: Attributes) -> Rescale:
    """Slope and intercept of a frame, else its modality LUT, or mapping to real-world values; of a dose its scaling.

    Raises:
        ImageError: a slope of 0, a dose without scaling, or numbers that cannot be read.
    """
    if top.text("Modality") == "RTDOSE":
        return _dose(top)
    slope = groups.number("PixelValueTransformationSequence", "RescaleSlope")
    intercept = groups.number("PixelValueTransformationSequence", "RescaleIntercept")
    if slope is None and intercept is None:
        if top.sequence("ModalityLUTSequence"):
            return Rescale(table=top.datasets[0])
        return _real_world(groups, top)
    if slope == 0:
        raise top.unreadable("RescaleSlope", "0, which makes all values equal")
    unit = groups.text("PixelValueTransformationSequence", "RescaleType").upper()
    return Rescale(1.0 if slope is None else slope, intercept or 0.0, unit=unit)


def _dose(top: Attributes) -> Rescale:
    """A dose is DoseGridScaling times the stored value, which has no meaning alone (PS3.3, C.8.8.3)."""
    scaling = top.number("DoseGridScaling")
    if scaling is None or scaling <= 0:
        raise top.unreadable("DoseGridScaling", "none" if scaling is None else scaling)
    return Rescale(scaling)


def _real_world(groups: FrameGroups, top: Attributes) -> Rescale:
    """The first linear mapping to real-world values; none leaves the values as they are stored."""
    mappings = groups.items("RealWorldValueMappingSequence") or top.sequence("RealWorldValueMappingSequence")
    for mapping in mappings:
        slope, intercept = mapping.number("RealWorldValueSlope"), mapping.number("RealWorldValueIntercept")
        if slope:
            units = mapping.sequence("MeasurementUnitsCodeSequence")
            unit = units[0].text("CodeValue") if units else "no unit"
            note = Remark(
                "real-world-values",
                "the values have no rescale slope; they are mapped to the real-world values that the header gives",
                got=f"slope {slope:g}, intercept {intercept or 0:g}, {unit}",
            )
            return Rescale(slope, intercept or 0.0, note=note)
    return Rescale(stated=False)
