"""A registration tool in an environment of its own: takes pairs from standard input and answers on standard output.

    PYTHON peer_worker.py METHOD

The first answer is {"ready": versions} or {"missing": reason}. A request is a line of JSON with the paths `fixed`,
`moving` and `out`. The first two are .npz files with `array`, float32 (Z, Y, X) or (Y, X), and `spacing` in mm in that
order; the first voxel is at the world's origin and the axes are the world's. `out` gets the `field` (D, *S) in mm,
components in that order, that leads from each voxel of the fixed image to its place in the moving one. The answer is
{"seconds", "cpu_seconds"} of the tool's own work, without conversions, or {"error": reason}.

Knows nothing of autoseg. The environment variables that limit threads and set seeds are the business of who starts
it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scan:
    """An image whose first voxel is at the world's origin."""

    array: np.ndarray
    spacing: tuple[float, ...]


class Clock:
    """Seconds spent inside `with` blocks, of the wall and of the processor (all threads of this process)."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start[0]
        self.cpu_seconds += time.process_time() - self._start[1]


Method = Callable[[Scan, Scan, Clock], np.ndarray]
"""Registers within `with clock` and returns the field."""


def simpleitk_affine(fixed: Scan, moving: Scan, clock: Clock) -> np.ndarray:
    """SimpleITK's affine registration by the correlation of all voxels, coarse to fine."""
    import SimpleITK as sitk

    images = _sitk(fixed), _sitk(moving)
    with clock:
        transform = _simpleitk_affine(sitk, *images)
    return _sampled(sitk, transform, images[0])


def simpleitk_demons(fixed: Scan, moving: Scan, clock: Clock) -> np.ndarray:
    """SimpleITK's diffeomorphic demons after its affine registration, on three resolutions."""
    import SimpleITK as sitk

    still, other = _sitk(fixed), _sitk(moving)
    with clock:
        affine = _simpleitk_affine(sitk, still, other)
        near = sitk.Resample(other, still, affine, sitk.sitkLinear, float(moving.array.flat[0]))  # as the padding
        field = None
        for shrink, iterations in ((4, 100), (2, 60), (1, 30)):
            small = [
                sitk.Shrink(sitk.SmoothingRecursiveGaussian(one, shrink / 2), [shrink] * 3) for one in (still, near)
            ]
            small = [still, near] if shrink == 1 else small
            demons = sitk.DiffeomorphicDemonsRegistrationFilter()
            demons.SetNumberOfIterations(iterations)
            demons.SetSmoothDisplacementField(True)
            demons.SetStandardDeviations(1.0)
            if field is None:
                field = demons.Execute(*small)
            else:
                field = demons.Execute(*small, sitk.Resample(field, small[0]))
    both = sitk.CompositeTransform([affine, sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))])
    return _sampled(sitk, both, still)


def ants_registration(fixed: Scan, moving: Scan, clock: Clock, **options: Any) -> np.ndarray:
    """`registration` of antspyx with its own settings but for `options`."""
    import ants

    still, other = (ants.from_numpy(one.array.T, spacing=one.spacing[::-1]) for one in (fixed, moving))
    # It starts from the centres of mass, which z-scored intensities do not have.
    massless = min(fixed.array.min(), moving.array.min()) < 0
    start = {"initial_transform": "Identity"} if massless else {}
    with tempfile.TemporaryDirectory() as folder:
        with clock:
            found = ants.registration(still, other, outprefix=f"{folder}/", **start, **options)
        path = ants.apply_transforms(still, other, found["fwdtransforms"], compose=f"{folder}/all_")
        field = ants.image_read(path).numpy()
    return _ordered(field.transpose(*reversed(range(fixed.array.ndim)), fixed.array.ndim))


def elastix(fixed: Scan, moving: Scan, clock: Clock, *, stages: Sequence[str]) -> np.ndarray:
    """itk-elastix with its default parameter maps, one after the other."""
    import itk

    images = [itk.image_from_array(one.array) for one in (fixed, moving)]
    for image, scan in zip(images, (fixed, moving), strict=True):
        image.SetSpacing([float(step) for step in scan.spacing[::-1]])
    parameters = itk.ParameterObject.New()
    for stage in stages:
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(stage))
    with clock:
        _, transform = itk.elastix_registration_method(
            *images, parameter_object=parameters, number_of_threads=1, log_to_console=False
        )
    return _ordered(itk.array_from_image(itk.transformix_deformation_field(images[1], transform)))


