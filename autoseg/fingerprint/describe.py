"""What is unusual about a data set, in words: each rule looks at one thing and yields at most a few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from autoseg.fingerprint.measure import Measurement
from autoseg.log import counted

_FEW_CASES = 20
_SPREAD = 3.0  # greatest over smallest spacing or length between cases
_ANISOTROPY = 3.0
_RARE = 0.001  # share of an image's voxels
_IMBALANCE = 50.0
_MISSING = 0.25  # share of cases
_AIR_HU = -900.0  # Hounsfield units: air is -1000
_BONE_HU = 300.0
_INTENSITY_SPREAD = 10.0
_AXES = "zyx"


def describe(measured: Sequence[Measurement], channels: Sequence[str]) -> tuple[str, ...]:
    """Sentences for the user about all that is unusual in the measured cases; none if nothing is.

    Args:
        measured: the usable cases.
        channels: channel names.
    """
    if not measured:
        return ()
    rules = (_few_cases, _spacings, _shapes, _anisotropy, _classes, _imbalance, _border)
    sentences = [sentence for rule in rules for sentence in rule(measured)]
    sentences += [s for rule in (_hounsfield, _not_hounsfield, _scales) for s in rule(measured, channels)]
    return tuple(sentences)


def _few_cases(measured: Sequence[Measurement]) -> Iterator[str]:
    if len(measured) < _FEW_CASES:
        yield f"only {counted(len(measured), 'case')}: scores will vary much between folds"


def _spacings(measured: Sequence[Measurement]) -> Iterator[str]:
    spacings = np.array([item.fingerprint.spacing for item in measured])
    for axis, name in enumerate(_AXES):
        low, high = spacings[:, axis].min(), spacings[:, axis].max()
        if high > _SPREAD * low:
            yield f"spacing along {name} differs much between cases: {low:.3g} to {high:.3g} mm"


def _shapes(measured: Sequence[Measurement]) -> Iterator[str]:
    shapes = np.array([item.fingerprint.shape_after_crop for item in measured])
    for axis, name in enumerate(_AXES):
        low, high = shapes[:, axis].min(), shapes[:, axis].max()
        if high > _SPREAD * low:
            yield f"images differ much in size along {name}: {low} to {high} voxels"


def _anisotropy(measured: Sequence[Measurement]) -> Iterator[str]:
    spacing = np.median([item.fingerprint.spacing for item in measured], axis=0)
    lengths = np.median([item.fingerprint.shape_after_crop for item in measured], axis=0)
    used = [axis for axis in range(3) if lengths[axis] > 1]  # a plane image has no third spacing
    ratio = max(spacing[used]) / min(spacing[used])
    if ratio > _ANISOTROPY:
        words = " x ".join(f"{spacing[axis]:.3g}" for axis in used)
        yield f"voxels are anisotropic: {words} mm ({_AXES[used[0] :]}), {ratio:.1f} times longer than wide"


def _classes(measured: Sequence[Measurement]) -> Iterator[str]:
    for name in _names(measured):
        looked_for = [item for item in measured if name in item.fingerprint.class_voxels]
        voxels = np.array([item.fingerprint.class_voxels[name] for item in looked_for])
        present = voxels > 0
        if not present.any():
            yield f"class {name} appears in no case: it cannot be learned"
            continue
        if np.mean(~present) > _MISSING:
            yield f"class {name} is missing in {np.count_nonzero(~present)} of {counted(len(looked_for), 'case')}"
        sizes = np.array([np.prod(item.fingerprint.shape) for item in looked_for])
        share = np.median(voxels[present] / sizes[present])
        if share < _RARE:
            yield f"class {name} is rare: {share:.3%} of the voxels of a typical image that has it"


def _names(measured: Sequence[Measurement]) -> list[str]:
    """The classes that were looked for in any case."""
    return list(dict.fromkeys(name for item in measured for name in item.fingerprint.class_voxels))


def _imbalance(measured: Sequence[Measurement]) -> Iterator[str]:
    totals: dict[str, float] = {}
    for name in _names(measured):
        voxels = [item.fingerprint.class_voxels[name] for item in measured if name in item.fingerprint.class_voxels]
        totals[name] = sum(voxels) * len(measured) / len(voxels)  # as if it had been looked for in every case
    totals = {name: total for name, total in totals.items() if total}
    if len(totals) < 2:
        return
    most, least = max(totals, key=lambda name: totals[name]), min(totals, key=lambda name: totals[name])
    if totals[most] > _IMBALANCE * totals[least]:
        yield f"classes are unbalanced: {most} has {totals[most] / totals[least]:.0f} times the voxels of {least}"


def _border(measured: Sequence[Measurement]) -> Iterator[str]:
    cut = sum(item.at_border for item in measured)
    if cut > _MISSING * len(measured):
        cases = f"{cut} of {counted(len(measured), 'case')}"
        yield f"foreground touches the image border in {cases}: structures may be cut off"


def _hounsfield(measured: Sequence[Measurement], channels: Sequence[str]) -> Iterator[str]:
    for index, name in enumerate(channels):
        if name.casefold() != "ct" and _looks_like_ct(measured, index):
            yield (
                f"channel {name!r} looks like Hounsfield units but is not named CT, so it is normalised an image at a "
                f'time: name it "CT" in dataset.json to use one intensity window for all'
            )


def _not_hounsfield(measured: Sequence[Measurement], channels: Sequence[str]) -> Iterator[str]:
    for index, name in enumerate(channels):
        negative = sum(item.ranges[index][0] < 0 for item in measured)
        if name.casefold() == "ct" and not negative:
            yield f"channel {name!r} has no negative values: is it in Hounsfield units?"


def _scales(measured: Sequence[Measurement], channels: Sequence[str]) -> Iterator[str]:
    for index, name in enumerate(channels):
        statistics = [item.fingerprint.intensities[index] for item in measured]
        medians = [abs(s.median) for s in statistics if s is not None and s.median]
        if medians and not _looks_like_ct(measured, index) and max(medians) > _INTENSITY_SPREAD * min(medians):
            yield (
                f"foreground intensities of channel {name!r} differ by orders of magnitude between cases: "
                f"medians from {min(medians):.3g} to {max(medians):.3g}"
            )


def _looks_like_ct(measured: Sequence[Measurement], index: int) -> bool:
    """Whole numbers from air to bone in most cases."""
    like = [
        item.whole_numbers[index] and item.ranges[index][0] <= _AIR_HU and item.ranges[index][1] >= _BONE_HU
        for item in measured
    ]
    return 2 * sum(like) > len(like)
