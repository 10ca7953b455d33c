"""What tells frames of one series apart: echo, b-value, phase, time, ..., from standard and vendors' attributes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from autoseg.data.dicom.attributes import Attributes
from autoseg.errors import ImageError

_COMPONENTS = {
    "M": "magnitude", "MAGNITUDE": "magnitude", "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "R": "real",
    "REAL": "real", "I": "imaginary", "IMAGINARY": "imaginary",
}  # fmt: skip
_PLACE_DIMENSIONS = frozenset(
    ("StackID", "InStackPositionNumber", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation")
)
_GE_OFFSET = 100_000  # GE adds multiples of it to b-values
_LARGEST_B = 1e6


@dataclass(frozen=True)
class FrameGroups:
    """Where the attributes of a frame stand: its own functional groups, those that it shares, and the object's top.

    Attributes:
        own, shared: at most one item each.
        top: the object's attributes.
        alone: whether the object has one frame, whose position may stand at the top.
    """

    own: tuple[Attributes, ...]
    shared: tuple[Attributes, ...]
    top: Attributes
    alone: bool

    def items(self, group: str) -> tuple[Attributes, ...]:
        """The items of a functional group, the frame's own first."""
        return tuple(item for groups in (*self.own, *self.shared) for item in groups.sequence(group)[:1])

    def numbers(self, group: str, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
        """Numbers of a functional group, else of the object's top."""
        for item in self.items(group):
            if (numbers := item.numbers(keyword, count)) is not None:
                return numbers
        if keyword == "ImagePositionPatient" and not self.alone:
            return None
        return self.top.numbers(keyword, count)

    def decimals(self, group: str, keyword: str) -> tuple[int, ...]:
        """How many decimals the numbers of `numbers` are written with; none for no numbers."""
        for source in (*self.items(group), self.top):
            if (decimals := source.decimals(keyword)) is not None:
                return decimals
        return ()

    def number(self, group: str, keyword: str) -> float | None:
        """The first of `numbers`."""
        numbers = self.numbers(group, keyword)
        return None if numbers is None else numbers[0]

    def text(self, group: str, keyword: str) -> str:
        """Text of a functional group, else of the object's top."""
        for item in self.items(group):
            if text := item.text(keyword):
                return text
        return self.top.text(keyword)


def firm_traits(groups: FrameGroups, top: Attributes) -> tuple[tuple[str, str], ...]:
    """Name and text of what frames of one volume always share."""
    types = _image_type(groups).upper().split("\\")
    component = groups.text("MRImageFrameTypeSequence", "ComplexImageComponent").upper()
    named = [_COMPONENTS[word] for word in (component, *types[2:]) if word in _COMPONENTS]
    b_value = _b_value(groups, top)
    traits = {
        "localizer": "localizer" if "LOCALIZER" in types else "",
        "component": named[0] if named else "",
        "echo": f"echo {top.text('EchoNumbers')}" if top.text("EchoNumbers") else "",
        "b": "" if b_value is None else f"b {b_value:g}",
    }
    return tuple(traits.items())


def echo_time(groups: FrameGroups) -> float | None:
    """In ms; None where it is not said."""
    return groups.number("MREchoSequence", "EffectiveEchoTime") or groups.number("MREchoSequence", "EchoTime")


def loose_traits(groups: FrameGroups, top: Attributes) -> tuple[tuple[str, str], ...]:
    """Name and text of what may differ within a volume, and tells volumes apart where frames share a place.

    Those that would tell most come first.
    """
    frame_content, timing = "FrameContentSequence", "MRTimingAndRelatedParametersSequence"
    moment = groups.number(frame_content, "TemporalPositionIndex") or top.number("TemporalPositionIdentifier")
    trigger = groups.number("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")
    acquisition = groups.number(frame_content, "FrameAcquisitionNumber") or top.number("AcquisitionNumber")
    traits = {
        "TE": _said("TE", echo_time(groups), " ms"),
        "TI": _said("TI", groups.number("MRModifierSequence", "InversionTimes") or top.number("InversionTime"), " ms"),
        "flip": _said("flip angle", groups.number(timing, "FlipAngle"), ""),
        "type": _image_type(groups),
        "time": _said("time point", moment, ""),
        "trigger": _said("trigger", trigger if trigger is not None else top.number("TriggerTime"), " ms"),
        **_dimensions(groups, top),
        "acquisition": _said("acquisition", acquisition, ""),
        "gradient": _gradient(groups, top),
        "stack": f"stack {groups.text(frame_content, 'StackID')}" if groups.text(frame_content, "StackID") else "",
        "window": top.text("EnergyWindowNumber"),
        "acquired": groups.text(frame_content, "FrameAcquisitionDateTime") or top.text("AcquisitionTime"),
        "content": top.text("ContentTime"),
    }
    return tuple(traits.items())


def private_tag(attributes: Attributes, group: int, creator: str, element: int) -> tuple[int, int] | None:
    """The tag of a private attribute in the block that its creator has reserved; None for none (PS3.5, 7.8.1)."""
    for block in range(0x10, 0x20):
        if attributes.text((group, block)).upper() == creator.upper():
            return group, block << 8 | element
    return None


def _image_type(groups: FrameGroups) -> str:
    for kind in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"):
        for item in groups.items(kind):
            if text := item.text("FrameType"):
                return text
    return groups.top.text("ImageType")


def _said(name: str, number: float | None, unit: str) -> str:
    return "" if number is None else f"{name} {number:.6g}{unit}"


def _b_value(groups: FrameGroups, top: Attributes) -> float | None:
    """The b-value in s/mm2: the standard's, else Siemens', GE's, Philips' or United Imaging's own."""
    value = groups.number("MRDiffusionSequence", "DiffusionBValue")
    if value is not None or top.text("Modality") != "MR":
        return value
    for group, creator, element in (
        (0x0019, "SIEMENS MR HEADER", 0x0C),
        (0x0043, "GEMS_PARM_01", 0x39),
        (0x2001, "Philips Imaging DD 001", 0x03),
        (0x0065, "Image Private Header", 0x09),
    ):
        tag = private_tag(top, group, creator, element)
        value = None if tag is None else _vendor_number(top, tag)
        if value is not None:
            value = value % _GE_OFFSET if creator.startswith("GEMS") and value >= _GE_OFFSET else value
            return value if 0 <= value <= _LARGEST_B else None
    return None


def _vendor_number(top: Attributes, tag: tuple[int, int]) -> float | None:
    """A private number, which implicit encodings leave as bytes."""
    try:
        return top.number(tag)
    except ImageError:
        content = top.value(tag)
    if not isinstance(content, bytes):
        return None
    first = content.split(b"\\")[0].strip(b" \0")
    try:
        return float(first)
    except ValueError:
        code = {4: "<f", 8: "<d"}.get(len(content))
        return None if code is None else float(struct.unpack(code, content)[0])


def _gradient(groups: FrameGroups, top: Attributes) -> str:
    """Direction of the diffusion gradient."""
    for item in groups.items("MRDiffusionSequence"):
        for direction in item.sequence("DiffusionGradientDirectionSequence")[:1]:
            if (cosines := direction.numbers("DiffusionGradientOrientation")) is not None:
                return _direction(cosines)
    if (cosines := top.numbers("DiffusionGradientOrientation")) is not None:
        return _direction(cosines)
    siemens = private_tag(top, 0x0019, "SIEMENS MR HEADER", 0x0E)
    if siemens is not None and not isinstance(top.value(siemens), bytes):
        return _direction(top.numbers(siemens) or ())
    for group, creator, elements in (
        (0x0019, "GEMS_ACQU_01", (0xBB, 0xBC, 0xBD)),
        (0x2005, "Philips MR Imaging DD 001", (0xB0, 0xB1, 0xB2)),
    ):
        tags = [private_tag(top, group, creator, element) for element in elements]
        parts = [_vendor_number(top, tag) for tag in tags if tag is not None]
        if parts and None not in parts:
            return _direction(tuple(part or 0.0 for part in parts))
    return ""


def _direction(cosines: tuple[float, ...]) -> str:
    return f"gradient ({', '.join(f'{cosine:.4g}' for cosine in cosines)})" if cosines else ""


def _dimensions(groups: FrameGroups, top: Attributes) -> dict[str, str]:
    """The indices of a multi-frame object along its own dimensions, but for those that only say the place."""
    pointers = top.sequence("DimensionIndexSequence") if groups.own else ()
    content = groups.items("FrameContentSequence")[:1]
    indices = content[0].numbers("DimensionIndexValues") if content else None
    if not pointers or indices is None or len(indices) != len(pointers):
        return {}
    from pydicom.datadict import keyword_for_tag

    found = {}
    for number, (pointer, index) in enumerate(zip(pointers, indices, strict=True)):
        tag = pointer.value("DimensionIndexPointer")
        keyword = keyword_for_tag(tag) if isinstance(tag, int) else ""
        if keyword not in _PLACE_DIMENSIONS:
            found[f"dimension {number}"] = f"{keyword or 'dimension'} {index:g}"
    return found
