"""Which axes may be mirrored, and which may not because labels differ by the patient's side alone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autoseg.plan.record import ConfigurationPlan, Plan, TransformPlan

AXES = "zyx"
"""Letters of the image axes in array order."""

LEFT = frozenset({"left", "l", "lt", "lh"})
RIGHT = frozenset({"right", "r", "rt", "rh"})

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_LISTED = 3  # pairs named in the notice


def sided_pairs(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs (left, right) of names that are the same but for a word that names the side.

    Words are separated by anything that is no letter, by a change to upper case and by digits: "kidney_left" and
    "Kidney R" make a pair, "leftover" and "bright" name no side, and "left atrium" alone is no pair.
    """
    sides: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = [word.casefold() for word in _WORD.findall(name)]
        is_left, is_right = not LEFT.isdisjoint(words), not RIGHT.isdisjoint(words)
        if is_left != is_right:
            rest = tuple(word for word in words if word not in LEFT | RIGHT)
            sides.setdefault(rest, {}).setdefault("left" if is_left else "right", name)
    return tuple((pair["left"], pair["right"]) for pair in sides.values() if len(pair) == 2)


def respect_sides(plan: Plan, left_right_axis: int | None) -> Plan:
    """The plan without mirroring along the patient's left-right axis where labels come in left and right.

    A mirrored left kidney looks like a right one, so that a network could not tell them apart. Where the axis is
    not known no axis is mirrored. The plan's warnings say what was done; a plan without such labels is returned as it
    is.

    Args:
        plan: of any planner.
        left_right_axis: image axis (0 z, 1 y, 2 x) that runs from right to left; None if it is not known.
    """
    pairs = sided_pairs(plan.labels.foreground)
    if not pairs:
        return plan
    off = AXES if left_right_axis is None else AXES[left_right_axis]
    configurations = {
        name: mirrored(configuration, tuple(axis for axis in configuration.mirror_axes if letters[axis] not in off))
        for name, configuration in plan.configurations.items()
        for letters in [axis_letters(plan, configuration)]
    }
    if configurations == plan.configurations:
        return plan
    which = ", ".join(f"{left} / {right}" for left, right in pairs[:_LISTED])
    if len(pairs) > _LISTED:
        which += f" and {len(pairs) - _LISTED} more pairs"
    axes = (
        "no axis is mirrored, because the cases do not agree on which one runs from left to right"
        if left_right_axis is None
        else f"the axis from left to right ({off}) is not mirrored"
    )
    letters = "yx" if plan.dimension == 2 else AXES
    note = f"labels differ by side ({which}): {axes}; --set training.mirror_axes={letters} mirrors all"
    return plan.with_(configurations=configurations, warnings=(*plan.warnings, note))


def axis_letters(plan: Plan, configuration: ConfigurationPlan) -> str:
    """The image axis ("z", "y" or "x") that each axis of a configuration's patch is."""
    return "".join(AXES[axis] for axis in plan.transpose_forward[-configuration.dimension :])


def mirrored(configuration: ConfigurationPlan, axes: tuple[int, ...]) -> ConfigurationPlan:
    """The configuration with mirroring along these patch axes only, in training and in prediction."""
    return configuration.with_(mirror_axes=axes, augmentation=with_mirror_axes(configuration.augmentation, axes))


def with_mirror_axes(augmentation: tuple[TransformPlan, ...], axes: tuple[int, ...]) -> tuple[TransformPlan, ...]:
    """The augmentation with mirroring along these patch axes only: the transform is changed, dropped or added last."""
    if not axes:
        return tuple(step for step in augmentation if step.name != "mirror")
    if not any(step.name == "mirror" for step in augmentation):
        return (*augmentation, TransformPlan(name="mirror", options={"axes": list(axes)}))
    return tuple(
        step.with_(options={**step.options, "axes": list(axes)}) if step.name == "mirror" else step
        for step in augmentation
    )
