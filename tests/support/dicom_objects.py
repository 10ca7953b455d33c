"""DICOM objects made by pydicom: slices, series, multi-frame objects; what a test is about is set on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
)

ROOT = "1.2.826.0.1.3680043.10.1371"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SPACING = (0.75, 0.5)  # rows, columns
STEP = 2.5


def voxels(shape: tuple[int, ...] = (5, 6, 7), *, seed: int = 0) -> np.ndarray:
    """Different int16 values."""
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def image_object(pixels: np.ndarray, *, number: int = 1, series: int = 1, **attributes: Any) -> Dataset:
    """A CT object of grey pixels (Y, X), or (F, Y, X) for several frames, without place; None leaves something out."""
    made, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"{ROOT}.{series}.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"{ROOT}.100", f"{ROOT}.{series}"
    made.FrameOfReferenceUID = f"{ROOT}.200"
    made.Modality, made.PatientID, made.SeriesNumber, made.InstanceNumber = "CT", "someone", series, number
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.Rows, made.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        made.NumberOfFrames = len(pixels)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    for name, value in attributes.items():
        if value is None and name in made:
            del made[name]
        elif value is not None:
            setattr(made, name, value)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def slice_object(pixels: np.ndarray, z: int, *, number: int | None = None, **attributes: Any) -> Dataset:
    """Slice z of an axial series that begins at (10, 20, 30) mm."""
    place = {
        "ImagePositionPatient": [10.0, 20.0, 30.0 + z * STEP],
        "ImageOrientationPatient": list(AXIAL),
        "PixelSpacing": list(SPACING),
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    return image_object(pixels, number=z + 1 if number is None else number, **{**place, **attributes})


def series_objects(array: np.ndarray, **attributes: Any) -> list[Dataset]:
    """The slices of a volume (Z, Y, X)."""
    return [slice_object(pixels, z, **attributes) for z, pixels in enumerate(array)]


def radiograph(pixels: np.ndarray, **attributes: Any) -> Dataset:
    """A plane without place, with the spacing at its detector."""
    usual = {"SOPClassUID": ComputedRadiographyImageStorage, "Modality": "CR", "ImagerPixelSpacing": [0.2, 0.1]}
    return image_object(pixels, **{**usual, **attributes})


def enhanced_object(array: np.ndarray, each: Sequence[Dataset], **attributes: Any) -> Dataset:
    """A multi-frame MR object with a functional group for each frame; size and orientation are shared.

    Args:
        array: (F, Y, X).
        each: functional groups of the frames (`frame_groups`).
        attributes: of its top.
    """
    shared = Dataset()
    shared.PixelMeasuresSequence = Items([item(PixelSpacing=list(SPACING), SliceThickness=9.0)])
    shared.PlaneOrientationSequence = Items([item(ImageOrientationPatient=list(AXIAL))])
    made = image_object(array, **{"SOPClassUID": EnhancedMRImageStorage, "Modality": "MR", **attributes})
    made.SharedFunctionalGroupsSequence = Items([shared])
    made.PerFrameFunctionalGroupsSequence = Items(each)
    return made


def frame_groups(z: float, **groups: Dataset) -> Dataset:
    """The functional groups of a frame z slices above the first one, and others by their sequences' keywords."""
    made = Dataset()
    made.PlanePositionSequence = Items([item(ImagePositionPatient=[10.0, 20.0, 30.0 + z * STEP])])
    for keyword, group in groups.items():
        setattr(made, keyword, Items([group]))
    return made


def item(**attributes: Any) -> Dataset:
    """A data set with some attributes."""
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def save(objects: Iterable[Dataset], folder: Path, ending: str = ".dcm") -> Path:
    """Writes objects as files of a folder, in the order given; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, made in enumerate(objects):
        save_as(made, folder / f"f{number:03d}{ending}")
    return folder


def save_as(made: Dataset, path: Path) -> Path:
    """Writes one object; the path."""
    made.save_as(path, enforce_file_format=True)
    return path
