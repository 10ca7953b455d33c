"""The DICOM objects of a source: a file, the files of a folder or of a DICOMDIR, the members of a zip."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from autoseg.data.dicom.headers import directory_entries
from autoseg.data.dicom.storage import ARCHIVE_ENDING, MOST_MEMBERS, Stored, is_dicom_file, starts_like_dicom
from autoseg.errors import ImageError
from autoseg.log import counted

_MOST_BYTES = 8 << 30  # of a zip, inflated
_DIRECTORY = "DICOMDIR"


def stored_objects(path: Path) -> Iterator[Stored]:
    """The DICOM objects of a source, sorted by name: a file, a folder, or a zip.

    Of a folder the files directly in it count, with or without ending, and those that a DICOMDIR in it lists (nothing
    outside of the folder). A zip's members are read one after the other; nothing is unpacked.

    Raises:
        ImageError: missing, a zip that is damaged, encrypted or too large, or a DICOMDIR that lists missing files.
    """
    if path.is_dir():
        for file in _files(path):
            yield Stored(file, str(file.relative_to(path)))
    elif not path.is_file():
        raise ImageError("the image file is missing", where=path, remedy="check the path or remove the case")
    elif path.name.upper() == _DIRECTORY:
        for file in _listed(path):
            yield Stored(file, str(file.relative_to(path.parent)))
    elif path.suffix.lower() == ARCHIVE_ENDING:
        yield from _members(path)
    else:
        yield Stored(path, path.name)


def _files(folder: Path) -> list[Path]:
    files = {file for file in folder.iterdir() if file.is_file() and is_dicom_file(file)}
    for directory in [file for file in files if file.name.upper() == _DIRECTORY]:
        files.remove(directory)
        files.update(_listed(directory))
    return sorted(files)


def _listed(directory: Path) -> list[Path]:
    """The files that a DICOMDIR refers to."""
    files, missing = [], []
    for parts in directory_entries(directory):
        if not parts or any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
            raise ImageError(
                "the DICOMDIR lists a file outside of its folder",
                where=directory,
                got="\\".join(parts),
                remedy="give the folder with the images instead",
            )
        file = _existing(directory.parent, parts)
        if file is None:
            missing.append("/".join(parts))
        else:
            files.append(file)
    if missing or not files:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ImageError(
            "the DICOMDIR lists files that do not exist" if missing else "the DICOMDIR lists no files",
            where=directory,
            got=f"{counted(len(missing), 'missing file')}: {shown}" if missing else None,
            remedy="copy the whole medium, or remove the DICOMDIR and put the slices directly into the folder",
        )
    return files


def _existing(folder: Path, parts: tuple[str, ...]) -> Path | None:
    """The listed file; some systems write names of a medium in lower case."""
    for names in (parts, tuple(part.lower() for part in parts)):
        file = folder.joinpath(*names)
        if file.is_file():
            return file
    return None


def _members(path: Path) -> Iterator[Stored]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_size(path, members)
            left = _MOST_BYTES
            for member in sorted(members, key=lambda member: member.filename):
                if _is_directory(member) or not starts_like_dicom(archive, member):
                    continue
                with archive.open(member) as stream:
                    content = stream.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise _too_large(path, f"more than {_MOST_BYTES >> 30} GB")
                yield Stored(path, member.filename, content)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, ValueError) as error:
        raise ImageError(
            "the zip cannot be read (damaged, encrypted or not a zip)",
            where=path,
            got=str(error) or type(error).__name__,
            remedy="fetch the file again, or unpack it and give the folder",
        ) from None


def _is_directory(member: zipfile.ZipInfo) -> bool:
    return PurePosixPath(member.filename).name.upper() == _DIRECTORY


def _check_size(path: Path, members: list[zipfile.ZipInfo]) -> None:
    size = sum(member.file_size for member in members)
    if len(members) > MOST_MEMBERS:
        raise _too_large(path, counted(len(members), "member"))
    if size > _MOST_BYTES:
        raise _too_large(path, f"{size / (1 << 30):.1f} GB inflated")


def _too_large(path: Path, got: str) -> ImageError:
    return ImageError(
        "the zip is too large to be read in memory",
        where=path,
        got=got,
        expected=f"at most {MOST_MEMBERS} members and {_MOST_BYTES >> 30} GB",
        remedy="unpack it and give the folder",
    )
