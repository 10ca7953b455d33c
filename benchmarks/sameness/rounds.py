"""Parts done with both versions side by side; results of the old version are kept for the next time."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.sameness.comparison import Comparison, compare_folders
from benchmarks.sameness.images import write_pictures, write_volumes
from benchmarks.sameness.parts import Part, needed_parts
from benchmarks.sameness.steps import Places
from benchmarks.sameness.trees import CommandFailed, Tree, digest_of

HERE = Path(__file__).resolve().parent
PLUGIN = HERE / "short_unet.py"

_LIBRARIES = ("torch", "numpy", "scipy", "SimpleITK", "scikit-learn", "scikit-image", "blosc2", "batchgenerators")


@dataclass(frozen=True)
class Outcome:
    """A part done with one version.

    Attributes:
        seconds: wall clock; of the first time where the results were kept.
        failure: why it could not be done; None if it was.
        kept: whether the results are those of an earlier call.
    """

    seconds: float = 0.0
    failure: str | None = None
    kept: bool = False


@dataclass(frozen=True)
class Row:
    """A part in both versions; without a comparison where one of them failed."""

    part: Part
    old: Outcome
    new: Outcome
    comparison: Comparison | None


def write_inputs(folder: Path) -> Places:
    """Writes the data sets and the plug-in file, unless they are there; returns their places."""
    stamp, made_by = folder / "made_by.txt", _digest(HERE / "images.py", PLUGIN)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != made_by:
        shutil.rmtree(folder, ignore_errors=True)
        write_volumes(folder / "volumes")
        write_pictures(folder / "pictures")
        shutil.copy(PLUGIN, folder / PLUGIN.name)
        stamp.write_text(made_by, encoding="utf-8")
    return {"volumes": folder / "volumes", "pictures": folder / "pictures", "plugin": folder / PLUGIN.name}


def compare_versions(parts: tuple[Part, ...], old: Tree, new: Tree, inputs: Places, *, reuse: bool) -> Iterator[Row]:
    """Does the parts and what they need with both versions, and yields each of them once it is compared.

    Args:
        parts: wanted parts, in order.
        old, new: the versions.
        inputs: places of what is given.
        reuse: whether complete results of the old version are kept.
    """
    through = {tree.name: needed_parts(parts, old=tree is old) for tree in (old, new)}
    outcomes: dict[str, dict[str, Outcome]] = {old.name: {}, new.name: {}}
    places = {**inputs, "old": old.results}
    for part in through[old.name]:
        trees = [tree for tree in (old, new) if part in through[tree.name]]
        with ThreadPoolExecutor(len(trees)) as pool:
            futures = {}
            for tree in trees:
                lacking = _lacking(part, outcomes[tree.name], outcomes[old.name])
                key = _key(part, old) if reuse and tree is old else None
                futures[tree.name] = pool.submit(carry_out, part, tree, places, lacking, key)
        for name, future in futures.items():
            outcomes[name][part.name] = future.result()
        if new in trees:
            sides = outcomes[old.name][part.name], outcomes[new.name][part.name]
            failed = any(side.failure for side in sides)
            yield Row(part, *sides, None if failed else _comparison(part, old, new))


def carry_out(part: Part, tree: Tree, places: Places, lacking: str | None, key: str | None) -> Outcome:
    """Does a part with a version.

    Args:
        part, tree: which.
        places: what names in braces stand for in both versions.
        lacking: name of a part that it needs and that failed, if there is one.
        key: what the results depend on; those that were made with the same key are kept. None keeps nothing.
    """
    if lacking is not None:
        return Outcome(failure=f"not done: it needs {lacking}, which failed")
    here, log, stamp = (tree.results / f"{part.name}{ending}" for ending in ("", ".log", ".json"))
    if key is not None and stamp.is_file():
        made = json.loads(stamp.read_text(encoding="utf-8"))
        if made["key"] == key:
            return Outcome(made["seconds"], kept=True)
    stamp.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    started = time.perf_counter()
    try:
        for step in part.steps:
            step.run(tree, {**places, "here": here, "mine": tree.results}, log)
    except (CommandFailed, OSError, KeyError, TypeError, ValueError) as error:
        return Outcome(time.perf_counter() - started, failure=f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - started
    if key is not None:
        stamp.write_text(json.dumps({"key": key, "seconds": seconds}), encoding="utf-8")
    return Outcome(seconds)


def _comparison(part: Part, old: Tree, new: Tree) -> Comparison:
    results = old.results, new.results
    return compare_folders(old.results / part.name, new.results / part.name, results)


def _lacking(part: Part, own: dict[str, Outcome], old: dict[str, Outcome]) -> str | None:
    failed = [name for name in part.needs if own[name].failure] + [name for name in part.needs_old if old[name].failure]
    return failed[0] if failed else None


def _key(part: Part, tree: Tree) -> str:
    """What a part's results depend on: the version, the steps up to them, the inputs, the libraries, the machine."""
    steps = repr(needed_parts((part,), old=True))
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    machine = (sys.version, platform.node(), platform.machine())
    scripts = _digest(*(HERE / name for name in ("images.py", "short_unet.py", "steps.py", "trees.py")))
    return hashlib.sha256(repr((digest_of(tree.checkout), steps, libraries, machine, scripts)).encode()).hexdigest()


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
