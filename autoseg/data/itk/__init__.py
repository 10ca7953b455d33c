"""SimpleITK's images and transforms <-> the project's. The one place that knows SimpleITK's axis order (x, y, z)."""

from autoseg.data.itk.alignment import Alignment, centred, register_affine, register_demons, resample
from autoseg.data.itk.conversion import Header, complex_numbers, library, unreadable, with_axes
from autoseg.data.itk.images import (
    read,
    read_gipl,
    read_meta_header,
    read_nifti_header,
    read_with_fields,
    write,
)
from autoseg.data.itk.transforms import (
    FieldPart,
    LinearPart,
    read_displacement,
    read_transform,
    write_displacement,
    write_transform,
)

__all__ = [
    "Alignment",
    "FieldPart",
    "Header",
    "LinearPart",
    "centred",
    "complex_numbers",
    "library",
    "read",
    "read_displacement",
    "read_gipl",
    "read_meta_header",
    "read_nifti_header",
    "read_transform",
    "read_with_fields",
    "register_affine",
    "register_demons",
    "resample",
    "unreadable",
    "with_axes",
    "write",
    "write_displacement",
    "write_transform",
]
