"""nnU-Net v2's names for what is the same here, and its defaults for what cannot be chosen here."""

from __future__ import annotations

from typing import Any

NETWORKS = {"PlainConvUNet": "plain-unet", "ResidualEncoderUNet": "residual-encoder-unet"}
"""Class of nnU-Net's networks -> plug-in."""

NETWORK_MODULE = "dynamic_network_architectures.architectures.unet"

BLOCKS = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
"""Class of a network -> its argument for the encoder's blocks."""

NORMALIZATIONS = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "z-score",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale",
    "RGBTo01Normalization": "rgb",
}
"""nnU-Net's class -> plug-in."""

PLANNERS = {
    "ExperimentPlanner": "default",
    "ResEncUNetPlanner": "resenc",
    "nnUNetPlannerResEncM": "resenc-m",
    "nnUNetPlannerResEncL": "resenc-l",
    "nnUNetPlannerResEncXL": "resenc-xl",
}
"""nnU-Net's class -> plug-in."""

PLANS_NAMES = {
    "resenc": "nnUNetResEncUNetPlans",
    "resenc-m": "nnUNetResEncUNetMPlans",
    "resenc-l": "nnUNetResEncUNetLPlans",
    "resenc-xl": "nnUNetResEncUNetXLPlans",
}
"""Planner -> name of nnU-Net's plans; those of every other planner are called `DEFAULT_PLANS`."""

DEFAULT_PLANS = "nnUNetPlans"
DEFAULT_TRAINER = "nnUNetTrainer"

READERS = ("SimpleITKIO", "NibabelIO", "NaturalImage2DIO", "Tiff3DIO")
"""nnU-Net's readers that leave the axes of an image in the file's order, as is done here."""

LARGEST_COMPONENT = "remove_all_but_largest_component_from_segmentation"
"""nnU-Net's one function of post-processing."""

ITERATIONS_PER_EPOCH = 250
FOREGROUND_FRACTION = 0.33

RESAMPLING = "resample_data_or_seg_to_shape"
RESAMPLING_OPTIONS: dict[str, dict[str, Any]] = {
    "data": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "seg": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "probabilities": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}
"""What is resampled -> arguments of the function; nnU-Net's defaults, which are fixed here."""


def fixed_arguments(dimension: int) -> dict[str, Any]:
    """Arguments of nnU-Net's network classes that cannot be chosen here, in the form of plans.json."""
    return {
        "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
