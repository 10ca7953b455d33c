"""Label pictures in which each colour is a class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw

from autoseg.data.check import read_and_check
from autoseg.data.colour_masks import colour_counts, colour_table
from autoseg.data.dataset import Reading
from autoseg.data.description import parse_colours, parse_labels
from autoseg.data.discovery import discover
from autoseg.data.files import read_image, read_labels, write_image
from autoseg.data.image import Geometry, Image
from autoseg.errors import AutosegError, ConfigurationError, DatasetError, ImageError

COLOURS = {"#000000": 0, "#ff0000": 1, "#00FF00": 2, "#800080": 7}
PALETTE = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [128, 0, 128]], np.uint8)
VALUES = np.array([0, 1, 2, 7])
CLASSES = np.random.default_rng(0).integers(0, 4, (12, 17))
READING = Reading(label_colours=COLOURS)


def write_mask(path: Path, classes: np.ndarray = CLASSES, palette: np.ndarray = PALETTE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(palette[classes]).save(path)
    return path


def drawn(path: Path, *, smooth: bool) -> np.ndarray:
    """A mask of two discs and their classes; with smooth edges as drawing programs make them."""
    size, finer = 128, 4
    picture = Picture.new("RGB", (size * finer, size * finer))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 40, 240, 240), fill=(255, 0, 0))
    draw.ellipse((280, 250, 480, 480), fill=(0, 255, 0))
    small = picture.resize((size, size), Picture.Resampling.BOX if smooth else Picture.Resampling.NEAREST)
    small.save(path)
    array = np.asarray(picture.resize((size, size), Picture.Resampling.NEAREST))
    return (array[..., 0] > 0) + 2 * (array[..., 1] > 0)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_each_colour_has_its_value(tmp_path: Path, ending: str) -> None:
    labels = read_labels(write_mask(tmp_path / f"x{ending}"), reading=READING)
    assert np.array_equal(labels.array[0, 0], VALUES[CLASSES])
    assert labels.array.dtype == np.uint8
    assert labels.remarks == ()


def test_palettes_opacity_grey_and_wide_numbers_are_colours_too(tmp_path: Path) -> None:
    indexed = Picture.fromarray((3 - CLASSES).astype(np.uint8), "P")
    indexed.putpalette(PALETTE[::-1].ravel().tolist())
    indexed.save(tmp_path / "palette.png")
    opacity = np.where(CLASSES > 0, 120, 0).astype(np.uint8)
    Picture.fromarray(np.dstack([PALETTE[CLASSES], opacity])).save(tmp_path / "over.png")
    wide = np.moveaxis(PALETTE[CLASSES], -1, 0)[:, None].astype(np.uint16) * np.uint16(257)
    write_image(tmp_path / "wide.tif", Image(wide, Geometry.plane()))
    for name in ("palette.png", "over.png", "wide.tif"):
        assert np.array_equal(read_labels(tmp_path / name, reading=READING).array[0, 0], VALUES[CLASSES]), name
    Picture.fromarray((CLASSES * 0).astype(np.uint8)).save(tmp_path / "empty.png")
    assert not read_labels(tmp_path / "empty.png", reading=READING).array.any()
    Picture.fromarray(CLASSES > 1).save(tmp_path / "bits.png")
    two = Reading(label_colours={"#000000": 0, "#ffffff": 5})
    assert np.array_equal(read_labels(tmp_path / "bits.png", reading=two).array[0, 0], 5 * (CLASSES > 1))


def test_a_volume_of_colours(tmp_path: Path) -> None:
    pages = [Picture.fromarray(PALETTE[np.roll(CLASSES, number, axis=0)]) for number in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    labels = read_labels(tmp_path / "x.tif", reading=READING).array[0]
    assert np.array_equal(labels, [VALUES[np.roll(CLASSES, number, axis=0)] for number in range(3)])


def test_without_values_the_colours_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="several channels that differ") as caught:
        read_labels(write_mask(tmp_path / "x.png"))
    counts = np.bincount(CLASSES.ravel())
    assert caught.value.got is not None
    assert caught.value.got.startswith("4 colours: ")
    for colour, count in zip(("#000000", "#ff0000", "#00ff00", "#800080"), counts, strict=True):
        assert f"{colour} ({count} pixels)" in caught.value.got
    assert "--label-colours '#000000=0,#00ff00=1,#800080=2,#ff0000=3'" in str(caught.value.remedy)
    assert "--nearest-colours" not in str(caught.value.remedy)


def test_colours_of_smooth_edges_and_jpeg_are_told_apart(tmp_path: Path) -> None:
    drawn(tmp_path / "smooth.png", smooth=True)
    Picture.open(tmp_path / "smooth.png").save(tmp_path / "x.jpg", quality=90)
    for name in ("smooth.png", "x.jpg"):
        image = read_image(tmp_path / name)
        table = colour_table([colour_counts(image, tmp_path / name)])
        assert len(table.main) == 3, name
        assert set(table.main) | table.blurred == set(table.counts)
        with pytest.raises(ImageError, match="made by smooth edges or JPEG") as caught:
            read_labels(tmp_path / name)
        assert "--nearest-colours" in str(caught.value.remedy)


def test_other_colours_are_an_error_unless_the_nearest_is_asked_for(tmp_path: Path) -> None:
    classes = drawn(tmp_path / "x.png", smooth=True)
    array = np.asarray(Picture.open(tmp_path / "x.png")).astype(int)
    pure = np.isin(array, (0, 255)).all(axis=-1)
    colours = {"#000000": 0, "#ff0000": 1, "#00ff00": 2}
    with pytest.raises(ImageError, match=f"got:      {(~pure).sum()} pixels of"):
        read_labels(tmp_path / "x.png", reading=Reading(label_colours=colours))
    labels = read_labels(tmp_path / "x.png", reading=Reading(label_colours=colours, nearest_colours=True))
    expected = np.select([array[..., 0] > 127, array[..., 1] > 127], [1, 2])
    assert np.array_equal(labels.array[0, 0], expected)
    assert (labels.array[0, 0] != classes).mean() < 0.02
    (remark,) = labels.remarks
    assert remark.code == "nearest-colours"
    assert remark.got is not None
    assert remark.got.startswith(f"{(~pure).sum()} pixels of ")


def test_a_photo_is_no_mask(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Picture.fromarray(photo).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match="more colours than a mask has"):
        read_labels(tmp_path / "x.png")


def test_wrong_colours_are_refused(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "x.png")
    for wrong in ("red", "#ff00", "ff0000", "#gg0000"):
        with pytest.raises(ConfigurationError, match="no colour"):
            read_labels(path, reading=Reading(label_colours={wrong: 1}))
    deep = np.moveaxis(PALETTE[CLASSES], -1, 0)[:, None].astype(np.uint16) * np.uint16(99)
    write_image(tmp_path / "deep.tif", Image(deep, Geometry.plane()))
    with pytest.raises(ImageError, match="no colours of eight bits"):
        read_labels(tmp_path / "deep.tif", reading=READING)


def data_set(folder: Path, description: dict[str, object] | None = None) -> Path:
    images, labels = ("imagesTr", "labelsTr") if description else ("images", "labels")
    for number in range(3):
        classes = np.roll(CLASSES, number, axis=1) % (2 + number)
        write_mask(folder / labels / f"c{number}.png", classes)
        grey = np.random.default_rng(number).integers(0, 256, CLASSES.shape, dtype=np.uint8)
        (folder / images).mkdir(exist_ok=True)
        Picture.fromarray(grey).save(folder / images / (f"c{number}_0000.png" if description else f"c{number}.png"))
    if description:
        (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def test_a_folder_of_colour_masks_proposes_values_for_all_of_them(tmp_path: Path) -> None:
    folder = data_set(tmp_path)
    with pytest.raises(DatasetError, match="3 pictures with 4 colours") as caught:
        discover(folder)
    option = str(caught.value.remedy).split("'")[1]
    colours = {colour: int(value) for colour, value in (entry.split("=") for entry in option.split(","))}
    dataset = discover(folder, reading=Reading(label_colours=colours))
    assert dataset.labels.names == {"background": 0, "1": 1, "2": 2, "3": 3}
    for case in dataset.training:
        assert read_and_check(case, dataset).problems == ()


def test_one_colour_mask_among_others_is_left_to_the_check(tmp_path: Path) -> None:
    folder = data_set(tmp_path)
    for number in range(2):
        Picture.fromarray((CLASSES > 1).astype(np.uint8)).save(folder / "labels" / f"c{number}.png")
    dataset = discover(folder)
    problems = [read_and_check(case, dataset).problems for case in dataset.training]
    assert [bool(found) for found in problems] == [False, False, True]
    assert "--label-colours" in str(problems[2][0].remedy)


def test_a_dataset_json_may_name_colours(tmp_path: Path) -> None:
    table = {"vessel": "#FF0000", "background": "#000000", "nerve": "#00ff00", "ignore": "#800080"}
    description = {"channel_names": {"0": "grey"}, "labels": table, "numTraining": 3, "file_ending": ".png"}
    dataset = discover(data_set(tmp_path, description))
    assert dataset.labels.names == {"background": 0, "vessel": 1, "nerve": 2}
    assert dataset.labels.ignore == 3
    for number, case in enumerate(dataset.training):
        assert case.label is not None
        checked = read_and_check(case, dataset)
        assert checked.labels is not None
        assert checked.problems == ()
        assert np.array_equal(checked.labels[0], np.roll(CLASSES, number, axis=1) % (2 + number))
    other = {"#000000": 0, "#ff0000": 2, "#00ff00": 1, "#800080": 3}
    assert discover(tmp_path, reading=Reading(label_colours=other)).training[0].reading.label_colours == other


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"background": "#ffffff", "a": "#000000"}, {"#ffffff": 0, "#000000": 1}),
        ({"#ffffff": "background", "#0000FF": "a"}, {"#ffffff": 0, "#0000ff": 1}),
        ({"a": "#0000ff", "b": "#00ff00"}, {"#0000ff": 1, "#00ff00": 2}),
        ({"all": ["#0000ff", "#00ff00"], "background": "#000000", "core": ["#00ff00"]},
         {"#000000": 0, "#0000ff": 1, "#00ff00": 2}),
        ({"background": 0, "a": 1}, {}),
        ({"0": "background", "1": "a"}, {}),
        ({"background": 0, "a": "#ff0000"}, {}),
    ],
)  # fmt: skip
def test_values_of_named_colours(labels: dict[str, object], values: dict[str, int]) -> None:
    assert parse_colours({"labels": labels}) == values


def test_regions_of_colours() -> None:
    labels = {"background": "#000000", "all": ["#0000ff", "#00ff00"], "core": ["#00ff00"]}
    scheme = parse_labels({"labels": labels, "regions_class_order": ["#0000ff", "#00ff00"]}, "here")
    assert scheme.regions == {"all": (1, 2), "core": (2,)}
    assert scheme.region_order == (1, 2)


def test_colours_beside_numbers_are_no_labels() -> None:
    with pytest.raises(AutosegError, match="no whole number"):
        parse_labels({"labels": {"background": 0, "a": "#ff0000"}}, "here")
