"""Plans for other amounts of memory, against nnU-Net's.

The numbers are patch and batch sizes that nnU-Net v2.8.1's planners (ExperimentPlanner, ResEncUNetPlanner and
nnUNetPlannerResEncM, L and XL, in this order) make of the fingerprints in `reference/` with
`gpu_memory_target_in_gb` 6 and 20.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plugins import resolve

REFERENCE = Path(__file__).parent / "reference"
PLANNERS = ("default", "resenc", "resenc-m", "resenc-l", "resenc-xl")

# file -> memory -> configuration -> (patch, batch) of each of PLANNERS
NNUNET = {
    "ct_with_lowres": {
        6: {
            "2d": (((512, 512), 9), ((448, 448), 12), ((448, 448), 12), ((384, 448), 13), ((384, 384), 14)),
            "3d_lowres": (*[((96, 128, 128), 2)] * 4, ((96, 128, 160), 2)),
            "3d_fullres": (*[((96, 128, 128), 2)] * 4, ((96, 128, 160), 2)),
        },
        20: {
            "2d": tuple(((512, 512), batch) for batch in (31, 31, 31, 29, 26)),
            "3d_lowres": tuple(((128, y, 224), 2) for y in (224, 192, 192, 224, 224)),
            "3d_fullres": tuple(((128, y, 224), 2) for y in (224, 192, 192, 224, 224)),
        },
    },
    "cropped_four_channels": {
        6: {
            "2d": tuple(((192, 160), batch) for batch in (32, 32, 80, 75, 67)),
            "3d_fullres": (((128, 128, 112), 2),) * 5,
        },
        20: {
            "2d": tuple(((192, 160), batch) for batch in (32, 32, 268, 251, 222)),
            "3d_fullres": tuple(((160, 192, 160), batch) for batch in (2, 2, 3, 3, 3)),
        },
    },
}


def reference(name: str) -> tuple[Fingerprint, LabelScheme]:
    values = json.loads((REFERENCE / f"{name}.json").read_text(encoding="utf-8"))
    data, count = values["fingerprint"], values["number_of_labels_with_background"]
    cases = [
        CaseFingerprint(
            id=f"case_{i}", shape=shape, spacing=spacing, crop_box=[(0, edge) for edge in shape], relative_size=1.0,
            intensities=(), class_voxels={}, class_volumes={},
        )
        for i, (shape, spacing) in enumerate(zip(data["shapes_after_crop"], data["spacings"], strict=True))
    ]  # fmt: skip
    fingerprint = Fingerprint(
        name=name, dimension=3, channels=values["channel_names"], outputs=count, labels_with_background=count,
        intensities=[IntensityStatistics(0, 0, 1, 0, 1, 0, 1)] * len(values["channel_names"]), cases=cases,
        median_relative_size=data["median_relative_size_after_cropping"],
    )  # fmt: skip
    return fingerprint, LabelScheme(names={f"label {value}": value for value in range(count)})


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("memory", [6, 20])
@pytest.mark.parametrize("name", sorted(NNUNET))
def test_memory_scales_plans_as_nnunets(name: str, memory: int, planner: str) -> None:
    fingerprint, labels = reference(name)
    plan = resolve("planner", planner)(fingerprint, labels, PlanContext(memory_gb=memory))
    for configuration, expected in NNUNET[name][memory].items():
        made = plan.configurations[configuration]
        assert (made.patch_size, made.batch_size) == expected[PLANNERS.index(planner)], configuration
    assert set(plan.configurations) - {"3d_cascade_fullres"} == set(NNUNET[name][memory])


def test_the_budget_planner_starts_from_the_plan_for_that_memory() -> None:
    fingerprint, labels = reference("cropped_four_channels")
    for memory in (6, 20):
        ours = resolve("planner", "budget")(fingerprint, labels, PlanContext(memory_gb=memory)).configurations
        assert ours == resolve("planner", "default")(fingerprint, labels, PlanContext(memory_gb=memory)).configurations
