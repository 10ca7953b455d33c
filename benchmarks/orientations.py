"""One image stored in all 48 orientations: the same segmentation in the world, and headers equal to the inputs'.

    python benchmarks/orientations.py RUN IMAGE

RUN is a trained run, IMAGE a volume that nibabel reads. The image is stored with its axes in every order and direction,
as NIfTI by nibabel and as NRRD by SimpleITK, and all are predicted. Brought back to one orientation by nibabel and
SimpleITK, the segmentations must be equal voxel for voxel; affines of NIfTI to the last bit, origin, spacing and
direction of NRRD to 1e-6 of their size. Exit code 1 if one is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from autoseg import pipeline

CODES = ["".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)]


def stored_as(image: nib.Nifti1Image, code: str) -> nib.Nifti1Image:
    """The image with other axes, in the same place; qform and sform are both set."""
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(code)))
    turned = image.as_reoriented(turn)
    turned.set_sform(turned.affine, 1)
    turned.set_qform(turned.affine, 1)
    return turned


def load(path: Path) -> nib.Nifti1Image:
    """A NIfTI image, or another that nibabel reads, as one."""
    image: Any = nib.load(path)
    return image if isinstance(image, nib.Nifti1Image) else nib.Nifti1Image(image.dataobj, image.affine)


def write_all(image: nib.Nifti1Image, folder: Path) -> None:
    """Writes the image in all orientations, as `<code>.nii.gz` and `nrrd_<code>.nrrd`."""
    nib.save(stored_as(image, "LPS"), folder / "first.nii.gz")
    first = sitk.ReadImage(str(folder / "first.nii.gz"))
    (folder / "first.nii.gz").unlink()
    for code in CODES:
        nib.save(stored_as(image, code), folder / f"{code}.nii.gz")
        sitk.WriteImage(sitk.DICOMOrient(first, code), str(folder / f"nrrd_{code}.nrrd"))


def main() -> int:
    """Prints the comparison; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="trained run")
    parser.add_argument("image", type=Path, help="volume to predict")
    arguments = parser.parse_args()
    image = load(arguments.image)
    with tempfile.TemporaryDirectory() as name:
        images, out = Path(name) / "images", Path(name) / "out"
        images.mkdir()
        write_all(image, images)
        failures = pipeline.predict(arguments.run, [images], out)
        for failure in failures:
            print(failure)
        return compare(images, out) or bool(failures)


def compare(images: Path, out: Path) -> int:
    """Prints what differs, and how many segmentations are equal; 1 if not all are."""
    reference: np.ndarray | None = None
    equal, affines, places = 0, 0, 0
    for code in CODES:
        given, found = load(images / f"{code}.nii.gz"), load(out / f"{code}.nii.gz")
        labels = np.asarray(stored_as(found, "LPS").dataobj)
        reference = labels if reference is None else reference
        equal += np.array_equal(labels, reference)
        affines += np.array_equal(given.affine, found.affine)
        given_itk = sitk.ReadImage(str(images / f"nrrd_{code}.nrrd"))
        found_itk = sitk.ReadImage(str(out / f"nrrd_{code}.nii.gz"))
        labels = sitk.GetArrayFromImage(sitk.DICOMOrient(found_itk, "LPS")).T
        equal += np.array_equal(labels, reference)
        places += all(
            np.allclose(getattr(given_itk, get)(), getattr(found_itk, get)(), rtol=1e-6, atol=1e-6)
            for get in ("GetOrigin", "GetSpacing", "GetDirection")
        )
    assert reference is not None
    print(f"labelled voxels: {int(np.count_nonzero(reference))} of {reference.size}")
    print(f"equal segmentations: {equal} of {2 * len(CODES)}")
    print(f"NIfTI affines equal to the last bit: {affines} of {len(CODES)}")
    print(f"NRRD places equal within 1e-6 (relative, as NIfTI holds single precision): {places} of {len(CODES)}")
    return int((equal, affines, places) != (2 * len(CODES), len(CODES), len(CODES)))


if __name__ == "__main__":
    sys.exit(main())
