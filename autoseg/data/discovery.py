"""Understands a dataset folder by looking at it: Decathlon, nnU-Net v2, or plain images and labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from autoseg.data.annotation_table import FIELD, annotated_as
from autoseg.data.dataset import Case, Dataset, Reading, read_as
from autoseg.data.description import contradictions, discovered_labels, parse_channels, parse_colours, parse_labels
from autoseg.data.dicom.arrangement import arrangement
from autoseg.data.dicom.storage import is_dicom_folder
from autoseg.data.files import holds_labels_alone, stem_of
from autoseg.data.labels import LabelScheme
from autoseg.data.listing import (
    FileListing,
    group_channels,
    list_images,
    list_labels,
    listed_files,
    missing_channels,
    sibling_channels,
    suffix_fits_channels,
    suffix_fits_labels,
    suffix_repeats,
    without_other_folders,
)
from autoseg.data.undescribed import channel_names, common_ending, found_labels, shortened, written_ending
from autoseg.errors import DatasetError
from autoseg.records import read_mapping

_IMAGE_FOLDERS = ("images", "imagesTr", "image", "imgs")
_LABEL_FOLDERS = ("labels", "labelsTr", "label", "masks", "mask", "segmentations", "annotations")
_TEST_FOLDERS = ("imagesTs", "imagesTest", "test/images", "test")
_SIDE_BY_SIDE = re.compile(r"^(?P<case>.+)[_-](?P<role>image|img|labels?|mask|seg|segmentation)$", re.IGNORECASE)
_IMAGE_ROLES = ("image", "img")

_LAYOUTS = """one of
    dataset.json with a "training" list (Medical Segmentation Decathlon)
    dataset.json with "channel_names", imagesTr/x_0000.ext and labelsTr/x.ext (nnU-Net v2)
    images/x.ext and labels/x.ext, or x_image.ext beside x_label.ext"""
_LAYOUTS_OF_IMAGES = f"""{_LAYOUTS}
    images/x.ext alone, or x.ext directly in the folder"""


def discover(folder: str | Path, *, labelled: bool = True, reading: Reading | None = None) -> Dataset:
    """The data set in a folder, whatever its layout.

    Args:
        folder: of the data set.
        labelled: what an image without a label is: if True something to report, else a training case like the others.
            A folder may then have images alone, in `images/` or `imagesTr/` or directly in it; "x_0000" and "x_0001"
            are channels of a case "x" if at least two cases have the same ones.
        reading: how files are read; colours that dataset.json gives to labels stand where this names none. Its label
            values are those of a data set that does not describe its labels.

    Nothing is decided about errors: images without label, labels without image and missing files are kept in the
    record for `check.compare_cases` to report. Only where labels are not described are label files read.

    Raises:
        DatasetError: no such folder, no layout recognised, a dataset.json that contradicts itself, label pictures whose
            colours have no value, or label values given for a data set that describes its own.
        ConfigurationError: a dataset.json that is no JSON.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise DatasetError(
            "the dataset folder does not exist", where=folder, expected="a folder", remedy="check the path"
        )
    reading = reading or Reading()
    return read_as(_discover(folder, labelled, reading), reading)


def find_cases(
    inputs: str | Path | Sequence[str | Path], channels: int, reading: Reading | None = None
) -> tuple[Case, ...]:
    """The cases to predict in a folder, a list of files, or one file (or DICOM folder), sorted by identifier.

    Names ending in a channel's number ("x_0000", "x_0001") make one case "x"; of a single file so named, the other
    channels are taken from beside it. Junk in a folder is passed over.

    Args:
        inputs: what is looked through.
        channels: what the model expects; decides whether a number at the end of a name is a channel's.
        reading: how the files are read.

    Raises:
        DatasetError: nothing there, or two images with the same identifier.
    """
    paths = [Path(inputs)] if isinstance(inputs, (str, Path)) else [Path(path) for path in inputs]
    images: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DatasetError("the input does not exist", where=path, remedy="check the path")
        one = not path.is_dir() or arrangement(path) in ("slice", "slices")
        images += [path] if one else list_images(path).images
    images = list(dict.fromkeys(path.absolute() for path in images))
    if not images:
        where = ", ".join(str(path) for path in paths)
        raise DatasetError("there is no image to predict", where=where, remedy="give a folder or files with images")
    suffixed = suffix_fits_channels(images, channels)
    if suffixed and len(images) == 1 and channels > 1:
        images = sibling_channels(images[0])
    cases = _cases(group_channels(images, suffixed=suffixed), {})
    return cases if reading is None else tuple(case.with_(reading=reading) for case in cases)


