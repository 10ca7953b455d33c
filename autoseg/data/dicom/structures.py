"""DICOM structure sets (RTSTRUCT) as label images: contours filled on the voxels of an image (DICOM PS3.3, C.8.8.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data.dicom.belonging import check_belongs, identity_of
from autoseg.data.dicom.contour_overlap import FilledPlane, fill
from autoseg.data.dicom.contour_planes import ContourPlanes, contour_planes
from autoseg.data.dicom.headers import DicomHeader
from autoseg.data.image import Image, Remark
from autoseg.data.segments import in_channels
from autoseg.errors import ImageError
from autoseg.log import counted

if TYPE_CHECKING:
    from pydicom import Dataset

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def read_structures(header: DicomHeader, image: Image | None) -> Image:
    """The label image of a structure set on the voxels of an image.

    A voxel is in a structure if its centre is inside the contours of its slice (`contour_overlap.fill`): holes, several
    contours in a plane and keyholes come out right; contours that cross are united, and doubles count once, with a
    remark. Contours count for the nearest slice; they may be parallel to any two axes of the array. Points and open
    contours are passed over with a remark; so are all planes but the one nearest to its centre where several lie in one
    slice. Slices without contours between others stay empty, which is told too.

    Args:
        header: of the object.
        image: the one that is labelled, whose geometry the labels get.

    Returns:
        Array (L, Z, Y, X) with segments named by the structures, of which those that overlap lie in several channels.

    Raises:
        ImageError: no image or a plane one, no structures, contours that are not parallel to slices or lie outside the
            image, or an image of another patient or frame of reference.
    """
    dataset, path = header.dataset, Path(header.stored.where)
    if image is None or image.geometry.dimension != 3:
        raise ImageError(
            "contours need the volume that they were drawn on, to become voxels",
            where=path,
            got="no image" if image is None else "a plane image",
            remedy="give the structure set as the label of that image",
        )
    remarks: list[Remark] = []
    structures: list[tuple[str, ContourPlanes | None, bool]] = []
    contoured = _contoured(dataset)
    for item in dataset.get("StructureSetROISequence") or ():
        name = str(item.get("ROIName") or "").strip() or f"ROI {int(item.ROINumber)}"
        contours, others = _contours(contoured.get(int(item.ROINumber), ()), name, path)
        if others:
            remarks.append(_points(name, others))
        if contours:
            remarks += check_belongs(_identity(dataset, item), image, path)
            planes = contour_planes(name, contours, image, path)
            remarks += planes.remarks
            structures.append((name, planes, _exclusive(contoured[int(item.ROINumber)])))
        elif not others:
            structures.append((name, None, False))
    if not structures:
        raise ImageError(
            "the structure set has no structure with closed contours",
            where=path,
            got=", ".join(remark.got or "" for remark in remarks) or "no structures",
            remedy="give the structure set that has the contours",
        )
    array, segments = in_channels(image.shape, _masks(structures, remarks), len(structures))
    for segment in segments:
        if not (array[segment.channel] == segment.value).any():
            what = "structures have no voxel: they have no contours, or such that hold no voxel's centre"
            remarks.append(Remark("empty-structures", what, got=segment.name))
    return Image(array, image.geometry, tuple(dict.fromkeys(remarks)), segments, identity_of(dataset))


def _contoured(dataset: Dataset) -> Mapping[int, Sequence[Any]]:
    """Number of each structure -> its contours."""
    items = dataset.get("ROIContourSequence") or ()
    return {int(item.ReferencedROINumber): item.get("ContourSequence") or () for item in items}


def _contours(items: Sequence[Any], name: str, path: Path) -> tuple[list[np.ndarray], int]:
    """Points (n, 3) in mm (x, y, z) of the closed contours, and how many others there are."""
    contours, others = [], 0
    for item in items:
        numbers = [float(number) for number in item.get("ContourData") or ()]
        points = np.asarray(numbers[: len(numbers) // 3 * 3]).reshape(-1, 3)
        stated = int(item.get("NumberOfContourPoints") or len(points))
        if len(numbers) != 3 * stated or not np.isfinite(points).all():
            raise ImageError(
                "a contour is damaged",
                where=path,
                got=f"{len(numbers)} numbers for {counted(stated, 'point')} of {name}",
                expected="three finite numbers for each point",
                remedy="export the structure set anew",
            )
        if str(item.get("ContourGeometricType", "")).upper() in _CLOSED and len(points) > 2:
            contours.append(points)
        else:
            others += 1
    return contours, others


def _exclusive(items: Sequence[Any]) -> bool:
    """Whether contours of a structure exclude each other where they overlap."""
    return any(str(item.get("ContourGeometricType", "")).upper() == _CLOSED[1] for item in items)


def _identity(dataset: Dataset, roi: Any) -> dict[str, str]:
    """What is said of a structure's patient and frame of reference."""
    own = identity_of(dataset)
    stated = roi.get("ReferencedFrameOfReferenceUID")
    for frame in (dataset.get("ReferencedFrameOfReferenceSequence") or ())[:1]:
        stated = stated or frame.get("FrameOfReferenceUID")
    return {**own, "FrameOfReferenceUID": str(stated)} if stated else own


def _points(name: str, count: int) -> Remark:
    return Remark(
        "open-contours",
        "structures have points or open contours, which hold no voxels and are passed over",
        got=f"{name} ({count})",
    )


def _masks(
    structures: Sequence[tuple[str, ContourPlanes | None, bool]], remarks: list[Remark]
) -> Iterator[tuple[str, tuple[slice, ...], np.ndarray]]:
    """Name, box and voxels of each structure; what is odd about its contours is added to the remarks."""
    for name, planes, exclusive in structures:
        if planes is None:
            yield name, (slice(0, 0),) * 3, np.zeros((0, 0, 0), bool)
            continue
        (first, last), *box = planes.box
        (top, bottom), (left, right) = box
        mask = np.zeros((last - first, bottom - top, right - left), bool)
        filled = []
        for index, polygons in planes.polygons.items():
            moved = [polygon - (top, left) for polygon in polygons]
            filled.append(fill(moved, (bottom - top, right - left), exclusive=exclusive))
            mask[index - first] = filled[-1].inside
        remarks += _oddities(name, filled)
        where = [slice(start, stop) for start, stop in box]
        where.insert(planes.axis, slice(first, last))
        yield name, tuple(where), np.moveaxis(mask, 0, planes.axis)


def _oddities(name: str, planes: Sequence[FilledPlane]) -> list[Remark]:
    kinds = (
        ("doubled-contours", "contours are there twice in a slice; they count once", "doubled"),
        ("crossing-contours", "contours of a structure overlap, none lying in the other; they are united", "united"),
        (
            "tangled-contours",
            "contours cross themselves or wind around something several times; what they wind around an even number of "
            "times is left out",
            "tangled",
        ),
    )
    counts = [(code, what, sum(getattr(plane, field) for plane in planes)) for code, what, field in kinds]
    remedy = "check the structure where it was drawn"
    return [Remark(code, what, f"{name}, {counted(count, 'contour')}", remedy) for code, what, count in counts if count]
