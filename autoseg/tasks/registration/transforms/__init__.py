"""Maps from the fixed image's world to the moving image's, and their arithmetic."""

from autoseg.tasks.registration.transforms.bspline import BSpline, lattice
from autoseg.tasks.registration.transforms.composite import Composite, as_displacement, compose, is_linear
from autoseg.tasks.registration.transforms.displacement import Displacement, Velocity
from autoseg.tasks.registration.transforms.fields import (
    Inversion,
    compose_fields,
    exponential,
    invert_field,
    jacobian,
    jacobian_determinant,
)
from autoseg.tasks.registration.transforms.fitting import fit_affine
from autoseg.tasks.registration.transforms.lie import basis, matrix_of, radius, transform_of
from autoseg.tasks.registration.transforms.linear import Affine, Perspective
from autoseg.tasks.registration.transforms.protocol import SpatialTransform

__all__ = [
    "Affine",
    "BSpline",
    "Composite",
    "Displacement",
    "Inversion",
    "Perspective",
    "SpatialTransform",
    "Velocity",
    "as_displacement",
    "basis",
    "compose",
    "compose_fields",
    "exponential",
    "fit_affine",
    "invert_field",
    "is_linear",
    "jacobian",
    "jacobian_determinant",
    "lattice",
    "matrix_of",
    "radius",
    "transform_of",
]
