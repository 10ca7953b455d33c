"""Bytes that are DICOM: files with or without ending, and the members of a zip."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

ENDINGS = (".dcm", ".ima", ".dicom")
ARCHIVE_ENDING = ".zip"

MARK_END = 132  # bytes up to the end of the mark "DICM"
_MARK = b"DICM"
MOST_MEMBERS = 100_000


@dataclass(frozen=True)
class Stored:
    """Bytes of one DICOM object.

    Attributes:
        path: of the file, or of the zip that it lies in.
        name: how messages call it: the file's name, or the member's path in the zip.
        content: of a zip's member; None for a file, which is read when it is opened.
    """

    path: Path
    name: str
    content: bytes | None = None

    def open(self) -> BinaryIO:
        """A stream at the first byte."""
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.path.stat().st_size if self.content is None else len(self.content)

    @property
    def where(self) -> str:
        """For errors: the file, or the zip and its member."""
        return str(self.path) if self.content is None else f"{self.path}/{self.name}"


def is_dicom_file(file: Path) -> bool:
    """Whether a file is DICOM by its ending, by the mark at byte 128, or by its first element."""
    if file.name.startswith("."):
        return False
    if file.suffix.lower() in ENDINGS:
        return True
    try:
        with file.open("rb") as stream:
            return looks_like_dicom(stream.read(MARK_END))
    except OSError:
        return False


def is_dicom_folder(path: Path) -> bool:
    """Whether a folder directly holds DICOM files, with or without ending; what lies in its folders does not count."""
    return path.is_dir() and any(is_dicom_file(file) for file in sorted(path.iterdir()) if file.is_file())


def is_dicom_archive(path: Path) -> bool:
    """Whether a zip holds DICOM files."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(starts_like_dicom(archive, member) for member in archive.infolist()[:MOST_MEMBERS])
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, ValueError):
        return False


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first `MARK_END` bytes are DICOM's: the mark, or group 0002 or 0008 where there is no preamble."""
    if head[128:MARK_END] == _MARK:
        return True
    if len(head) < 8 or head[1] != 0 or head[3] != 0 or (head[0], head[2]) > (8, 0x18) or head[0] not in (2, 8):
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or int.from_bytes(head[4:8], "little") < 256


def starts_like_dicom(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Whether a member is DICOM; only its first bytes are inflated."""
    name = PurePosixPath(member.filename).name
    if member.is_dir() or name.startswith(".") or member.filename.startswith("__MACOSX/"):
        return False
    if PurePosixPath(name).suffix.lower() in ENDINGS:
        return True
    with archive.open(member) as stream:
        return looks_like_dicom(stream.read(MARK_END))
