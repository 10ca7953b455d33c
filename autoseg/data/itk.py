"""SimpleITK images <-> `Image`. The one file that knows SimpleITK's axis order (x, y, z)."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data.image import PLANE_SPACING, Geometry, Image, Vector
from autoseg.errors import ImageError

if TYPE_CHECKING:
    import SimpleITK as sitk

_GIPL_HEADER = 256  # bytes
_FILTERED_LENGTH = 4  # voxels that ITK's recursive filters, and so its smooth gradients, need along each axis
_POSITION_TAG = "0020|0032"
_GAP_TOLERANCE = 0.1  # of the median distance between neighbouring DICOM slices


@dataclass(frozen=True)
class Header:
    """What ITK reads of a header: size in ITK's order (x, y, z, t), components a voxel, and the geometry."""

    size: tuple[int, ...]
    components: int
    geometry: Geometry


@cache
def library() -> Any:
    """SimpleITK, imported when an image is first touched: a command that reads none does not wait for it."""
    import SimpleITK

    # ITK prints its warnings from C++ straight to standard error, past `logging`; what matters is raised or checked
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def read(path: Path) -> Image:
    """Reads one file that ITK knows; a fourth axis and vector components become channels.

    Raises:
        ImageError: ITK cannot read the file, or it has more axes than space and channels.
    """
    try:
        return _from_itk(library().ReadImage(str(path)), path)
    except RuntimeError as error:
        raise unreadable(path, error) from None


def read_nifti_header(path: Path) -> Header:
    """Size, components and geometry of a NIfTI file, without its voxels.

    Raises:
        ImageError: ITK cannot read the header.
    """
    reader = library().ImageFileReader()
    reader.SetImageIO("NiftiImageIO")  # else ITK offers the file to every format that it knows, at twice the time
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, error) from None
    return _header(reader, reader.GetNumberOfComponents())


def read_gipl(path: Path) -> Image:
    """Reads a GIPL file, whose truncation ITK does not notice.

    Raises:
        ImageError: unreadable or truncated.
    """
    found = len(content(path))
    image = read(path)
    expected = _GIPL_HEADER + image.array.nbytes
    if found < expected:
        raise unreadable(path, f"{found} bytes where the header promises {expected}")
    return image


def content(path: Path) -> bytes:
    """The bytes of a file, decompressed if its name ends in `.gz`.

    Raises:
        ImageError: empty, cut off, or damaged (gzip's checksum does not fit).
    """
    try:
        stored = path.read_bytes()
        found = gzip.decompress(stored) if path.name.lower().endswith(".gz") else stored
    except (EOFError, OSError, zlib.error) as error:
        raise unreadable(path, f"the file is cut off or damaged ({error})") from None
    if not found:
        raise unreadable(path, "the file is empty")
    return found


def with_axes(array: np.ndarray, header: Header, path: Path) -> Image:
    """An image of an array in ITK's layout: (t, z, y, x) for scalars, vector components last.

    Raises:
        ImageError: more axes than space and channels.
    """
    dimension, vector = len(header.size), header.components > 1
    if dimension not in (2, 3, 4) or (dimension == 4 and vector):
        raise ImageError(
            "the image has too many axes",
            where=path,
            got=f"size (x, y, z, ...) {header.size}, {header.components} component(s)",
            expected="two or three axes of space and at most one of channels",
            remedy="write each time point or channel as a file of its own",
        )
    if vector:
        array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    elif dimension < 4:
        array = array[None]
    if dimension == 2:
        array = array[:, None]
    return Image(array, header.geometry)


def read_series(folder: Path) -> Image:
    """Reads the one DICOM series of a folder as a volume, slices sorted by their position.

    Raises:
        ImageError: no series, several series, a slice that is missing, or slices that cannot be read.
    """
    reader = library().ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise ImageError(
            "the folder does not hold exactly one DICOM series",
            where=folder,
            got=f"{len(series)} series" + (": " + ", ".join(series) if series else ""),
            expected="one series",
            remedy="give every series a folder of its own" if series else "put the DICOM slices directly into it",
        )
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(folder, error) from None
    _check_gaps(reader, folder)
    return _from_itk(image, folder)


def write(path: Path, image: Image) -> None:
    """Writes an image, compressed where the format can.

    Channels are vector components, or the fourth axis in NIfTI, as other programs expect them there.

    Raises:
        ImageError: the format cannot hold the image's dtype, or the file cannot be written.
    """
    if ".gipl" in path.suffixes and len(image.array) > 1:
        raise ImageError("GIPL holds one channel", where=path, got=f"{len(image.array)} channels", remedy="use .nii.gz")
    try:
        library().WriteImage(_to_itk(image, fourth_axis=".nii" in path.suffixes), str(path), useCompression=True)
    except (RuntimeError, TypeError) as error:
        raise ImageError(
            f"cannot be written as {image.array.dtype}: {_reason(error)}",
            where=path,
            remedy="check that the folder is writable and that the format holds such values (.nii.gz holds all)",
        ) from None


