"""Registration of differently stained sections: error at landmarks of our methods and of SimpleITK's.

    python benchmarks/registration_histology.py DATA [--methods drmime,simpleitk-affine] [--pairs He:Ki67-7,...]
        [--peer-python .venv-registration/bin/python] [--out FILE.json] [--page FILE.md] [--seed 0]

DATA holds sections of one tissue (`*.jpg`) and, anywhere below it, a CSV of landmarks for each, of the same name, with
the columns X and Y in pixels of an image that is `--landmark-scale` times as large (10: landmarks at half of the full
size, images at 5 %). Every two sections are a pair. From the CIMA data set of Borovec et al.: five sections of a lung
lesion, 10 pairs.

The error is the relative target registration error of Borovec et al. 2020 (IEEE TMI 39(10)): the distance between a
landmark of the fixed image, taken through the transform, and its partner, divided by the fixed image's diagonal. A pair
counts with the median over its landmarks. Prints these and, for each method, their median over the pairs, the worst,
how many pairs ended worse than they began, and the seconds a pair. The method `landmarks` is the affine map
that is fitted to the landmarks themselves: little is to be had below it by any affine map.

Methods are plug-ins of the kind `registration`, with stages behind a colon if wanted (`multi-stage:center+affine`),
`simpleitk-affine` and `simpleitk-bspline`, and with `--peer-python` (registration_hippocampus.py says how to make that
environment) `ants-affine`, `ants-syn`, `elastix-affine`, `elastix-bspline`, `greedy-affine` and `greedy`. These get the
same darkness of the sections as our methods, and one thread. The defaults of `drmime`, and the windows and
the smoothing of the default method's deformable stage in planes, were chosen on the pairs among the first three
sections (Cc10-5, CD31-3, He); the column "other pairs" leaves these out.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg import plugins, provenance
from autoseg.data import itk
from autoseg.data.files import read_image
from autoseg.data.image import Image
from autoseg.data.landmarks import read_landmarks
from autoseg.records import unknown_name, write_json, write_text
from autoseg.tasks.registration.methods import RegistrationOptions, register
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.quality import landmark_errors
from autoseg.tasks.registration.transforms import SpatialTransform, fit_affine
from benchmarks.registration.peers import Peer, PeerMissing, Registered

CHOSEN_ON = {"Cc10-5", "CD31-3", "He"}
"""Sections whose pairs have decided on defaults."""

Points = np.ndarray
"""(n, 2) in mm, (y, x)."""
Mapping = Callable[[Points], Points]
"""Takes points of the fixed image to the moving one."""
Method = Callable[[ImagePair, "Section", "Section", int], Mapping | Registered]
"""Times its own work where it returns a `Registered`."""

PEERS = ("ants-affine", "ants-syn", "elastix-affine", "elastix-bspline", "greedy-affine", "greedy")
"""Tools that run in an environment of their own."""


@dataclass(frozen=True)
class Section:
    """A stained section and its landmarks, row by row the same places in all sections."""

    name: str
    image: Image
    landmarks: Points


@dataclass(frozen=True)
class Row:
    """What a method did to a pair: medians over the landmarks of the relative error, and time."""

    method: str
    fixed: str
    moving: str
    before: float
    after: float
    improved: float
    seconds: float
    cpu_seconds: float

    @property
    def unseen(self) -> bool:
        """Whether the pair had no part in choosing defaults."""
        return not {self.fixed, self.moving} <= CHOSEN_ON


def read_sections(folder: Path, scale: float) -> list[Section]:
    """All sections of a folder in the order of their names, which are what their files' names do not share."""
    tables = {path.stem: path for path in folder.rglob("*.csv")}
    files = sorted(path for path in folder.rglob("*.jpg") if path.stem in tables)
    if len(files) < 2:
        raise SystemExit(f"{folder}: at least two .jpg files with a .csv of the same name are needed")
    stems = [path.stem for path in files]
    head, tail = _shared(stems), _shared([stem[::-1] for stem in stems])
    sections = []
    for path in files:
        image = read_image(path)
        landmarks = read_landmarks(tables[path.stem], image.geometry, "voxel") / scale
        sections.append(Section(path.stem[head : len(path.stem) - tail], image, landmarks))
    return sections


