"""What lies in a folder: images, junk, and which files are channels of one case."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.data import raster, tiff_spacing
from autoseg.data.dicom.arrangement import arrangement
from autoseg.data.dicom.storage import ARCHIVE_ENDING, ENDINGS, is_dicom_archive, is_dicom_file, is_dicom_folder
from autoseg.data.files import ending_of, holds_labels_alone, is_label_folder, stem_of
from autoseg.data.junk import is_junk

_CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")


@dataclass(frozen=True)
class FileListing:
    """The images of one folder (files, or folders of DICOM slices), sorted by name, and what was passed over."""

    images: tuple[Path, ...] = ()
    ignored: tuple[Path, ...] = field(default=())


def list_images(folder: Path) -> FileListing:
    """The images directly in a folder; a folder that does not exist has none. Files of labels alone are ignored.

    DICOM files are images of their own unless they are slices of one image together (`arrangement`): that is the folder
    itself, and nothing in it.
    """
    listing = _listed(folder, is_dicom_folder)
    dicom = [path for path in listing.images if path.is_file() and _is_dicom(path)]
    slices = dicom if dicom and arrangement(folder) == "slices" else []
    others = [path for path in listing.images if path in slices or holds_labels_alone(path)]
    images = tuple(path for path in listing.images if path not in others)
    return FileListing(images, tuple(sorted((*listing.ignored, *others))))


def list_labels(folder: Path) -> FileListing:
    """The label files directly in a folder, and the folders that hold the labels of one case."""
    return _listed(folder, is_label_folder)


def _listed(folder: Path, is_one: Callable[[Path], bool]) -> FileListing:
    """Files that may be images, and the folders that are one as a whole."""
    images, ignored = [], []
    sidecars: set[Path] = set()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_junk(path):
            ignored.append(path)
        elif is_one(path) if path.is_dir() else _is_image(path):
            images.append(path)
            if ending_of(path) in raster.TIFF_ENDINGS:
                sidecars.update(tiff_spacing.sidecars(path))
        elif not _is_data_file(path):
            ignored.append(path)
    return FileListing(tuple(images), tuple(path for path in ignored if path not in sidecars))


def without_other_folders(
    labels: Mapping[str, Path], listing: FileListing, cases: Iterable[str]
) -> tuple[dict[str, Path], FileListing]:
    """Labels without the folders that hold images but have no case's name: a backup, pictures of a quality control."""
    others = [path for case, path in labels.items() if path.is_dir() and case not in cases]
    others = [path for path in others if not is_dicom_folder(path)]
    kept = {case: path for case, path in labels.items() if path not in others}
    return kept, FileListing(listing.images, (*listing.ignored, *others))


def split_channel(stem: str) -> tuple[str, int | None]:
    """("case", 1) for "case_0001"; (stem, None) where there is no such number."""
    match = _CHANNEL.match(stem)
    return (match["case"], int(match["channel"])) if match else (stem, None)


def group_channels(images: Iterable[Path], *, suffixed: bool) -> dict[str, tuple[Path, ...]]:
    """Case identifier -> its image files in the order of their channels, sorted by identifier.

    Args:
        images: files or DICOM folders.
        suffixed: whether "_0000" at the end of a name is a channel's number, or part of the identifier.
    """
    groups: dict[str, list[tuple[int, Path]]] = {}
    for path in images:
        case, channel = split_channel(stem_of(path)) if suffixed else (stem_of(path), None)
        groups.setdefault(case, []).append((channel or 0, path))
    return {case: tuple(path for _, path in sorted(groups[case])) for case in sorted(groups)}


def sibling_channels(path: Path) -> list[Path]:
    """The files of all channels (x_0000, x_0001, ...) that lie beside one of them."""
    return sorted(path.parent.glob(f"{stem_of(path)[:-5]}_[0-9][0-9][0-9][0-9]{ending_of(path)}"))


def listed_files(path: Path) -> list[Path]:
    """A listed image, or the channel files (x_0000.nii.gz) that nnU-Net v1 keeps in place of the listed x.nii.gz."""
    if path.exists():
        return [path]
    return sorted(path.parent.glob(f"{stem_of(path)}_[0-9][0-9][0-9][0-9]{ending_of(path)}")) or [path]


def suffix_fits_labels(images: Iterable[Path], labels: Collection[str]) -> bool:
    """Whether images carry channel numbers: more label stems are found without the number than with it."""
    stems = [stem_of(path) for path in images]
    whole = sum(stem in labels for stem in stems)
    without = len({split_channel(stem)[0] for stem in stems if split_channel(stem)[1] is not None} & set(labels))
    return without > whole


def suffix_fits_channels(images: Iterable[Path], channels: int) -> bool:
    """Whether images without labels carry channel numbers: all numbers are below `channels`, and 0 is among them.

    A series of pictures that is merely numbered (img_0001, img_0002, ...) has larger numbers or no 0.
    """
    numbers = [number for path in images if (number := split_channel(stem_of(path))[1]) is not None]
    return 0 in numbers and max(numbers) < max(channels, 1)


def suffix_repeats(images: Iterable[Path]) -> bool:
    """Whether images of which nothing else is known carry channel numbers: at least two cases have the same, from 0 on.

    A single numbered series (slice_0000, slice_0001, ...) is not taken for the channels of one case.
    """
    channels: dict[str, set[int | None]] = {}
    for path in images:
        case, number = split_channel(stem_of(path))
        channels.setdefault(case, set()).add(number)
    first, *others = list(channels.values()) or [set()]
    return bool(others) and first == set(range(len(first))) and all(other == first for other in others)


def missing_channels(groups: Mapping[str, tuple[Path, ...]], channels: int) -> dict[str, tuple[str, ...]]:
    """Case -> names of the channel files it lacks.

    A case with a single file is whole if no case has more than one: the file then holds all channels.
    """
    if channels < 2 or all(len(files) == 1 for files in groups.values()):
        return {}
    missing = {}
    for case, files in groups.items():
        present = {split_channel(stem_of(path))[1] for path in files}
        absent = [number for number in range(channels) if number not in present]
        if absent:
            missing[case] = tuple(f"{case}_{number:04d}{ending_of(files[0])}" for number in absent)
    return missing


def _is_image(path: Path) -> bool:
    """Whether a file is an image by its name; DICOM files need no ending, and other zips are none."""
    ending = ending_of(path)
    return is_dicom_archive(path) if ending == ARCHIVE_ENDING else bool(ending) or is_dicom_file(path)


def _is_dicom(path: Path) -> bool:
    """Whether an image file is DICOM, but for archives."""
    return ending_of(path) in ("", *ENDINGS)


def _is_data_file(path: Path) -> bool:
    """Whether a file is the voxel part of a .nhdr, .mhd or .hdr header beside it."""
    stem = re.sub(r"\.(raw|zraw|raw\.gz|img|img\.gz)$", "", path.name, flags=re.IGNORECASE)
    return stem != path.name and any(path.with_name(stem + ending).is_file() for ending in (".nhdr", ".mhd", ".hdr"))
