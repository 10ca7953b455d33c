"""Label pictures in which each colour is a class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.data.image import Image, Remark
from autoseg.data.raster import ALPHA_CHANNEL, without_alpha
from autoseg.errors import ConfigurationError, ImageError
from autoseg.log import counted

_COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
_LISTED = 12  # colours that an error lists
_MANY_COLOURS = 64  # of which no mask consists
_PHOTO_COLOURS = 2**16  # of which no mask consists, whatever compression has made of it
_SCATTERED = 0.2  # of all pixels: where more have colours of their own, there are no classes
_EQUAL = 12.0  # distance in RGB of colours that rounding sets apart, where there are more than those of a mask
_FEW = 1e-3  # of all pixels, below which a colour is no class where there are more colours than those of a mask
_NEAR = 48.0  # distance in RGB at which a rare colour is taken for a blurred one
_BETWEEN = 24.0  # distance from the line between two colours at which a rare one is taken for a mixture of both
_RARE = 0.1  # of the pixels of the colours that a blurred one comes from


@dataclass(frozen=True)
class ColourTable:
    """The colours of label pictures.

    Attributes:
        counts: pixels by colour (0xrrggbb).
        main: colours that are classes in all likelihood, sorted; empty for what is no mask.
        blurred: colours that are rare and near one of those or between two of them, or very rare among very many, as
            smooth edges and JPEG make them.
    """

    counts: Mapping[int, int]
    main: tuple[int, ...]
    blurred: frozenset[int]


def is_colour_mask(image: Image) -> bool:
    """Whether an array could hold colours: three channels of eight bits, or of sixteen, that are not all equal."""
    array = image.array
    if len(array) != 3 or array.dtype not in (np.uint8, np.uint16):
        return False
    return not all(np.array_equal(array[0], channel) for channel in array[1:])


def parse_colour(text: str) -> int:
    """A colour "#rrggbb" as the number 0xrrggbb.

    Raises:
        ConfigurationError: another form.
    """
    if not is_colour(text):
        raise ConfigurationError("this is no colour", got=repr(text), expected='"#rrggbb", such as "#ff0000"')
    return int(text[1:], 16)


def is_colour(text: object) -> bool:
    """Whether something is a colour in the form "#rrggbb"."""
    return isinstance(text, str) and _COLOUR.fullmatch(text) is not None


def colour_counts(image: Image, path: Path) -> dict[int, int]:
    """Pixels by colour (0xrrggbb) of a label picture.

    Raises:
        ImageError: colours of more than eight bits.
    """
    colours, counts = np.unique(_packed(image, path), return_counts=True)
    return {int(colour): int(count) for colour, count in zip(colours, counts, strict=True)}


def colour_table(pictures: Iterable[Mapping[int, int]]) -> ColourTable:
    """The colours of label pictures, from the `colour_counts` of each."""
    total: Counter[int] = Counter()
    for counts in pictures:
        total.update(counts)
    return _sorted_out(dict(sorted(total.items(), key=lambda item: (-item[1], item[0]))))


def refusal(table: ColourTable, path: Path) -> ImageError:
    """The error for a label picture whose colours nobody explained, with a mapping that can be copied."""
    return ImageError(
        "the label picture has several channels that differ: its colours, and nothing says which class each one is",
        where=path,
        got=listed_colours(table),
        expected="one grey channel with a whole number per pixel, or a value for each colour",
        remedy=proposed_values(table),
    )


def labels_of_colours(image: Image, path: Path, colours: Mapping[str, int], *, nearest: bool) -> Image:
    """Label values by colour.

    Args:
        image: a picture, (C, Z, Y, X) with one channel (grey) or three, and perhaps opacity after them; black and
            white of one bit are 0 and 1.
        path: of the picture.
        colours: "#rrggbb" -> value.
        nearest: whether colours that are not listed count as the nearest one that is, by the distance in RGB. The edge
            between two classes may then get the colour of a third one.

    Returns:
        Array (1, Z, Y, X) of integers; with a remark on how many pixels have another colour than those listed.

    Raises:
        ImageError: not one or three channels of eight bits, or colours that are not listed.
        ConfigurationError: a key that is no colour.
    """
    if len(image.array) in (2, 4):
        array, opacity = without_alpha(image.array, len(image.array) - 1, path, labels=True)
        kept = tuple(remark for remark in image.remarks if remark.code != ALPHA_CHANNEL)
        image = replace(image, array=array, remarks=kept + opacity)
    packed = _packed(image, path)
    known = np.asarray([parse_colour(text) for text in colours], np.int64)
    values = np.asarray(list(colours.values()), np.int64)
    present, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    if packed.size and not len(known):
        raise ImageError("no colour has a label value", where=path)
    exact = np.isin(present, known)
    remarks: tuple[Remark, ...] = ()
    if not exact.all():
        unknown = {int(colour): int(count) for colour, count in zip(present[~exact], counts[~exact], strict=True)}
        ordered = dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0])))
        got = f"{_pixels(sum(ordered.values()))} of {counted(len(ordered), 'colour')}: {_counts(ordered)}"
        if not nearest:
            raise ImageError(
                "the label picture has colours that no label value is given for",
                where=path,
                got=got,
                expected=", ".join(f"{text}={value}" for text, value in colours.items()),
                remedy="give them a value in --label-colours, or let each count as the nearest colour that has one "
                "(--nearest-colours)",
            )
        remarks = (
            Remark(
                "nearest-colours",
                "colours of the label picture that are not listed count as the nearest one that is",
                got=got,
                remedy="look whether these are blurred edges; if not, give the colour a value of its own",
            ),
        )
    distances = np.linalg.norm(_unpacked(present)[:, None] - _unpacked(known)[None], axis=-1)
    table = values[distances.argmin(axis=1)] if len(present) else np.zeros(0, np.int64)
    fitting = np.uint8 if not len(values) or (values.min() >= 0 and values.max() <= 255) else np.int32
    labels = table.astype(fitting)[inverse].reshape(packed.shape)
    return replace(image, array=labels[None], remarks=image.remarks + remarks)


def listed_colours(table: ColourTable) -> str:
    """The most frequent colours with their pixels, and how many are blurred, in words."""
    text = f"{counted(len(table.counts), 'colour')}: {_counts(table.counts)}"
    if table.blurred:
        pixels = sum(table.counts[colour] for colour in table.blurred)
        share = pixels / sum(table.counts.values())
        text += (
            f"; {len(table.blurred)} of them, {_pixels(pixels)} ({share:.2%}), are rare and most likely made by "
            "smooth edges or JPEG"
        )
    return text


def proposed_values(table: ColourTable) -> str:
    """What to do: the option that gives each colour a value, black or else the most frequent one 0."""
    if not table.main:
        return "these are more colours than a mask has: is it the image? Else write the labels as one grey channel"
    background, distance = _nearest(0, list(table.main))
    if distance > _NEAR:  # no black
        background = max(table.main, key=lambda colour: (table.counts[colour], -colour))
    ordered = [background, *(colour for colour in table.main if colour != background)]
    option = ",".join(f"{_text(colour)}={value}" for value, colour in enumerate(ordered))
    nearest = " --nearest-colours (the others then count as the nearest of these)" if table.blurred else ""
    return f"say what they are, such as --label-colours '{option}'{nearest}, or name the colours in dataset.json"


def _packed(image: Image, path: Path) -> np.ndarray:
    """Colours (Z, Y, X) as numbers 0xrrggbb."""
    array = image.array
    if array.dtype == np.uint16 and np.array_equal((array >> 8) * 257, array):
        array = (array >> 8).astype(np.uint8)
    if len(array) == 1 and array.dtype == np.uint8 and array.size and array.max() == 1:
        array = array * np.uint8(255)  # black and white
    if len(array) not in (1, 3) or array.dtype != np.uint8:
        raise ImageError(
            "the label picture has no colours of eight bits",
            where=path,
            got=f"{counted(len(array), 'channel')} of {array.dtype}",
            expected="grey or RGB of eight bits",
            remedy="write the labels as one grey channel",
        )
    red, green, blue = (array[channel % len(array)].astype(np.int64) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def _unpacked(colours: np.ndarray) -> np.ndarray:
    """Colours (N) as numbers 0xrrggbb -> (N, 3)."""
    return np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1).astype(np.float64)


def _sorted_out(counts: Mapping[int, int]) -> ColourTable:
    """Main and blurred colours; the most frequent come first and are not blurred."""
    pixels: dict[int, int] = {}  # of each main colour with those that are near it
    blurred: set[int] = set()
    total, scattered = sum(counts.values()), 0
    nothing = ColourTable(counts, (), frozenset())
    if len(counts) > _PHOTO_COLOURS:
        return nothing
    equal, few = (_EQUAL, _FEW * total) if len(counts) > _MANY_COLOURS else (0.0, 0.0)
    for colour, count in counts.items():
        frequent = [other for other, size in pixels.items() if count <= _RARE * size]
        nearest, distance = _nearest(colour, list(pixels))
        if distance <= equal or (nearest in frequent and distance <= _NEAR):
            pixels[nearest] += count
            blurred.add(colour)
        elif _is_between(colour, frequent):
            blurred.add(colour)
        elif count < few:
            scattered += count
            blurred.add(colour)
        else:
            pixels[colour] = count
        if len(pixels) > _MANY_COLOURS or scattered > _SCATTERED * total:
            return nothing
    return ColourTable(counts, tuple(sorted(pixels)), frozenset(blurred))


def _nearest(colour: int, others: list[int]) -> tuple[int, float]:
    """The nearest of other colours and its distance in RGB, which is infinite where there is none."""
    if not others:
        return colour, float("inf")
    distances = np.linalg.norm(_unpacked(np.asarray(others)) - _unpacked(np.asarray([colour])), axis=1)
    return others[int(distances.argmin())], float(distances.min())


def _is_between(colour: int, others: list[int]) -> bool:
    """Whether a colour lies near the line between two others."""
    if len(others) < 2:
        return False
    point, ends = _unpacked(np.asarray([colour]))[0], _unpacked(np.asarray(others))
    first, second = np.triu_indices(len(ends), k=1)
    lines = ends[second] - ends[first]
    part = ((point - ends[first]) * lines).sum(axis=1) / (lines**2).sum(axis=1)
    beside = np.linalg.norm(point - ends[first] - part[:, None] * lines, axis=1)
    return bool(((beside <= _BETWEEN) & (part > 0) & (part < 1)).any())


def _counts(counts: Mapping[int, int]) -> str:
    shown = [f"{_text(colour)} ({_pixels(count)})" for colour, count in list(counts.items())[:_LISTED]]
    return ", ".join(shown) + (", ..." if len(counts) > _LISTED else "")


def _pixels(count: int) -> str:
    return counted(count, "pixel")


def _text(colour: int) -> str:
    return f"#{colour:06x}"