def _shared(names: Sequence[str]) -> int:
    """Letters at the start that all names share."""
    return next((at for at, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)


def find_method(name: str, peer: Callable[[str], Peer]) -> Method:
    """A method by the name on the command line.

    Args:
        peer: starts one of `PEERS`.
    """
    if name in PEERS:
        return partial(elsewhere, peer(name))
    peers: dict[str, Method] = {
        "landmarks": landmarks,
        "simpleitk-affine": partial(simpleitk, deformable=False),
        "simpleitk-bspline": partial(simpleitk, deformable=True),
    }
    if name in peers:
        return peers[name]
    plugin, _, stages = name.partition(":")
    if plugin not in plugins.names("registration"):
        raise unknown_name("method", plugin, [*peers, *PEERS, *plugins.names("registration")])
    options = RegistrationOptions.from_mapping({"stages": stages.split("+")} if stages else {}, where=name)
    return partial(ours, method=plugin, options=options)


def ours(
    pair: ImagePair, fixed: Section, moving: Section, seed: int, *, method: str, options: RegistrationOptions
) -> Mapping:
    """One of the plug-ins."""
    return _mapping(register(pair, options, method=method, seed=seed).transform)


def elsewhere(tool: Peer, pair: ImagePair, fixed: Section, moving: Section, seed: int) -> Registered:
    """A tool of the other environment, on the first channel."""
    return tool.register(pair.fixed[0].numpy(), pair.moving[0].numpy(), pair.fixed_grid, pair.moving_grid)


def landmarks(pair: ImagePair, fixed: Section, moving: Section, seed: int) -> Mapping:
    """The affine map that is closest to the landmarks."""
    return _mapping(fit_affine(torch.from_numpy(fixed.landmarks), torch.from_numpy(moving.landmarks)))


def simpleitk(pair: ImagePair, fixed: Section, moving: Section, seed: int, *, deformable: bool) -> Mapping:
    """SimpleITK's affine registration by Mattes' mutual information, coarse to fine, then a B-spline if asked.

    It gets the same darkness of the sections as our methods. Of three pyramids and rules for the step, which were tried
    on all pairs, these are the best.
    """
    library = itk.library()
    images = [library.GetImageFromArray(one[0].float().numpy()) for one in (pair.fixed, pair.moving)]
    for image, grid in zip(images, (pair.fixed_grid, pair.moving_grid), strict=True):
        image.SetSpacing(grid.spacing[::-1])
        image.SetOrigin(grid.origin[::-1])
    centred = library.CenteredTransformInitializer(*images, library.AffineTransform(2))
    method = _coarse_to_fine(library)
    method.SetOptimizerAsGradientDescent(1.0, 300, 1e-6, 10, estimateLearningRate=method.EachIteration)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(centred, inPlace=False)
    transform = method.Execute(*images)
    if deformable:
        method = _coarse_to_fine(library)
        method.SetOptimizerAsGradientDescent(1.0, 100, 1e-6, 10, estimateLearningRate=method.Once)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetMovingInitialTransform(transform)
        method.SetInitialTransform(library.BSplineTransformInitializer(images[0], [8, 8]), inPlace=False)
        transform = library.CompositeTransform([transform, method.Execute(*images)])
    return lambda points: np.array([transform.TransformPoint(tuple(point[::-1]))[::-1] for point in points])


def _coarse_to_fine(library: Any) -> Any:
    method = library.ImageRegistrationMethod()
    method.SetNumberOfThreads(torch.get_num_threads())
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(library.sitkLinear)
    method.SetShrinkFactorsPerLevel([16, 8, 4])
    method.SetSmoothingSigmasPerLevel([8.0, 4.0, 2.0])
    return method


def measure(name: str, method: Method, fixed: Section, moving: Section, seed: int) -> Row:
    """Registers a pair; reading and preparing it is not timed."""
    pair = prepare(fixed.image, moving.image)
    wall, processor = time.perf_counter(), time.process_time()
    found = method(pair, fixed, moving, seed)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    if isinstance(found, Registered):
        mapping, wall, processor = _mapping(found.transform), found.seconds, found.cpu_seconds
    else:
        mapping = found
    errors = landmark_errors(fixed.landmarks, mapping(fixed.landmarks), moving.landmarks, pair.fixed_grid.diagonal)
    return Row(
        method=name,
        fixed=fixed.name,
        moving=moving.name,
        before=errors.relative_before.median,
        after=errors.relative_after.median,
        improved=errors.improved,
        seconds=wall,
        cpu_seconds=processor,
    )


def summary(rows: Sequence[Row]) -> dict[str, float | int | None]:
    """One method's rows as one: relative errors, medians over pairs."""
    return {
        "pairs": len(rows),
        "before": _median(row.before for row in rows),
        "after": _median(row.after for row in rows),
        "after_other_pairs": _median(row.after for row in rows if row.unseen),
        "worst": max(row.after for row in rows),
        "worse_than_untouched": sum(row.after > row.before for row in rows),
        "seconds": _median(row.seconds for row in rows),
        "cpu_seconds": _median(row.cpu_seconds for row in rows),
    }


def table(rows: Sequence[Row]) -> str:
    """The methods' summaries as text that is also Markdown."""
    lines = [
        "| method | pairs | before | after | other pairs | worst | worse | seconds | CPU seconds |",
        "| ------ | ----- | ------ | ----- | ----------- | ----- | ----- | ------- | ----------- |",
    ]
    for name in dict.fromkeys(row.method for row in rows):
        found = summary([row for row in rows if row.method == name])
        errors = " | ".join(_digits(found[key]) for key in ("before", "after", "after_other_pairs", "worst"))
        times = " | ".join(f"{found[key]:.1f}" for key in ("seconds", "cpu_seconds"))
        lines.append(f"| {name} | {found['pairs']} | {errors} | {found['worse_than_untouched']} | {times} |")
    return "\n".join(lines)


def page(rows: Sequence[Row], options: argparse.Namespace) -> str:
    """The summaries and the error of each pair as Markdown."""
    names = list(dict.fromkeys(row.method for row in rows))
    pairs = list(dict.fromkeys((row.fixed, row.moving) for row in rows))
    after = {(row.method, row.fixed, row.moving): row.after for row in rows}
    by_pair = [
        f"| {' <- '.join(pair)} | {' | '.join(_digits(after.get((name, *pair))) for name in names)} |" for pair in pairs
    ]
    chosen = ", ".join(sorted(CHOSEN_ON))
    return "\n".join(
        [
            "# Registration of differently stained sections",
            "",
            "Written by `benchmarks/registration_histology.py`. Relative target registration error: distance of a "
            "landmark from its partner over the fixed image's diagonal; the median over landmarks, then over pairs. "
            f"`other pairs` leaves out those among {chosen}, on which defaults of `multi-stage` and `drmime` were "
            "chosen. `landmarks` is the affine map fitted to the landmarks themselves. Seconds of the fit, median over "
            f"pairs, {options.threads} thread(s), seed {options.seed}.",
            "",
            table(rows),
            "",
            "## Every pair",
            "",
            f"| pair | {' | '.join(names)} |",
            f"| --- |{' --- |' * len(names)}",
            *by_pair,
            "",
            ", ".join(f"{name} {value}" for name, value in {**provenance.versions(), **provenance.machine()}.items()),
            "",
        ]
    )


def _mapping(transform: SpatialTransform) -> Mapping:
    return lambda points: transform(torch.from_numpy(points)).numpy()


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.median(known)) if known else None


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _pairs(sections: Sequence[Section], wanted: str | None) -> list[tuple[Section, Section]]:
    if wanted is None:
        return list(itertools.combinations(sections, 2))
    named = {section.name: section for section in sections}
    names = [text.split(":") for text in wanted.split(",")]
    for name in itertools.chain.from_iterable(names):
        if name not in named:
            raise unknown_name("section", name, list(named), where="--pairs")
    return [(named[fixed], named[moving]) for fixed, moving in names]


