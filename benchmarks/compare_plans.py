"""Compares plans with reference plans of nnU-Net v2: `python benchmarks/compare_plans.py DIR`.

DIR holds JSON files, each with a `fingerprint`, the `channel_names`, the `number_of_labels_with_background` and the
`plans` that nnU-Net's planners made of them, by planner name. Every field of every configuration must be equal.
Differences are printed as `file, configuration, field, expected, got`. Exit code: 0 all equal, 1 a difference,
2 the folder cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.plugins import resolve

NORMALIZATION = {
    "ct": "CTNormalization",
    "z-score": "ZScoreNormalization",
    "rescale": "RescaleTo01Normalization",
    "rgb": "RGBTo01Normalization",
    "none": "NoNormalization",
}
BLOCKS = {"plain-unet": "n_conv_per_stage", "residual-encoder-unet": "n_blocks_per_stage"}
CASCADE = "3d_cascade_fullres"


@dataclass(frozen=True)
class Difference:
    """A field in which a plan differs from its reference."""

    configuration: str
    field: str
    expected: Any
    got: Any


def fingerprint_of(reference: dict[str, Any]) -> Fingerprint:
    """The fingerprint in a reference file; what nnU-Net's does not hold and no planner needs is left empty.

    Raises:
        KeyError, ValueError: the mapping has another form.
    """
    data = reference["fingerprint"]
    labels = int(reference["number_of_labels_with_background"])
    properties = data.get("foreground_intensity_properties_per_channel", {})
    cases = tuple(
        CaseFingerprint(
            id=f"case_{index:05d}",
            shape=tuple(shape),
            spacing=tuple(spacing),
            crop_box=((0, shape[0]), (0, shape[1]), (0, shape[2])),
            relative_size=data["median_relative_size_after_cropping"],
            intensities=(None,) * len(reference["channel_names"]),
            class_voxels={},
            class_volumes={},
        )
        for index, (spacing, shape) in enumerate(zip(data["spacings"], data["shapes_after_crop"], strict=True))
    )
    return Fingerprint(
        name=str(reference.get("name", "reference")),
        dimension=2 if all(case.shape[0] == 1 for case in cases) else 3,
        channels=tuple(reference["channel_names"]),
        outputs=labels,
        labels_with_background=labels,
        intensities=tuple(IntensityStatistics(**values) for values in properties.values()),
        cases=cases,
        median_relative_size=data["median_relative_size_after_cropping"],
    )


def labels_of(reference: dict[str, Any]) -> LabelScheme:
    """Consecutive labels, as many as the reference has."""
    count = int(reference["number_of_labels_with_background"])
    return LabelScheme(names={"background" if value == 0 else f"label {value}": value for value in range(count)})


def as_reference(plan: Plan) -> dict[str, Any]:
    """A plan in the form of the reference files."""
    return {
        "transpose_forward": list(plan.transpose_forward),
        "configurations": {
            name: (
                {"inherits_from": "3d_fullres", "previous_stage": configuration.previous_stage}
                if name == CASCADE and _inherits(plan)
                else _configuration(configuration)
            )
            for name, configuration in plan.configurations.items()
        },
    }


def differences(expected: dict[str, Any], got: dict[str, Any]) -> Iterator[Difference]:
    """Every field in which two plans in the reference files' form differ; a missing field is given as None."""
    theirs, ours = expected["configurations"], got["configurations"]
    if sorted(theirs) != sorted(ours):
        yield Difference("-", "configurations", sorted(theirs), sorted(ours))
    for field in sorted({*expected, *got} - {"configurations"}):
        if expected.get(field) != got.get(field):
            yield Difference("-", field, expected.get(field), got.get(field))
    for name in sorted({*theirs} & {*ours}):
        for field in sorted({*theirs[name], *ours[name]}):
            left, right = theirs[name].get(field), ours[name].get(field)
            if left != right:
                yield Difference(name, field, left, right)


def fields(reference_plan: dict[str, Any]) -> int:
    """Number of fields that a comparison with the reference plan looks at."""
    configurations = reference_plan["configurations"].values()
    return len(reference_plan) + sum(len(configuration) for configuration in configurations)


def _inherits(plan: Plan) -> bool:
    """Whether the cascade's second stage is the full resolution's configuration but for its input.

    How that input is augmented is no part of nnU-Net's plans.
    """
    full, second = plan.configurations["3d_fullres"], plan.configurations[CASCADE]
    return second.with_(previous_stage=None, augmentation=full.augmentation) == full


def _configuration(plan: ConfigurationPlan) -> dict[str, Any]:
    return {
        "spacing": list(plan.spacing),
        "median_image_size_in_voxels": list(plan.median_shape),
        "patch_size": list(plan.patch_size),
        "batch_size": plan.batch_size,
        "normalization_schemes": [NORMALIZATION[name] for name in plan.normalization],
        "use_mask_for_norm": list(plan.use_mask_for_norm),
        "batch_dice": plan.batch_dice,
        "n_stages": plan.stages,
        "features_per_stage": list(plan.features_per_stage),
        "strides": [list(stride) for stride in plan.strides],
        "kernel_sizes": [list(kernel) for kernel in plan.kernel_sizes],
        "next_stage": plan.next_stage,
        BLOCKS[plan.network]: list(plan.blocks_per_stage),
        "n_conv_per_stage_decoder": list(plan.decoder_blocks_per_stage),
    }


@dataclass
class Tally:
    """What has been compared so far."""

    files: int = 0
    plans: int = 0
    fields: int = 0
    differences: int = 0
    slowest: float = 0.0
    slowest_plan: str = "-"

    def compare(self, path: Path) -> None:
        """Compares all plans of a file and prints the differences."""
        reference = json.loads(path.read_text(encoding="utf-8"))
        fingerprint, labels = fingerprint_of(reference), labels_of(reference)
        self.files += 1
        for planner, expected in reference["plans"].items():
            make = resolve("planner", planner)
            start = time.perf_counter()
            plan = make(fingerprint, labels, PlanContext())
            seconds = time.perf_counter() - start
            if seconds > self.slowest:
                self.slowest, self.slowest_plan = seconds, f"{path.name} {planner}"
            self.plans += 1
            self.fields += fields(expected)
            for found in differences(expected, as_reference(plan)):
                self.differences += 1
                where = f"{planner}/{found.configuration}"
                print(f"{path.name}, {where}, {found.field}, {found.expected}, {found.got}")


def main(arguments: list[str] | None = None) -> int:
    """Compares a folder; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare plans with reference plans of nnU-Net v2.")
    parser.add_argument("folder", type=Path, help="folder of reference files (JSON)")
    folder = parser.parse_args(arguments).folder
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        print(f"{folder}: is no folder with reference files (*.json)", file=sys.stderr)
        return 2
    tally = Tally()
    for path in paths:
        try:
            tally.compare(path)
        except (OSError, KeyError, TypeError, ValueError, AutosegError) as error:
            print(f"{path}: cannot be compared: {type(error).__name__}: {error}", file=sys.stderr)
            return 2
    print(
        f"{tally.files} files, {tally.plans} plans, {tally.fields} fields compared: {tally.differences} differences; "
        f"the slowest plan took {1000 * tally.slowest:.1f} ms ({tally.slowest_plan})"
    )
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
