"""What an embedding must not depend on, by kind of image: the views that contrastive methods compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from autoseg.batches.augment.policy import Policy, build_policy
from autoseg.plan.record import TransformPlan
from autoseg.records import Record, unknown_name

Flips = Literal["all", "last", "none"]


class ViewPreset(Record):
    """How two views of one place may differ: whatever is drawn here, the embedding learns to disregard.

    Intensities are those after preprocessing (z-scores, for most kinds), so that noise is in standard deviations.

    Attributes:
        disregards: what that is, in words, for the report.
        scale: range of a crop's volume over that of the network's patch, both in mm.
        least_overlap: share of the smaller of two crops that lies in the other; enough that both show the same thing.
        rotation_degrees: rotations about each axis are uniform in +- this, in mm space, about the slice axis alone
            where slices are thick.
        rotation_probability: chance of a view.
        flips: axes that a view may be mirrored along, each with a chance of one half: all, the last, or none.
        transforms: of the values, in order; plug-ins of kind "transform" that keep every voxel's place.
    """

    disregards: str
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.5, 1.5)
    least_overlap: float = Field(default=0.4, ge=0, le=1)
    rotation_degrees: float = Field(default=15.0, ge=0, le=180)
    rotation_probability: float = Field(default=0.5, ge=0, le=1)
    flips: Flips = "all"
    transforms: tuple[TransformPlan, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: {self.scale[0]} is more than {self.scale[1]}")
        return self

    @cached_property
    def policy(self) -> Policy:
        """The transforms, ready to be drawn from.

        Raises:
            ConfigurationError: an unknown transform or option.
        """
        return build_policy(self.transforms)

    def flip_axes(self, dimension: int) -> tuple[int, ...]:
        """Spatial axes, 0 first, that may be mirrored."""
        return {"all": tuple(range(dimension)), "last": (dimension - 1,), "none": ()}[self.flips]


def _values(
    *, factor: float, gamma: float, noise: float, inverted_gamma: float = 0.0, blur: float = 0.5, coarse: float = 0.25
) -> tuple[TransformPlan, ...]:
    """Brightness and contrast within 1 -+ `factor`, gamma within a factor of `gamma`, noise, blur and resolution."""
    factors, gammas = [1 - factor, 1 + factor], [1 / gamma, gamma]
    plans = (
        TransformPlan(name="gaussian-noise", probability=0.5, options={"variance": [0.0, noise]}),
        TransformPlan(name="gaussian-blur", probability=blur, options={"sigma": [0.5, 1.0]}),
        TransformPlan(name="brightness", probability=0.5, options={"factor": factors}),
        TransformPlan(name="contrast", probability=0.5, options={"factor": factors}),
        TransformPlan(name="low-resolution", probability=coarse, options={"zoom": [0.5, 1.0], "dummy_2d": True}),
        TransformPlan(name="gamma", probability=0.5, options={"gamma": gammas}),
        TransformPlan(name="gamma", probability=inverted_gamma, options={"gamma": gammas, "invert": True}),
    )
    return tuple(plan for plan in plans if plan.probability > 0)


PRESETS: Mapping[str, ViewPreset] = MappingProxyType(
    {
        "ct": ViewPreset(
            disregards="pose, noise of the dose and sharpness of the kernel; hardly the values, which have a unit",
            transforms=_values(factor=0.1, gamma=1.2, noise=0.15),
        ),
        "mr": ViewPreset(
            disregards="pose, noise, and brightness, contrast and gamma of the scanner, whose values have no unit",
            transforms=_values(factor=0.4, gamma=1.8, noise=0.15, inverted_gamma=0.25),
        ),
        "pet": ViewPreset(
            disregards="pose, counting noise, resolution and the overall uptake",
            transforms=_values(factor=0.3, gamma=1.3, noise=0.25, blur=0.7, coarse=0.5),
        ),
        "ultrasound": ViewPreset(
            disregards="speckle, gain and compression; the beam comes from above, so that only sides are exchanged",
            flips="last",
            transforms=_values(factor=0.4, gamma=1.6, noise=0.3),
        ),
        "x-ray": ViewPreset(
            disregards="exposure, noise and small turns; the body stands upright, so that only sides are exchanged",
            rotation_degrees=10,
            flips="last",
            transforms=_values(factor=0.3, gamma=1.6, noise=0.15, inverted_gamma=0.25),
        ),
        "microscopy": ViewPreset(
            disregards="any orientation, stain and illumination (each channel by itself), focus and noise",
            rotation_degrees=180,
            rotation_probability=0.8,
            transforms=_values(factor=0.4, gamma=1.6, noise=0.15, inverted_gamma=0.25, blur=0.6),
        ),
        "photograph": ViewPreset(
            disregards="colour cast and illumination, focus, noise and pose",
            rotation_degrees=30,
            transforms=_values(factor=0.4, gamma=1.6, noise=0.1, blur=0.6),
        ),
        "other": ViewPreset(
            disregards="pose, noise, sharpness, and brightness and contrast to a moderate degree",
            transforms=_values(factor=0.25, gamma=1.4, noise=0.15),
        ),
    }
)
"""Kind of image -> its preset."""

_WORDS = MappingProxyType(
    {
        "ct": ("ct", "cbct"),
        "pet": ("pet", "suv", "spect"),
        "ultrasound": ("us", "ultrasound", "echo"),
        "x-ray": ("x-ray", "xray", "radiograph", "cxr", "mammography"),
        "microscopy": ("microscopy", "histology", "em", "fluorescence", "dapi", "h&e"),
        "mr": ("mr", "mri", "t1", "t2", "t1w", "t2w", "t1ce", "t1gd", "flair", "adc", "dwi", "pd"),
    }
)
_COLOURS = ({"r", "g", "b"}, {"red", "green", "blue"})


def preset(name: str) -> ViewPreset:
    """A preset by its name.

    Raises:
        ConfigurationError: an unknown name (with the nearest known one).
    """
    if name not in PRESETS:
        raise unknown_name("kind of image", name, PRESETS)
    return PRESETS[name]


def kind_of_image(channels: Sequence[str]) -> str:
    """The preset that the names of a data set's channels speak for; "other" where they say nothing.

    With several kinds, CT goes before all others, since its values have a unit that must not be disregarded. Three
    colours are a microscope's, the most frequent colour images among segmentation tasks.
    """
    names = [name.strip().casefold() for name in channels]
    if set(names) in _COLOURS:
        return "microscopy"
    for kind, words in _WORDS.items():
        if any(word in words for name in names for word in (name, *name.replace("_", " ").replace("-", " ").split())):
            return kind
    return "other"