def _started(running: ExitStack, options: argparse.Namespace, name: str) -> Peer:
    """A tool that runs until the stack is left."""
    if options.peer_python is None:
        raise SystemExit(f"{name} runs in an environment of its own: name its interpreter by --peer-python")
    folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
    try:
        return running.enter_context(Peer(options.peer_python, name, folder / "log"))
    except PeerMissing as missing:
        raise SystemExit(f"{name}: {missing}") from None


def _measured(methods: dict[str, Method], pairs: Sequence[tuple[Section, Section]], seed: int) -> list[Row]:
    rows: list[Row] = []
    for name, method in methods.items():
        for fixed, moving in pairs:
            row = measure(name, method, fixed, moving, seed)
            print(f"{name}  {row.fixed} <- {row.moving}  {row.before:.4f} -> {row.after:.4f}", flush=True)
            rows.append(row)
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default="multi-stage,drmime,simpleitk-affine,simpleitk-bspline,landmarks")
    parser.add_argument("--pairs", help="FIXED:MOVING,...; all by default, the earlier name fixed")
    parser.add_argument("--landmark-scale", type=float, default=10.0)
    parser.add_argument("--peer-python", type=Path, help=f"interpreter of the environment of {', '.join(PEERS)}")
    parser.add_argument("--out", type=Path, help="writes all numbers as JSON")
    parser.add_argument("--page", type=Path, help="writes the tables as Markdown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pairs = _pairs(read_sections(options.data, options.landmark_scale), options.pairs)
    with ExitStack() as running:
        methods = {name: find_method(name, partial(_started, running, options)) for name in options.methods.split(",")}
        rows = _measured(methods, pairs, options.seed)
    print(table(rows))
    if options.page is not None:
        write_text(options.page, page(rows, options))
    if options.out is not None:
        content = {
            "seed": options.seed,
            "threads": options.threads,
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "methods": {name: summary([row for row in rows if row.method == name]) for name in methods},
            "rows": [asdict(row) for row in rows],
        }
        write_json(options.out, content)


if __name__ == "__main__":
    main()
