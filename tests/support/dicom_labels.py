"""DICOM series and the label objects that belong to them, as tests want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage

UID = "1.2.826.0.1.3680043.8.498."
FRAME = UID + "8"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
SPACING = (2.5, 0.75, 0.5)
"""Of the series: (z, y, x)."""

ORIGIN = (-10.0, 20.0, 30.0)
"""Of the series: position of the first voxel, (x, y, z)."""


def series(array: np.ndarray, *, orientation: Sequence[float] = AXIAL, frame: str | None = FRAME) -> list[Dataset]:
    """A CT series of a (Z, Y, X) array."""
    directions = np.reshape(orientation, (2, 3))
    normal = np.cross(*directions)
    slices = []
    for number, pixels in enumerate(array.astype(np.int16)):
        one = _object(CTImageStorage, UID + f"1.{number + 1}", "CT")
        one.SeriesInstanceUID, one.InstanceNumber = UID + "1", number + 1
        if frame is not None:
            one.FrameOfReferenceUID = frame
        one.ImagePositionPatient = [f"{value:.6f}" for value in ORIGIN + number * SPACING[0] * normal]
        one.ImageOrientationPatient = [f"{value:.6f}" for value in orientation]
        one.PixelSpacing, one.SliceThickness = list(SPACING[1:]), SPACING[0]
        one.Rows, one.Columns = pixels.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.RescaleSlope, one.RescaleIntercept = 1, 0
        one.PixelData = pixels.tobytes()
        slices.append(one)
    return slices


def write_series(folder: Path, slices: Sequence[Dataset]) -> Path:
    folder.mkdir(parents=True)
    for number, one in enumerate(slices):
        one.save_as(folder / f"i{number:03d}.dcm", enforce_file_format=True)
    return folder


def to_patient(points: np.ndarray, orientation: Sequence[float] = AXIAL) -> np.ndarray:
    """Voxel indices (n, 3) (z, y, x) of the series as the patient's mm (x, y, z)."""
    row, column = np.reshape(orientation, (2, 3))
    matrix = np.stack([np.cross(row, column) * SPACING[0], column * SPACING[1], row * SPACING[2]], axis=1)
    return np.asarray(ORIGIN) + points @ matrix.T


def structure_set(
    structures: Mapping[str, Sequence[np.ndarray]],
    *,
    kind: str = "CLOSED_PLANAR",
    frame: str | None = FRAME,
    patient: str = "someone",
) -> Dataset:
    """A structure set.

    Args:
        structures: name -> contours, (n, 3) points in the patient's mm (x, y, z).
        kind: of all contours.
        frame: of reference; None leaves it out.
        patient: identifier.
    """
    rois, contours = [], []
    for number, (name, polygons) in enumerate(structures.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber = number, name, number
        if frame is not None:
            roi.ReferencedFrameOfReferenceUID = frame
        drawn.ContourSequence = Items([_contour(polygon, kind) for polygon in polygons])
        rois.append(roi)
        contours.append(drawn)
    made = _object(RTStructureSetStorage, UID + "3.1", "RTSTRUCT")
    made.PatientID, made.SeriesInstanceUID, made.StructureSetLabel = patient, UID + "3", "made"
    made.StructureSetROISequence, made.ROIContourSequence = Items(rois), Items(contours)
    return made


def _contour(polygon: np.ndarray, kind: str) -> Dataset:
    one = Dataset()
    one.ContourGeometricType, one.NumberOfContourPoints = kind, len(polygon)
    one.ContourData = [f"{value:.4f}" for value in np.ravel(polygon)]
    return one


def _object(sop_class: str, instance: str, modality: str) -> Dataset:
    made, meta = Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta = meta
    made.Modality, made.PatientID, made.PatientName, made.StudyInstanceUID = modality, "someone", "A^B", UID + "7"
    made.PatientBirthDate = made.PatientSex = made.StudyDate = made.StudyTime = made.AccessionNumber = ""
    made.StudyID, made.SeriesNumber, made.ReferringPhysicianName = "1", 1, ""
    return made


def segmentation(
    slices: Sequence[Dataset], masks: Mapping[str, np.ndarray], kind: str = "BINARY", **options: object
) -> Dataset:
    """A segmentation of a series by highdicom, which leaves out frames without voxels.

    Args:
        slices: of the series.
        masks: name -> (Z, Y, X) bool, or shares for a fractional one.
        kind: "BINARY", "FRACTIONAL" or "LABELMAP", for which masks must not overlap.
        options: of highdicom's `Segmentation`.
    """
    import highdicom
    from pydicom.sr.codedict import codes

    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, start=1)
    ]
    stacked = np.stack(list(masks.values()), axis=-1)
    made: Dataset = highdicom.seg.Segmentation(
        source_images=list(slices),
        pixel_array=stacked.astype(np.float64 if kind == "FRACTIONAL" else np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues[kind],
        segment_descriptions=described,
        series_instance_uid=UID + "2",
        series_number=2,
        sop_instance_uid=UID + "2.1",
        instance_number=1,
        manufacturer="made",
        manufacturer_model_name="made",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    return made