def _discover(folder: Path, labelled: bool, reading: Reading) -> Dataset:
    if (folder / "dataset.json").is_file():
        description = read_mapping(folder / "dataset.json")
        listed = isinstance(description.get("training"), list) and description["training"]
        described = listed or any(field in description for field in ("channel_names", "modality", "dataset"))
        if described and reading.labels:
            raise DatasetError(
                "the data set describes its labels itself",
                where=folder / "dataset.json",
                remedy="leave --labels out, or correct dataset.json",
            )
        if described:
            return (_from_decathlon if listed else _from_nnunet)(folder, description, labelled)
    images = _first_folder(folder, _IMAGE_FOLDERS)
    labels = _first_folder(folder, _LABEL_FOLDERS)
    if images is not None and (labels is not None or not labelled):
        return _from_folders(folder, images, labels, labelled, reading)
    dataset = _from_side_by_side(folder, labelled, reading) or (None if labelled else _from_images_alone(folder))
    if dataset is None:
        content = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "an empty folder"
        layouts = _LAYOUTS if labelled else _LAYOUTS_OF_IMAGES
        raise DatasetError("no data set is recognised", where=folder, got=content, expected=layouts)
    return dataset


def _from_decathlon(folder: Path, description: Mapping[str, Any], labelled: bool) -> Dataset:
    where = folder / "dataset.json"
    channels = parse_channels(description, where)
    image_lists: dict[str, tuple[Path, ...]] = {}
    labels: dict[str, Path] = {}
    for index, entry in enumerate(description["training"]):
        if not isinstance(entry, dict) or "image" not in entry:
            raise DatasetError(
                f"entry {index} of the training list is not understood",
                where=where,
                got=repr(entry)[:200],
                expected='{"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"}',
            )
        listed = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        files = tuple(file for name in listed for file in listed_files(folder / name))
        identifier = _identifier(files, listed)
        if identifier in image_lists:
            raise DatasetError("two training entries have one identifier", where=where, got=identifier)
        image_lists[identifier] = files
        if entry.get("label"):
            labels[identifier] = folder / entry["label"]
    ignored = [list_images(path).ignored for path in {files[0].parent for files in image_lists.values()}]
    ignored += [list_images(path).ignored for path in {path.parent for path in labels.values()}]
    junk = [path for part in ignored for path in part]
    return _described(folder, "msd", description, channels, image_lists, labels, junk, labelled)


def _from_nnunet(folder: Path, description: Mapping[str, Any], labelled: bool) -> Dataset:
    channels = parse_channels(description, folder / "dataset.json")
    if isinstance(description.get("dataset"), dict):
        listing = description["dataset"]
        image_lists, labels = {}, {}
        for identifier, entry in sorted(listing.items()):
            if not isinstance(entry, dict) or "images" not in entry:
                raise DatasetError(
                    f"case {identifier!r} of the dataset list is not understood",
                    where=folder / "dataset.json",
                    got=repr(entry)[:200],
                    expected='{"images": ["x_0000.nii.gz"], "label": "x.nii.gz"}',
                )
            image_lists[identifier] = tuple(folder / name for name in entry["images"])
            if entry.get("label"):
                labels[identifier] = folder / entry["label"]
        return _described(folder, "nnunet", description, channels, image_lists, labels, [], labelled)
    images, masks = list_images(folder / "imagesTr"), list_labels(folder / "labelsTr")
    label_files = {stem_of(path): path for path in masks.images}
    suffixed = suffix_fits_labels(images.images, label_files) or suffix_fits_channels(images.images, len(channels))
    groups = group_channels(images.images, suffixed=suffixed)
    label_files, masks = without_other_folders(label_files, masks, groups)
    junk = [*images.ignored, *masks.ignored]
    return _described(folder, "nnunet", description, channels, groups, label_files, junk, labelled)


