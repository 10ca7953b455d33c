"""Images laid on each other by SimpleITK's registration, for atlases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.image import Geometry, Image
from autoseg.data.itk.conversion import library, placement, scalar

if TYPE_CHECKING:
    import SimpleITK as sitk

_FILTERED_LENGTH = 4  # voxels that ITK's recursive filters, and so its smooth gradients, need along each axis


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
    images = scalar(fixed), scalar(moving)
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
    images = scalar(fixed), scalar(moving)
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
        transform = method.Execute(*images)
    except RuntimeError:
        return start
    return Alignment(transform if np.isfinite(transform.GetParameters()).all() else start.transform)


def register_demons(
    levels: Sequence[tuple[Image, Image, int]], start: Alignment, *, smoothing: float = 1.0
) -> Alignment:
    """`start` followed by the free deformation of symmetric-force demons.

    The moving image's histogram is matched to the fixed one's first. Source: Vercauteren et al., 2009,
    doi:10.1016/j.neuroimage.2008.10.040.

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
            target = scalar(fixed)
            source = itk.Resample(scalar(moving), target, start.transform, itk.sitkLinear, 0.0, itk.sitkFloat32, True)
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
    source = scalar(moving)
    size = list(shape)[::-1][: onto.dimension]
    spacing, origin, direction = placement(onto)
    interpolator, dtype = (
        (itk.sitkNearestNeighbor, source.GetPixelID()) if nearest else (itk.sitkLinear, itk.sitkFloat32)
    )
    grid = origin, spacing, direction.ravel().tolist()
    fill = 0.0 if outside is None else outside
    warped = itk.Resample(source, size, alignment.transform, interpolator, *grid, fill, dtype, outside is None)
    array: np.ndarray = itk.GetArrayFromImage(warped)
    return array.reshape(tuple(shape))
