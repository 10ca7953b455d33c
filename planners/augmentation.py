"""The augmentation policy: nnU-Net v2's transforms, in its order, with its probabilities and ranges."""

from __future__ import annotations

from collections.abc import Sequence

from autoseg.data.labels import LabelScheme
from autoseg.plan.mirroring import with_mirror_axes
from autoseg.plan.record import ConfigurationPlan, TransformPlan
from planners.cascade import label_augmentation
from planners.rules import ANISOTROPY

_ELONGATED = 1.5  # a 2D patch longer than this times its width is turned only a little


def flat(patch_size: Sequence[int]) -> bool:
    """Whether a 3D patch has so few slices that it is augmented slice by slice ("dummy 2D")."""
    return len(patch_size) == 3 and max(patch_size) / patch_size[0] > ANISOTROPY


def rotation_degrees(patch_size: Sequence[int]) -> float:
    """Largest rotation about an axis, either way, in degrees."""
    if len(patch_size) == 2:
        return 15.0 if max(patch_size) / min(patch_size) > _ELONGATED else 180.0
    return 180.0 if flat(patch_size) else 30.0


def policy(patch_size: Sequence[int]) -> tuple[TransformPlan, ...]:
    """The transforms for a patch of 2 or 3 axes, in the order they are applied.

    `probability` is that of a patch; `..._probability` among the options is that of a parameter or a channel within
    a patch that the transform is applied to.
    """
    dummy_2d = flat(patch_size)
    spatial = {
        "rotation_degrees": rotation_degrees(patch_size),
        "rotation_probability": 0.2,
        "scaling": [0.7, 1.4],
        "scaling_probability": 0.2,
        "dummy_2d": dummy_2d,
    }
    low_resolution = {"zoom": [0.5, 1.0], "channel_probability": 0.5, "dummy_2d": dummy_2d}
    return (
        TransformPlan(name="spatial", probability=1.0, options=spatial),
        TransformPlan(name="gaussian-noise", probability=0.1, options={"variance": [0.0, 0.1]}),
        TransformPlan(name="gaussian-blur", probability=0.2, options={"sigma": [0.5, 1.0], "channel_probability": 0.5}),
        TransformPlan(name="brightness", probability=0.15, options={"factor": [0.75, 1.25]}),
        TransformPlan(name="contrast", probability=0.15, options={"factor": [0.75, 1.25]}),
        TransformPlan(name="low-resolution", probability=0.25, options=low_resolution),
        TransformPlan(name="gamma", probability=0.1, options={"gamma": [0.7, 1.5], "invert": True}),
        TransformPlan(name="gamma", probability=0.3, options={"gamma": [0.7, 1.5], "invert": False}),
        TransformPlan(name="mirror", probability=1.0, options={"axes": list(range(len(patch_size)))}),
    )


def nnunet(configuration: ConfigurationPlan, labels: LabelScheme) -> tuple[TransformPlan, ...]:
    """The whole policy of a configuration: mirroring along its axes alone, a cascade's labels after the image."""
    image = with_mirror_axes(policy(configuration.patch_size), configuration.mirror_axes)
    return image if configuration.previous_stage is None else (*image, *label_augmentation(len(labels.values) - 1))
