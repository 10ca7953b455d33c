"""Stored pixels become the values that are meant, in the type that holds them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_objects import image_object, item, radiograph, save, save_as, series_objects, slice_object, voxels
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from autoseg.data.files import read_image
from autoseg.data.image import Image
from autoseg.errors import ImageError

ARRAY = voxels((4, 6, 7))


def codes(image: Image) -> list[str]:
    return [remark.code for remark in image.remarks]


def test_every_slice_has_its_own_slope(tmp_path: Path) -> None:
    slices = series_objects(ARRAY)
    slopes, intercepts = (0.5, 1.25, 3.0, 0.00007351088662), (0.0, -2.0, 1.5, 10.0)
    for made, slope, intercept in zip(slices, slopes, intercepts, strict=True):
        made.RescaleSlope, made.RescaleIntercept = f"{slope:.14f}", intercept
    image = read_image(save(slices, tmp_path))
    expected = ARRAY * np.reshape(slopes, (4, 1, 1)) + np.reshape(intercepts, (4, 1, 1))
    assert image.array.dtype == np.float32
    assert np.array_equal(image.array[0], expected.astype(np.float32))


@pytest.mark.parametrize(
    ("stored", "bits", "slope", "intercept", "dtype"),
    [
        (np.uint16, 12, 1, -1024, np.int16),
        (np.uint16, 16, 1, -1024, np.int32),  # holds 65535, which stays
        (np.int16, 16, 1, 0, np.int16),
        (np.int16, 16, 1, -1024, np.int32),
        (np.uint8, 8, 1, 0, np.uint8),
        (np.uint16, 12, 2, 0, np.uint16),
        (np.int32, 32, 1, 0, np.int32),
        (np.int32, 32, 0.5, 0, np.float64),
        (np.uint16, 12, 0.1, 0, np.float32),
        (np.int16, 16, "1e36", 0, np.float64),
        (np.uint16, 12, "1e30", 0, np.float64),
    ],
)
def test_the_smallest_type_that_holds_the_values(
    tmp_path: Path, stored: type, bits: int, slope: float, intercept: float, dtype: type
) -> None:
    signed = np.dtype(stored).kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    array = np.linspace(low, high, 4 * 6 * 8).astype(stored).reshape(4, 6, 8)
    array[0, 0, 0], array[3, 5, 7] = low, high
    slices = series_objects(array, BitsStored=bits, HighBit=bits - 1, RescaleSlope=slope, RescaleIntercept=intercept)
    image = read_image(save(slices, tmp_path))
    assert image.array.dtype == dtype
    np.testing.assert_allclose(image.array[0], array.astype(np.float64) * float(slope) + intercept, rtol=1e-6)
    if image.array.dtype.kind in "iu":
        assert np.array_equal(image.array[0], array.astype(np.int64) * int(slope) + intercept)


def test_wider_integers_are_narrowed_to_what_occurs(tmp_path: Path) -> None:
    slices = series_objects(np.abs(ARRAY).astype(np.uint16), RescaleIntercept=-1024)
    image = read_image(save(slices, tmp_path))
    assert image.array.dtype == np.int16
    assert np.array_equal(image.array[0], np.abs(ARRAY) - 1024)


def test_unused_bits_are_masked_and_signs_extended(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-2048, 2048, (4, 6, 7))
    overlay = np.random.default_rng(1).integers(0, 16, values.shape) << 12
    stored = ((values & 0xFFF) | overlay).astype(np.uint16)
    signed = series_objects(stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert np.array_equal(read_image(save(signed, tmp_path / "low")).array[0], values)
    high = ((values & 0xFFF) << 4 | overlay >> 12).astype(np.uint16)
    signed = series_objects(high, BitsStored=12, HighBit=15, PixelRepresentation=1)
    assert np.array_equal(read_image(save(signed, tmp_path / "high")).array[0], values)
    unsigned = series_objects(stored, BitsStored=12, HighBit=11)
    assert np.array_equal(read_image(save(unsigned, tmp_path / "unsigned")).array[0], values & 0xFFF)


def test_monochrome1_is_turned_round_but_for_measurements(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (6, 7)).astype(np.uint16)
    made = radiograph(pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11, PixelSpacing=[1, 1])
    image = read_image(save_as(made, tmp_path / "x.dcm"))
    assert np.array_equal(image.array[0, 0], 4095 - pixels)
    assert codes(image) == ["monochrome1"]
    ct = read_image(save(series_objects(ARRAY, PhotometricInterpretation="MONOCHROME1"), tmp_path / "ct"))
    assert np.array_equal(ct.array[0], ARRAY)
    assert codes(ct) == ["monochrome1"]


def test_palettes_and_colours_are_red_green_and_blue(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    indices, table = rng.integers(0, 256, (6, 7)).astype(np.uint8), rng.integers(0, 256, (3, 256)).astype(np.uint8)
    made = radiograph(indices, Modality="US", PhotometricInterpretation="PALETTE COLOR", PixelSpacing=[1, 1])
    for name, entries in zip(("Red", "Green", "Blue"), table, strict=True):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(made, f"{name}PaletteColorLookupTableData", entries.tobytes())
    image = read_image(save_as(made, tmp_path / "palette.dcm"))
    assert np.array_equal(image.array[:, 0], table[:, indices])
    assert codes(image) == ["palette-colour"]
    colours = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    for planar, pixels in ((0, colours), (1, colours.transpose(2, 0, 1))):
        made = radiograph(colours[..., 0], Modality="XC", PixelSpacing=[1, 1], SamplesPerPixel=3,
                          PhotometricInterpretation="RGB", PlanarConfiguration=planar)  # fmt: skip
        made.PixelData = pixels.tobytes()
        image = read_image(save_as(made, tmp_path / f"{planar}.dcm"))
        assert np.array_equal(image.array[:, 0], colours.transpose(2, 0, 1))
    made.PhotometricInterpretation, made.PlanarConfiguration, made.PixelData = "YBR_FULL", 0, colours.tobytes()
    image = read_image(save_as(made, tmp_path / "ybr.dcm"))
    y, cb, cr = (colours[..., part].astype(float) - (0, 128, 128)[part] for part in range(3))
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])  # PS3.3, C.7.6.3.1.2
    assert np.abs(image.array[:, 0] - np.clip(rgb, 0, 255)).max() <= 1


def test_a_modality_table_is_applied(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 16, (6, 7)).astype(np.uint8)
    table = np.random.default_rng(1).integers(0, 60000, 16).astype(np.uint16)
    entries = item(LUTDescriptor=[16, 0, 16], ModalityLUTType="OD", LUTData=table.tolist())
    entries["LUTDescriptor"].VR = entries["LUTData"].VR = "US"
    made = radiograph(pixels, PixelSpacing=[1, 1], ModalityLUTSequence=Items([entries]))
    assert np.array_equal(read_image(save_as(made, tmp_path / "x.dcm")).array[0, 0], table[pixels])


def test_real_world_values_count_where_there_is_no_slope(tmp_path: Path) -> None:
    mapping = item(RealWorldValueSlope=0.25, RealWorldValueIntercept=-3.0)
    slices = series_objects(ARRAY, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    for made in slices:
        made.RealWorldValueMappingSequence = Items([mapping])
    image = read_image(save(slices, tmp_path))
    assert np.array_equal(image.array[0], (ARRAY * 0.25 - 3).astype(np.float32))
    assert codes(image) == ["real-world-values"]


def test_padding_stays(tmp_path: Path) -> None:
    array = ARRAY.copy()
    array[:, 0] = -2000
    image = read_image(save(series_objects(array, PixelPaddingValue=-2000), tmp_path))
    assert np.array_equal(image.array[0], array)


def test_floating_point_pixels(tmp_path: Path) -> None:
    slices = series_objects(ARRAY, PixelRepresentation=None, BitsStored=None, HighBit=None)
    for made, pixels in zip(slices, ARRAY, strict=True):
        del made.PixelData
        made.BitsAllocated, made.FloatPixelData = 32, (pixels / 8).astype(np.float32).tobytes()
    image = read_image(save(slices, tmp_path))
    assert np.array_equal(image.array[0], (ARRAY / 8).astype(np.float32))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.keyword
)
def test_other_encodings_of_the_whole_object(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    slices = series_objects(ARRAY)
    for made, pixels in zip(slices, ARRAY, strict=True):
        made.file_meta.TransferSyntaxUID = syntax
        made.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if syntax.is_little_endian else ">")).tobytes()
    assert np.array_equal(read_image(save(slices, tmp_path)).array[0], ARRAY)


def compressed(syntax: pydicom.uid.UID, pixels: np.ndarray, **attributes: object) -> Dataset:
    made = slice_object(pixels, 0, SliceThickness=1, **attributes)
    made.compress(syntax, generate_instance_uid=False)
    return made


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("without", [False, True], ids=["pydicom", "imagecodecs"])
def test_compressed_pixels_are_decoded_with_and_without_plug_ins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: pydicom.uid.UID, without: bool
) -> None:
    """Also as signed and as 12-bit numbers; without plug-ins imagecodecs gives the same."""
    files = []
    for number, (low, high, bits) in enumerate(((0, 4096, 12), (0, 65536, 16), (-2048, 2048, 12), (-32768, 32768, 16))):
        signed = low < 0
        if signed and syntax == JPEGLSLossless:
            continue  # it has no sign of its own
        pixels = np.random.default_rng(0).integers(low, high, (80, 96)).astype(np.int16 if signed else np.uint16)
        made = compressed(syntax, pixels, BitsStored=bits, HighBit=bits - 1)
        files.append((save_as(made, tmp_path / f"{number}.dcm"), pixels))
    if without and syntax != RLELossless:  # which pydicom decodes itself
        monkeypatch.setattr(get_decoder(syntax), "_available", {})
    for path, pixels in files:
        assert np.array_equal(read_image(path).array[0, 0], pixels)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours_in_lossless_jpeg(tmp_path: Path, photometric: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    made = radiograph(colours[..., 0], Modality="XC", PixelSpacing=[1, 1], SamplesPerPixel=3, PlanarConfiguration=0,
                      PhotometricInterpretation=photometric)  # fmt: skip
    made.PixelData = colours.tobytes()
    expected = read_image(save_as(made, tmp_path / "native.dcm")).array
    made.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    made.PixelData = encapsulate(
        [imagecodecs.jpeg8_encode(colours, lossless=True, colorspace="RGB", outcolorspace="RGB")]
    )
    assert np.array_equal(read_image(save_as(made, tmp_path / "jpeg.dcm")).array, expected)


def test_extended_jpeg_has_twelve_bits(tmp_path: Path) -> None:
    pixels = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint16) * 40
    made = slice_object(pixels, 0, SliceThickness=1, BitsStored=12, HighBit=11)
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.51"
    made.PixelData = encapsulate([imagecodecs.jpeg8_encode(pixels, bitspersample=12, level=98)])
    difference = read_image(save_as(made, tmp_path / "x.dcm")).array[0, 0].astype(int) - pixels
    assert np.abs(difference).max() < 20


def test_several_compressed_frames(tmp_path: Path) -> None:
    array = voxels((3, 80, 96)).astype(np.uint16)
    made = image_object(array, Modality="RTDOSE", ImagePositionPatient=[0, 0, 0], DoseGridScaling="0.5",
                        ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1],
                        GridFrameOffsetVector=[0.0, 2.0, 4.0])  # fmt: skip
    made.compress(RLELossless, generate_instance_uid=False)
    image = read_image(save_as(made, tmp_path / "x.dcm"))
    assert np.array_equal(image.array[0], (array * 0.5).astype(np.float32))


def test_a_missing_decoder_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_as(compressed(RLELossless, np.abs(ARRAY[0]).astype(np.uint16)), tmp_path / "x.dcm")
    monkeypatch.setattr(get_decoder(RLELossless), "_available", {})
    with pytest.raises(ImageError, match=r"pip install 'autoseg-framework\[dicom\]'") as caught:
        read_image(path)
    assert "RLE" in str(caught.value.got)
    made = pydicom.dcmread(path)
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # a film
    with pytest.raises(ImageError, match="no installed library decodes"):
        read_image(save_as(made, tmp_path / "film.dcm"))


def test_compressed_frames_that_contradict_their_header_are_refused(tmp_path: Path) -> None:
    pixels = np.abs(voxels((80, 96))).astype(np.uint16)
    for syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless):
        made = compressed(syntax, pixels)
        made.Rows = 60000
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(save_as(made, tmp_path / "rows.dcm"))
        if syntax != RLELossless:
            made = compressed(syntax, pixels)
            made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
            with pytest.raises(ImageError, match="cannot be read"):
                read_image(save_as(made, tmp_path / "samples.dcm"))
            made = compressed(syntax, pixels)
            made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
            with pytest.raises(ImageError, match="cannot be read"):
                read_image(save_as(made, tmp_path / "bits.dcm"))
        made = compressed(syntax, pixels)
        made.NumberOfFrames = 2
        with pytest.raises(ImageError, match=r"cannot be read|do not say where they lie"):
            read_image(save_as(made, tmp_path / "frames.dcm"))
        made = compressed(syntax, pixels)
        stream = made.PixelData
        made.PixelData = stream[: len(stream) // 2]
        with pytest.raises(ImageError, match=r"cannot be read|has no pixels"):
            read_image(save_as(made, tmp_path / "cut.dcm"))


def test_lossless_jpeg_that_two_decoders_understand_differently_is_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 48)).astype(np.uint16)
    stream = imagecodecs.ljpeg_encode(pixels, bitspersample=12)

    def stored(name: str, content: bytes) -> Path:
        made = slice_object(pixels, 0, SliceThickness=1, BitsStored=12, HighBit=11)
        made.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        made.PixelData = encapsulate([content])
        return save_as(made, tmp_path / name)

    assert np.array_equal(read_image(stored("sound.dcm", stream)).array[0, 0], pixels)
    flipped = bytearray(stream)
    for place in range(500, 520):
        flipped[place] ^= 0x55
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(stored("damaged.dcm", bytes(flipped)))


def test_values_are_those_of_itk(tmp_path: Path) -> None:
    folder = save(series_objects(ARRAY, RescaleSlope="1.7", RescaleIntercept="-3.5"), tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    other = sitk.GetArrayFromImage(reader.Execute())
    np.testing.assert_allclose(read_image(folder).array[0], other, rtol=1e-6)
