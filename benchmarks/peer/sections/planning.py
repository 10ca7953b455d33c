"""The planner's call alone, in a process that has imported everything: largest patch of the reference plans."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from autoseg.fingerprint.record import Fingerprint
from autoseg.workspace import Run
from benchmarks.compare_plans import differences
from benchmarks.peer.context import Context
from benchmarks.peer.layout import prepared_ours
from benchmarks.peer.programs import alternate, run
from benchmarks.peer.records import Row, Section, Unit

TITLE = "Planning"
REQUIRED = 500.0


def measure(context: Context) -> Section:
    """Each planner is called once in a new process; without reference plans, on the fingerprint of the data."""
    if context.plans is None:
        rows: tuple[Row, ...] = (_row(context, _Task(_reference_of(context), "default"), None),)
        work = "Reference plans are not given, so the data set's own fingerprint is planned for. "
    else:
        largest = largest_patch(context.plans)
        rows = (
            _row(context, largest, REQUIRED),
            *([_row(context, _Task(largest.reference, "default"), None)] if largest.planner != "default" else []),
        )
        work = "Of the reference fingerprints that with the largest patch, and the default planner on the same one. "
    return Section(
        work=work + "The planner's call alone, the first in a process that has imported what it needs; on either side "
        "planners search for a patch that fills the memory: nnU-Net builds the network of every candidate, here its "
        "size is known in closed form.",
        rows=rows,
    )


@dataclass(frozen=True)
class _Task:
    reference: Path
    planner: str


def largest_patch(folder: Path) -> _Task:
    """The reference file and planner whose plan has the patch with most voxels.

    Raises:
        ValueError: there is no file with a plan.
    """
    found: list[tuple[int, str, str]] = []
    for path in sorted(folder.glob("*.json")):
        for planner, plan in json.loads(path.read_text(encoding="utf-8"))["plans"].items():
            patches = [one["patch_size"] for one in plan["configurations"].values() if "patch_size" in one]
            found.append((max(prod(patch) for patch in patches), path.name, planner))
    if not found:
        raise ValueError(f"{folder} holds no reference plans (*.json)")
    _, name, planner = max(found, key=lambda one: one[0])
    return _Task(folder / name, planner)


def _row(context: Context, task: _Task, required: float | None) -> Row:
    folder = context.folder("planning")
    ours, peer = alternate(lambda: _ours(context, task), lambda: _peer(context, task, folder / "peer"), context.repeats)
    different = list(differences(peer[-1]["plan"], ours[-1]["plan"]))
    made = peer[-1]["plan"]["configurations"]
    count = sum(len(one) for one in made.values())
    fields = ", ".join(sorted({f"{one.configuration}.{one.field}" for one in different}))
    patch = max((one["patch_size"] for one in made.values() if "patch_size" in one), key=prod)
    return Row(
        setting=f"{task.reference.stem}, {task.planner}, largest patch {' x '.join(map(str, patch))}",
        unit=Unit.SECONDS,
        ours=tuple(one["seconds"] for one in ours),
        peer=tuple(one["seconds"] for one in peer),
        agreement=f"{count} fields of the plans compared, " + (f"different: {fields}" if different else "all equal"),
        agrees=not different,
        required=required,
    )


def _ours(context: Context, task: _Task) -> Any:
    return run([context.python, "-m", "benchmarks.peer.sections.planning_ours", task.reference, task.planner]).answer()


def _peer(context: Context, task: _Task, folder: Path) -> Any:
    shutil.rmtree(folder, ignore_errors=True)
    environment = context.peer_environment(folder)
    return run([*context.peer_script("planning"), task.reference, task.planner], env=environment).answer()


def _reference_of(context: Context) -> Path:
    """The fingerprint of the data in the form of the reference files."""
    found = Fingerprint.load(Run(prepared_ours(context)).fingerprint)
    values = {
        "channel_names": list(found.channels),
        "number_of_labels_with_background": found.labels_with_background,
        "fingerprint": {
            "spacings": [case.spacing for case in found.cases],
            "shapes_after_crop": [case.shape_after_crop for case in found.cases],
            "median_relative_size_after_cropping": found.median_relative_size,
            "foreground_intensity_properties_per_channel": {
                str(number): asdict(one) for number, one in enumerate(found.intensities)
            },
        },
    }
    path = context.folder("planning") / "fingerprint.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path