def _described(
    folder: Path,
    layout: str,
    description: Mapping[str, Any],
    channels: tuple[str, ...],
    images: Mapping[str, tuple[Path, ...]],
    labels: Mapping[str, Path],
    ignored: Iterable[Path],
    labelled: bool,
) -> Dataset:
    """A data set with a dataset.json; the files it lists may be missing."""
    test = _test_listing(folder)
    ending = str(description.get("file_ending") or common_ending(path for files in images.values() for path in files))
    label_names = labelled or labels or description.get("labels")
    said = _Description(
        name=str(description.get("name") or folder.name),
        layout=layout,
        channels=channels,
        labels=parse_labels(description, folder / "dataset.json") if label_names else discovered_labels(set()),
        ending=ending,
        colours=parse_colours(description),
        annotated=description.get(FIELD),
        warnings=contradictions(description, len(labels), common_ending(chain(*images.values()))),
    )
    return _assemble(folder, said, _Files(images, labels, test, (*ignored, *test.ignored)), labelled)


def _from_folders(
    folder: Path, image_folder: Path, label_folder: Path | None, labelled: bool, reading: Reading
) -> Dataset:
    images, masks = list_images(image_folder), FileListing() if label_folder is None else list_labels(label_folder)
    labels = {stem_of(path): path for path in masks.images}
    suffixed = suffix_fits_labels(images.images, labels) if labels else suffix_repeats(images.images)
    groups = group_channels(images.images, suffixed=suffixed)
    labels, masks = without_other_folders(labels, masks, groups)
    others = [path for path in sorted(folder.iterdir()) if path not in (image_folder, label_folder)]
    test = _test_listing(folder)
    tests = {path.parent for path in test.images} | {folder / name.split("/")[0] for name in _TEST_FOLDERS}
    ignored = [*images.ignored, *masks.ignored, *test.ignored, *(path for path in others if path not in tests)]
    return _undescribed(folder, groups, labels, test, ignored, labelled, reading)


def _from_side_by_side(folder: Path, labelled: bool, reading: Reading) -> Dataset | None:
    """`x_image.ext` beside `x_label.ext`, or `x.ext` beside `x.seg.nrrd`; None if no such pair is there."""
    listing = list_labels(folder)
    images: dict[str, tuple[Path, ...]] = {}
    labels: dict[str, Path] = {}
    ignored = list(listing.ignored)
    named = {stem_of(path) for path in listing.images if holds_labels_alone(path)}
    for path in listing.images:
        match = _SIDE_BY_SIDE.match(stem_of(path))
        case = match["case"] if match else stem_of(path)
        if holds_labels_alone(path) or (match and match["role"].casefold() not in _IMAGE_ROLES):
            labels[case] = path
        elif (match or case in named) and (path.is_file() or is_dicom_folder(path)):
            images[case] = (path,)
        else:
            ignored.append(path)
    if not images.keys() & labels.keys():
        return None
    return _undescribed(folder, dict(sorted(images.items())), labels, FileListing(), ignored, labelled, reading)


def _from_images_alone(folder: Path) -> Dataset | None:
    """`x.ext` and no labels; names that say that they are labels are passed over; None if no image is there."""
    listing = list_images(folder)
    roles = {path: match["role"] for path in listing.images if (match := _SIDE_BY_SIDE.match(stem_of(path)))}
    labels = [path for path, role in roles.items() if role.casefold() not in _IMAGE_ROLES]
    images = [path for path in listing.images if path not in labels]
    if not images:
        return None
    groups = group_channels(images, suffixed=suffix_repeats(images))
    return _undescribed(
        folder, groups, {}, FileListing(), [*listing.ignored, *labels], labelled=False, reading=Reading()
    )


