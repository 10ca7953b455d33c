"""What a dataset.json says about channels and labels, in the form of the Decathlon (MSD) and of nnU-Net v1 and v2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from autoseg.data.colour_masks import is_colour
from autoseg.data.labels import LabelScheme
from autoseg.errors import DatasetError

_REMEDY = "mend dataset.json"

_BACKGROUND = re.compile(
    r"background|unlabel|hintergrund|(?<![a-z])(?:bg|bkg|back|no|not|non|none|nothing|void|other|others|rest|remainder|"
    r"empty|outside|exterior|clear|normal|healthy|negative|neg|null|nil|zero|air|unknown|undefined|unannotated|"
    r"unsegmented|fond|fondo|sfondo|achtergrond)(?![a-z])|(?<![a-z])non(?=[a-z])|^\W*\d*$",
    re.IGNORECASE,
)
"""Names of the value 0 that mean background; a name of digits alone says nothing else."""


def parse_channels(description: Mapping[str, Any], where: object) -> tuple[str, ...]:
    """Names of the channels, from `channel_names` or the older `modality`, in the order of their numbers.

    Raises:
        DatasetError: neither field, no channel, or keys that are not numbers.
    """
    value = description.get("channel_names", description.get("modality"))
    if isinstance(value, list) and value:
        return tuple(str(name) for name in value)
    if not isinstance(value, dict) or not value:
        raise DatasetError(
            "the channels are not named",
            where=where,
            got=repr(value),
            expected='"channel_names": {"0": "CT", ...}',
            remedy=_REMEDY,
        )
    try:
        return tuple(str(value[key]) for key in sorted(value, key=int))
    except ValueError:
        raise DatasetError(
            "channels are not numbered", where=where, got=list(value), expected='keys "0", "1", ...', remedy=_REMEDY
        ) from None


def parse_labels(description: Mapping[str, Any], where: object) -> LabelScheme:
    """The label scheme of `labels`, with `regions_class_order` where labels are regions.

    Accepts name -> value (nnU-Net v2), value -> name (MSD, nnU-Net v1) and name -> list of values (regions). The
    name "ignore" marks the value of voxels without annotation. With regions every foreground name is a region. For
    masks that are pictures, colours "#rrggbb" may stand for all values; they get the values of `parse_colours`.

    The value 0 is background if its name says so in any of the usual words ("background", "unlabelled", "other",
    "healthy", ...) or if it has none. With another name ("grass") it is a class like the others. `"zero_is_class"`,
    true or false, decides where it stands in the description.

    Raises:
        DatasetError: no labels, values that are no whole numbers, two names for one value, or a region order that
            does not name a value of the regions for every region.
    """
    colours = parse_colours(description)
    table = description.get("labels")
    if not isinstance(table, dict) or not table:
        raise DatasetError(
            "the labels are not named",
            where=where,
            got=repr(table),
            expected='"labels": {"background": 0, "tumour": 1}',
            remedy=_REMEDY,
        )
    if colours:
        table = _numbered(table, colours)
        order = description.get("regions_class_order")
        numbers = [colours.get(str(entry).lower(), entry) for entry in order] if isinstance(order, list) else order
        description = {**description, "regions_class_order": numbers}
    named = _name_to_values(table, where)
    ignore = next((name for name in named if name.casefold() == "ignore"), None)
    ignore_value = None if ignore is None else _single(ignore, named.pop(ignore), where)
    regional = any(isinstance(value, list) for value in table.values())
    background = next((name for name, values in named.items() if values == (0,)), "background")
    foreground = {name: values for name, values in named.items() if values != (0,)}
    names = {name: _single(name, values, where) for name, values in foreground.items() if not regional}
    if regional:
        names = {name: values[0] for name, values in foreground.items() if len(values) == 1}
    taken = [0, *names.values()]
    labelled = {0, *(value for values in foreground.values() for value in values)}
    if (len(set(taken)) < len(taken) and not regional) or ignore_value in labelled:
        raise DatasetError("two labels have the same value", where=where, got=table, remedy=_REMEDY)
    ordered = dict(sorted(names.items(), key=lambda item: item[1]))
    zero_is_class = not regional and bool(names) and _zero_is_class(description, background, where)
    if zero_is_class and min(labelled | {ignore_value or 0}) < 0:
        raise DatasetError("0 is a class, and others are negative", where=where, got=table, remedy=_REMEDY)
    return LabelScheme(
        names={background: 0, **ordered},
        zero_is_class=zero_is_class,
        regions=foreground if regional else {},
        region_order=_region_order(description, foreground, where) if regional else (),
        ignore=ignore_value,
    )


def parse_colours(description: Mapping[str, Any]) -> dict[str, int]:
    """Colour "#rrggbb" -> label value, of a dataset.json whose `labels` have colours for all values; else empty.

    The colour of "background" is 0, the others are 1, 2, ... in the order in which they stand.
    """
    table = description.get("labels")
    if not isinstance(table, dict) or not table:
        return {}
    if all(is_colour(key) and isinstance(name, str) for key, name in table.items()):
        entries = [(str(name), [key]) for key, name in table.items()]
    else:
        entries = [(name, value if isinstance(value, list) else [value]) for name, value in table.items()]
    listed = [(name, colour) for name, colours in entries for colour in colours]
    if not listed or not all(is_colour(colour) for _, colour in listed):
        return {}
    background = {colour.lower() for name, colour in listed if name.casefold() == "background"}
    others = dict.fromkeys(colour.lower() for _, colour in listed if colour.lower() not in background)
    return dict.fromkeys(background, 0) | {colour: number for number, colour in enumerate(others, start=1)}


def discovered_labels(values: set[int]) -> LabelScheme:
    """A scheme for labels that nobody described: every value but 0 is a class named by its value."""
    return LabelScheme(names={"background": 0} | {str(value): value for value in sorted(values - {0})})


def _numbered(table: Mapping[str, Any], colours: Mapping[str, int]) -> dict[str, Any]:
    """The table of labels with numbers for colours."""
    if all(is_colour(key) for key in table):
        return {str(colours[key.lower()]): name for key, name in table.items()}
    return {
        name: [colours[item.lower()] for item in value] if isinstance(value, list) else colours[value.lower()]
        for name, value in table.items()
    }


def _zero_is_class(description: Mapping[str, Any], name: str, where: object) -> bool:
    said = description.get("zero_is_class")
    if said is None:
        return _BACKGROUND.search(name) is None
    if not isinstance(said, bool):
        raise DatasetError(
            '"zero_is_class" is neither true nor false', where=where, got=repr(said), expected="true or false",
            remedy=_REMEDY,
        )  # fmt: skip
    return said


def contradictions(description: Mapping[str, Any], labels: int, ending: str) -> tuple[str, ...]:
    """What a dataset.json says otherwise than its folder, in words.

    Args:
        description: the content of dataset.json.
        labels: how many label files there are.
        ending: of most images.
    """
    told = []
    count, said = description.get("numTraining"), description.get("file_ending")
    if isinstance(count, int) and count != labels:
        told.append(f"dataset.json says that there are {count} training cases; there are {labels} labels")
    if isinstance(said, str) and ending and said.lower() != ending:
        told.append(f"dataset.json says that files end in {said}; most images end in {ending}")
    return tuple(told)


def _name_to_values(table: Mapping[str, Any], where: object) -> dict[str, tuple[int, ...]]:
    turned: dict[str, Any] = dict(table)
    if all(isinstance(value, str) and not value.lstrip("-").isdigit() for value in table.values()):
        turned = {}
        for value, name in table.items():
            # Two values of one name (as in {"0": "other", "3": "other"}) stay two labels.
            turned[name if name not in turned else f"{name} ({value})"] = value
    result = {}
    for name, value in turned.items():
        try:
            result[name] = tuple(_whole(item) for item in (value if isinstance(value, list) else [value]))
        except (TypeError, ValueError):
            result[name] = ()
        if not result[name]:
            raise DatasetError(
                f"label {name!r} has no whole number as its value",
                where=where,
                got=repr(value),
                expected="a whole number, or a list of them for a region",
                remedy=_REMEDY,
            )
    return result


def _region_order(
    description: Mapping[str, Any], regions: Mapping[str, tuple[int, ...]], where: object
) -> tuple[int, ...]:
    order = description.get("regions_class_order")
    try:
        values = tuple(_whole(value) for value in order)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        values = ()
    if len(values) != len(regions):
        raise DatasetError(
            "regions need an order in which they are written",
            where=where,
            got=f'"regions_class_order": {order}',
            expected=f"one label value for each of {', '.join(regions)}",
            remedy='add "regions_class_order", outer regions first',
        )
    known = sorted({value for region in regions.values() for value in region})
    if strangers := [value for value in values if value not in known]:
        raise DatasetError(
            '"regions_class_order" names values that no region has',
            where=where,
            got=strangers,
            expected=f"values among {known}",
            remedy=_REMEDY,
        )
    return values


def _single(name: str, values: tuple[int, ...], where: object) -> int:
    if len(values) != 1:
        raise DatasetError(f"label {name!r} must have one value", where=where, got=list(values), remedy=_REMEDY)
    return values[0]


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(value)
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(value)
    return number