@dataclass(frozen=True)
class Alignment:
    """Where each point of a fixed image's world lies in a moving image's; made and used by the functions below."""

    transform: sitk.Transform


def centred(fixed: Image, moving: Image, *, by_mass: bool = False) -> Alignment:
    """The translation that lays the centres of two images on each other.

    Args:
        by_mass: centres of mass of the intensities, which must not be negative; else of the fields of view. Images
            without any intensity have no mass and are laid by their fields of view.
    """
    itk = library()
    rule = (
        itk.CenteredTransformInitializerFilter.MOMENTS if by_mass else itk.CenteredTransformInitializerFilter.GEOMETRY
    )
    images = _scalar(fixed), _scalar(moving)
    try:
        transform = itk.CenteredTransformInitializer(*images, itk.AffineTransform(images[0].GetDimension()), rule)
    except RuntimeError:
        if not by_mass:
            raise
        return centred(fixed, moving)
    return Alignment(transform)


def register_affine(fixed: Image, moving: Image, start: Alignment, *, iterations: int = 100) -> Alignment:
    """The affine transform near `start` (from `centred`) that maximises the correlation of intensities.

    Every voxel counts and one thread sums, so that equal images give equal results. Where ITK finds no way (a constant
    image, no overlap), `start` is returned.

    Args:
        fixed, moving: one channel, of the same dimension.
        iterations: steps of gradient descent, at most.
    """
    itk = library()
    images = _scalar(fixed), _scalar(moving)
    method = itk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    method.SetInterpolator(itk.sitkLinear)
    if min(*images[0].GetSize(), *images[1].GetSize()) < _FILTERED_LENGTH:
        method.SetMetricUseFixedImageGradientFilter(False)
        method.SetMetricUseMovingImageGradientFilter(False)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-3, numberOfIterations=iterations, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(itk.AffineTransform(start.transform), inPlace=False)
    try:
        found = method.Execute(*images)
    except RuntimeError:
        return start
    return Alignment(found if np.isfinite(found.GetParameters()).all() else start.transform)


def register_demons(
    levels: Sequence[tuple[Image, Image, int]], start: Alignment, *, smoothing: float = 1.0
) -> Alignment:
    """`start` followed by the free deformation of symmetric-force demons (Vercauteren et al., 2009,
    doi:10.1016/j.neuroimage.2008.10.040), after the moving image's histogram was matched to the fixed one's.

    Args:
        levels: (fixed, moving, iterations) of the same two images from coarse to fine, one channel each, float32.
        smoothing: standard deviation in voxels of the Gaussian that keeps the deformation smooth.

    Returns:
        The composed alignment; `start` where ITK finds no way (a constant image).
    """
    itk = library()
    field = None
    try:
        for fixed, moving, iterations in levels:
            target = _scalar(fixed)
            source = itk.Resample(_scalar(moving), target, start.transform, itk.sitkLinear, 0.0, itk.sitkFloat32, True)
            source = itk.HistogramMatching(source, target, 128, 7, True)
            method = itk.FastSymmetricForcesDemonsRegistrationFilter()
            method.SetNumberOfThreads(1)
            method.SetNumberOfIterations(iterations)
            method.SetSmoothDisplacementField(True)
            method.SetStandardDeviations(smoothing)
            if field is not None:
                field = itk.Resample(field, target, itk.Transform(), itk.sitkLinear, 0.0, field.GetPixelID(), True)
            field = method.Execute(target, source) if field is None else method.Execute(target, source, field)
    except RuntimeError:
        return start
    if field is None or not np.isfinite(itk.GetArrayViewFromImage(field)).all():
        return start
    return Alignment(itk.CompositeTransform([start.transform, itk.DisplacementFieldTransform(field)]))


def resample(
    moving: Image, onto: Geometry, shape: Sequence[int], alignment: Alignment, *, nearest: bool, outside: float | None
) -> np.ndarray:
    """A moving image of one channel on the grid of a fixed one.

    Args:
        onto, shape: geometry and shape (Z, Y, X) of the grid.
        nearest: takes the nearest voxel (labels), in the moving image's dtype; else interpolates linearly, in float32.
        outside: value where the moving image does not reach; None continues it with its outermost voxels.

    Returns:
        (Z, Y, X).
    """
    itk = library()
    source = _scalar(moving)
    size = list(shape)[::-1][: onto.dimension]
    spacing, origin, direction = _placement(onto)
    interpolator, dtype = (
        (itk.sitkNearestNeighbor, source.GetPixelID()) if nearest else (itk.sitkLinear, itk.sitkFloat32)
    )
    grid = origin, spacing, direction.ravel().tolist()
    fill = 0.0 if outside is None else outside
    warped = itk.Resample(source, size, alignment.transform, interpolator, *grid, fill, dtype, outside is None)
    array: np.ndarray = itk.GetArrayFromImage(warped)
    return array.reshape(tuple(shape))


