"""nnU-Net's planner on a fingerprint from a reference file: the seconds of the call, and the plan."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import join
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners as residual
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw

NAME = "Dataset001_Benchmark"
PLANNERS = {
    "default": ExperimentPlanner,
    "resenc": residual.ResEncUNetPlanner,
    "resenc-m": residual.nnUNetPlannerResEncM,
    "resenc-l": residual.nnUNetPlannerResEncL,
    "resenc-xl": residual.nnUNetPlannerResEncXL,
}
CONFIGURATION = (
    "spacing", "median_image_size_in_voxels", "patch_size", "batch_size", "normalization_schemes", "use_mask_for_norm",
    "batch_dice",
)  # fmt: skip
NETWORK = (
    "n_stages", "features_per_stage", "strides", "kernel_sizes", "n_conv_per_stage", "n_blocks_per_stage",
    "n_conv_per_stage_decoder",
)  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reference", type=Path)
    parser.add_argument("planner", choices=PLANNERS)
    options = parser.parse_args()
    reference = json.loads(options.reference.read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr):
        _pretend_dataset(reference)
        start = time.perf_counter()
        planner = PLANNERS[options.planner](NAME)
        planner.plan_experiment()
        seconds = time.perf_counter() - start
        plans = json.loads(
            Path(join(nnUNet_preprocessed, NAME, f"{planner.plans_identifier}.json")).read_text(encoding="utf-8")
        )
    configurations = {name: _reduced(found) for name, found in plans["configurations"].items()}
    made = {"transpose_forward": plans["transpose_forward"], "configurations": configurations}
    print(json.dumps({"seconds": seconds, "plan": made}))


def _pretend_dataset(reference: dict[str, Any]) -> None:
    """Writes the files that a planner looks at; images are none of them."""
    fingerprint = reference["fingerprint"]
    cases = [f"case_{number:05d}" for number in range(len(fingerprint["spacings"]))]
    labels = {"background" if value == 0 else f"label {value}": value for value in range(reference[_LABELS])}
    dataset = {
        "channel_names": {str(number): name for number, name in enumerate(reference["channel_names"])},
        "labels": labels,
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",  # else it tries whether the first image can be read
        "dataset": {case: {"images": [f"{case}_0000.nii.gz"], "label": f"{case}.nii.gz"} for case in cases},
    }
    for root, name, content in (
        (nnUNet_raw, "dataset.json", dataset),
        (nnUNet_preprocessed, "dataset_fingerprint.json", fingerprint),
    ):
        folder = Path(join(root, NAME))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


_LABELS = "number_of_labels_with_background"


def _reduced(found: dict[str, Any]) -> dict[str, Any]:
    """A configuration in the form of the reference files."""
    if "inherits_from" in found:
        return {name: found[name] for name in ("inherits_from", "previous_stage") if name in found}
    network = found["architecture"]["arch_kwargs"]
    kept = {name: found[name] for name in CONFIGURATION} | {name: network[name] for name in NETWORK if name in network}
    return kept | {"next_stage": found.get("next_stage")}


if __name__ == "__main__":
    main()