def _undescribed(
    folder: Path,
    images: Mapping[str, tuple[Path, ...]],
    labels: Mapping[str, Path],
    test: FileListing,
    ignored: Iterable[Path],
    labelled: bool,
    reading: Reading,
) -> Dataset:
    """A data set without description: channels and labels are found by reading."""
    paired = [case for case in images if case in labels]
    if not paired and (labelled or not images):
        raise DatasetError(
            "no image has a label of the same name",
            where=folder,
            got=f"images {shortened(list(images))}; labels {shortened(list(labels))}",
            expected="images/x.ext and labels/x.ext",
            remedy="give images and labels the same names",
        )
    scheme, warnings = found_labels([(images[case], labels[case]) for case in paired], reading)
    said = _Description(
        name=folder.name,
        layout="plain",
        channels=channel_names([images[case] for case in (paired or images)], reading),
        labels=scheme,
        ending=common_ending(path for files in images.values() for path in files),
        warnings=warnings,
    )
    return _assemble(folder, said, _Files(images, labels, test, tuple(ignored)), labelled)


@dataclass(frozen=True)
class _Description:
    """What a data set says of itself, or what its files show; `annotated` is the field of dataset.json."""

    name: str
    layout: str
    channels: tuple[str, ...]
    labels: LabelScheme
    ending: str
    warnings: tuple[str, ...] = ()
    colours: Mapping[str, int] = field(default_factory=dict)
    annotated: Any = None


@dataclass(frozen=True)
class _Files:
    """The files of a data set: image files and label file by case, test images, and what is passed over."""

    images: Mapping[str, tuple[Path, ...]]
    labels: Mapping[str, Path]
    test: FileListing
    ignored: tuple[Path, ...]


def _assemble(folder: Path, said: _Description, files: _Files, labelled: bool) -> Dataset:
    """The record, with images (if they must be `labelled`) and labels that have no partner set apart.

    Args:
        folder: of the data set.
        said: names, channels and labels.
        files: listed ones, which may be missing.
        labelled: whether an image needs a label to be a training case.
    """
    listed = [path for paths in files.images.values() for path in paths] + list(files.labels.values())
    missing = {path for path in listed if not path.exists()}
    present = {case: tuple(path for path in paths if path not in missing) for case, paths in files.images.items()}
    present = {case: paths for case, paths in present.items() if paths}
    masks = {case: path for case, path in files.labels.items() if path not in missing}
    training = {case: paths for case, paths in present.items() if case in masks or not labelled}
    warnings = said.warnings
    label_ending = written_ending(masks.values(), said.ending)
    if label_ending in (".jpg", ".jpeg"):
        label_ending = ".png"
        warnings = (*warnings, "labels are stored as JPEG, which changes values; predictions are written as .png")
    test = files.test.images
    groups = group_channels(test, suffixed=suffix_fits_channels(test, len(said.channels)))
    dataset = Dataset(
        name=said.name,
        folder=folder,
        layout=said.layout,
        channels=said.channels,
        labels=said.labels,
        file_ending=said.ending,
        label_ending=label_ending,
        training=_cases(training, masks),
        unlabelled=_cases(groups, {}),
        ignored=tuple(sorted(set(files.ignored))),
        warnings=warnings,
        unmatched_images=tuple(paths[0] for case, paths in sorted(present.items()) if case not in training),
        unmatched_labels=tuple(path for case, path in sorted(masks.items()) if case not in present),
        missing_files=tuple(sorted(missing)),
        missing_channels=missing_channels(training, len(said.channels)),
    )
    return annotated_as(read_as(dataset, Reading(label_colours=dict(said.colours))), said.annotated)


def _cases(images: Mapping[str, tuple[Path, ...]], labels: Mapping[str, Path]) -> tuple[Case, ...]:
    for case, files in images.items():
        stems = Counter(stem_of(path) for path in files)
        if max(stems.values()) > 1:
            raise DatasetError(
                "two images have the same identifier",
                where=files[0].parent,
                got=", ".join(path.name for path in files),
                expected=f"one image named {case!r}",
                remedy="rename or remove one of them",
            )
    return tuple(Case(id=case, images=images[case], label=labels.get(case)) for case in sorted(images))


def _first_folder(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _test_listing(folder: Path) -> FileListing:
    listings = (list_images(folder / name) for name in _TEST_FOLDERS)
    return next((listing for listing in listings if listing.images), FileListing())


def _identifier(files: Sequence[Path], listed: Sequence[str]) -> str:
    stem = stem_of(listed[0])
    return re.sub(r"_0000$", "", stem) if len(files) > 1 or len(listed) > 1 or not files[0].exists() else stem