def unreadable(path: Path, error: Exception | str) -> ImageError:
    """The error for a file whose bytes are not an image."""
    reason = error if isinstance(error, str) else _reason(error)
    if "orthonormal" in reason:
        remedy = "write the file anew with orthogonal axes (resample it, or drop the shear from its sform)"
    else:
        remedy = "fetch the file again or remove the case"
    return ImageError(
        "the image cannot be read (damaged, truncated or not an image)", where=path, got=reason, remedy=remedy
    )


def _from_itk(itk_image: sitk.Image, path: Path) -> Image:
    header = _header(itk_image, itk_image.GetNumberOfComponentsPerPixel())
    return with_axes(library().GetArrayFromImage(itk_image), header, path)


def _header(source: sitk.Image | sitk.ImageFileReader, components: int) -> Header:
    dimension = source.GetDimension()
    axes = min(dimension, 3)
    matrix = np.asarray(source.GetDirection()).reshape(dimension, dimension)[:axes, :axes]
    # Reversing rows turns world coordinates to (z, y, x), reversing columns turns array axes to (z, y, x).
    direction = np.eye(3)
    direction[3 - axes :, 3 - axes :] = matrix[::-1, ::-1]
    spacing = [float(value) for value in source.GetSpacing()[:axes][::-1]]
    origin = [float(value) for value in source.GetOrigin()[:axes][::-1]]
    geometry = Geometry(
        spacing=_vector([PLANE_SPACING] * (3 - axes) + spacing),
        origin=_vector([0.0] * (3 - axes) + origin),
        direction=(_vector(direction[0]), _vector(direction[1]), _vector(direction[2])),
        dimension=axes,
    )
    return Header(tuple(source.GetSize()), components, geometry)


def _to_itk(image: Image, *, fourth_axis: bool) -> sitk.Image:
    array, geometry = image.array, image.geometry
    axes = geometry.dimension
    if axes == 2:
        array = array[:, 0]
    spacing, origin, matrix = _placement(geometry)
    if len(array) == 1:
        itk_image = library().GetImageFromArray(array[0], isVector=False)
    elif fourth_axis and axes == 3:
        itk_image = library().GetImageFromArray(array, isVector=False)
        spacing, origin = [*spacing, 1.0], [*origin, 0.0]
        matrix = np.block([[matrix, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    else:
        itk_image = library().GetImageFromArray(np.moveaxis(array, 0, -1), isVector=True)
    itk_image.SetSpacing(spacing)
    itk_image.SetOrigin(origin)
    itk_image.SetDirection(matrix.ravel().tolist())
    return itk_image


def _placement(geometry: Geometry) -> tuple[list[float], list[float], np.ndarray]:
    """Spacing, origin and direction matrix in ITK's order."""
    axes = geometry.dimension
    spacing, origin = (list(values[::-1][:axes]) for values in (geometry.spacing, geometry.origin))
    return spacing, origin, np.asarray(geometry.direction)[::-1, ::-1][:axes, :axes]


def _scalar(image: Image) -> sitk.Image:
    return _to_itk(image, fourth_axis=False)


def _check_gaps(reader: sitk.ImageSeriesReader, folder: Path) -> None:
    """Refuses a series with a missing slice: GDCM stacks what it finds and only warns."""
    count = len(reader.GetFileNames())
    if count < 3 or not all(reader.HasMetaDataKey(i, _POSITION_TAG) for i in range(count)):
        return
    positions = np.array([[float(v) for v in reader.GetMetaData(i, _POSITION_TAG).split("\\")] for i in range(count)])
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(gaps))
    if usual > 0 and np.abs(gaps - usual).max() > _GAP_TOLERANCE * usual:
        place = int(np.abs(gaps - usual).argmax())
        raise ImageError(
            "the DICOM slices are not evenly spaced; a slice seems to be missing",
            where=folder,
            got=f"{gaps[place]:.3f} mm between slices {place + 1} and {place + 2} of {count}",
            expected=f"{usual:.3f} mm between all neighbouring slices",
            remedy="add the missing slice or resample the series",
        )


def _reason(error: Exception) -> str:
    """The telling line of an ITK exception, without source positions and addresses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "ERROR" in line] or lines[-1:] or [type(error).__name__]
    return re.sub(r"\w+\(0x[0-9a-f]+\):\s*", "", telling[0].split("ERROR:")[-1]).strip()


def _vector(values: Sequence[float] | np.ndarray) -> Vector:
    z, y, x = (float(value) for value in values)
    return z, y, x