def greedy(fixed: Scan, moving: Scan, clock: Clock, *, deformable: bool, radius: int = 2) -> np.ndarray:
    """picsl-greedy: affine with 12 degrees of freedom, then NCC of a small window if asked."""
    import picsl_greedy
    import SimpleITK as sitk

    images = {"fixed": _sitk(fixed), "moving": _sitk(moving)}
    dimension = fixed.array.ndim
    run = getattr(picsl_greedy, f"Greedy{dimension}D")()
    window = "x".join([str(radius)] * dimension)
    common = f"-d {dimension} -threads 1 -seed 1 -m NCC {window} -i fixed moving -n 100x50x10"
    with clock:
        run.execute(f"{common} -a -dof 12 -ia-image-centers -o affine", **images, affine=None)
        if deformable:
            run.execute(f"{common} -it affine -o warp", warp=None)
    parts = "warp affine" if deformable else "affine"
    run.execute(f"-d {dimension} -threads 1 -rf fixed -r {parts} -rc composed", composed=None)
    return _ordered(sitk.GetArrayFromImage(run["composed"]))


def convexadam(fixed: Scan, moving: Scan, clock: Clock) -> np.ndarray:
    """ConvexAdam on MIND features with its own settings; volumes with voxels of 1 mm."""
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(1)
    if fixed.array.shape != moving.array.shape or {*fixed.spacing, *moving.spacing} != {1.0}:
        raise ValueError("ConvexAdam needs volumes of one shape with voxels of 1 mm")
    with clock:
        shift = convex_adam_pt(fixed.array, moving.array, device=torch.device("cpu"))
    return np.moveaxis(shift, -1, 0).astype(np.float32)


METHODS: dict[str, tuple[tuple[str, ...], Method]] = {
    "simpleitk-affine": (("SimpleITK",), simpleitk_affine),
    "simpleitk-demons": (("SimpleITK",), simpleitk_demons),
    "elastix-affine": (("itk-elastix",), partial(elastix, stages=("affine",))),
    "elastix-bspline": (("itk-elastix",), partial(elastix, stages=("affine", "bspline"))),
    "ants-affine": (("antspyx",), partial(ants_registration, type_of_transform="Affine")),
    "ants-syn": (("antspyx",), partial(ants_registration, type_of_transform="SyN")),
    "ants-syn-cc": (
        ("antspyx",),
        partial(
            ants_registration,
            type_of_transform="SyN",
            syn_metric="CC",
            syn_sampling=2,
            reg_iterations=(100, 50, 10),
        ),
    ),
    "greedy-affine": (("picsl-greedy", "SimpleITK"), partial(greedy, deformable=False)),
    "greedy": (("picsl-greedy", "SimpleITK"), partial(greedy, deformable=True)),
    "convexadam": (("convexAdam", "torch"), convexadam),
}
"""Name -> the packages it needs and the function."""


def _simpleitk_affine(sitk: Any, fixed: Any, moving: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0, 0.0])
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 200, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    middle = sitk.CenteredTransformInitializerFilter.GEOMETRY
    start = sitk.CenteredTransformInitializer(fixed, moving, sitk.AffineTransform(fixed.GetDimension()), middle)
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(fixed, moving)


def _sitk(scan: Scan) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(scan.array)
    image.SetSpacing(scan.spacing[::-1])
    return image


def _smaller(sitk: Any, image: Any, shrink: int) -> Any:
    """Every so many-th voxel of a smoothed image."""
    if shrink == 1:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, shrink / 2), [shrink] * image.GetDimension())


def _sampled(sitk: Any, transform: Any, grid: Any) -> np.ndarray:
    """The displacements of a grid's voxels."""
    place = grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, *place)
    return _ordered(sitk.GetArrayFromImage(field))


def _ordered(field: np.ndarray) -> np.ndarray:
    """(*S, D) with ITK's components (x, y, z) as (D, *S) with (z, y, x)."""
    return np.ascontiguousarray(np.moveaxis(field[..., ::-1], -1, 0), np.float32)


def _read(path: str) -> Scan:
    with np.load(path) as file:
        return Scan(file["array"], tuple(float(step) for step in file["spacing"]))


def _answers(method: Method, requests: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in requests:
        request, clock = json.loads(line), Clock()
        try:
            field = method(_read(request["fixed"]), _read(request["moving"]), clock)
            np.savez(request["out"], field=field)
            yield {"seconds": clock.seconds, "cpu_seconds": clock.cpu_seconds}
        except Exception as error:  # a tool that fails on one pair may do on the next
            traceback.print_exc()
            yield {"error": f"{type(error).__name__}: {error}"[:500]}


def main() -> None:
    """The command."""
    # What the libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    packages, method = METHODS[sys.argv[1]]
    try:
        say({"ready": ", ".join(f"{package} {version(package)}" for package in packages)})
    except ImportError as error:  # PackageNotFoundError among them
        say({"missing": f"{error} is not installed in {Path(sys.prefix).name}"})
        return
    for answer in _answers(method, iter(sys.stdin.readline, "")):
        say(answer)


if __name__ == "__main__":
    main()
