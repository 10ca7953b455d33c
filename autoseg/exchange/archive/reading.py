"""A trained model as one zip file for sharing: what is in it, and reading it with every byte checked.

The zip holds a slim run folder (plan, scores, post-processing, final weights), a README.txt for people, and a
manifest.json with the size and SHA-256 of every other file. Hashes tell damage from a whole file; they do not tell
who made it. What protects from a file of bad intent is that no path in it can leave the folder it is unpacked to,
and that weights are read without unpickling code (`training.checkpoint.load_checkpoint`).
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import struct
import tempfile
import zipfile
import zlib
from functools import cache
from pathlib import Path, PurePosixPath

from autoseg.documents import parse_json
from autoseg.errors import AutosegError, WorkspaceError
from autoseg.log import logger
from autoseg.records import Record
from autoseg.version import VERSION

FORMAT = 1
"""Of the archives that are written, and the highest that can be read."""

MANIFEST = "manifest.json"

_BLOCK = 1 << 20
_LARGEST_MANIFEST = 1 << 24
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What reading a damaged zip raises, by the place of the damage."""


class ArchiveError(WorkspaceError):
    """A model file that is damaged, incomplete, of another form, or cannot be written."""


class ArchivedFile(Record):
    """What a file of the archive must be: bytes and SHA-256 (hexadecimal)."""

    size: int
    sha256: str


class ArchiveManifest(Record):
    """What is in a model file.

    Attributes:
        format: of the archive; a reader refuses a higher one than it knows.
        autoseg: version that wrote it.
        dataset: name of the data set.
        configurations: to predict with; two are an ensemble.
        folds: configuration -> folds, in a cascade the previous stages included.
        files: path -> size and hash of every file but the manifest itself.
    """

    format: int = FORMAT
    autoseg: str
    dataset: str
    configurations: tuple[str, ...]
    folds: dict[str, tuple[str, ...]]
    files: dict[str, ArchivedFile]

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(file.size for file in self.files.values())


def unpack(path: Path) -> Path:
    """The checked content of a model file, unpacked to a temporary folder.

    A file is unpacked once per process; the folder is removed when the process ends. It is a run folder that has
    what prediction needs.

    Raises:
        ArchiveError: the file is missing, no model, damaged, incomplete, or of a newer format; or there is no room.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ArchiveError(
            f"cannot be read ({error.strerror})", where=path, remedy="give a run folder, or a file of `autoseg export`"
        ) from None
    return _unpacked(path.resolve(), state.st_size, state.st_mtime_ns)


def read_manifest(path: Path) -> ArchiveManifest:
    """What a model file says is in it; only this much is read.

    Raises:
        ArchiveError: as `unpack`, as far as the manifest shows it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _manifest(archive, path)
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise ArchiveError(f"cannot be read ({error.strerror})", where=path) from error


@cache
def _unpacked(path: Path, size: int, modified: int) -> Path:
    """Unpacks a file; its size and time are there so that another file at the same path is not taken for it."""
    folder = Path(tempfile.mkdtemp(prefix="autoseg-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive, path)
            _check_names(archive, manifest, path)
            free = shutil.disk_usage(folder).free
            if manifest.size > free:
                raise ArchiveError(
                    "there is no room to unpack the model",
                    where=folder.parent,
                    got=f"{free / 1e6:.0f} MB free",
                    expected=f"{manifest.size / 1e6:.0f} MB",
                    remedy="free some space, or set TMPDIR to a larger disk",
                )
            for name, expected in manifest.files.items():
                _extract(archive, name, expected, folder / name, path)
    except _DAMAGE as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _damaged(path, error) from error
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ArchiveError(f"cannot be unpacked ({error.strerror})", where=path, remedy="check free space") from error
    except AutosegError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    logger.debug("%s is whole; unpacked to %s", path, folder)
    return folder


def _manifest(archive: zipfile.ZipFile, path: Path) -> ArchiveManifest:
    if min((info.header_offset for info in archive.infolist()), default=0) > 0:
        # A checkpoint is a zip itself: in a file that was cut off, the directory of one of them is found instead.
        raise _damaged(path, "the end of the file is missing")
    if archive.namelist().count(MANIFEST) != 1 or archive.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST:
        raise ArchiveError(
            f"is not a model of autoseg: it has no {MANIFEST}",
            where=path,
            remedy="give a run folder, or a file of `autoseg export` as it was made",
        )
    values = parse_json(archive.read(MANIFEST).decode("utf-8"), f"{path}: {MANIFEST}")
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ArchiveError(
            "the model was made by a newer version",
            where=path,
            got=f"format {version}, autoseg {values.get('autoseg')}",
            expected=f"format {FORMAT} or lower (this is autoseg {VERSION})",
            remedy="pip install --upgrade autoseg-framework",
        )
    try:
        return ArchiveManifest.from_mapping(values, where=MANIFEST)
    except AutosegError as error:
        raise _damaged(path, error) from error


def _check_names(archive: zipfile.ZipFile, manifest: ArchiveManifest, path: Path) -> None:
    """The files of the zip must be those of the manifest, each once, under paths that stay in the folder."""
    members = archive.namelist()
    unsafe = [name for name in (*members, *manifest.files) if not _stays_inside(name)]
    if unsafe:
        raise ArchiveError(
            "a path leads out of the folder that the model is unpacked to",
            where=path,
            got=unsafe[0],
            remedy="do not use this file; it was not made by autoseg",
        )
    expected = {MANIFEST, *manifest.files}
    missing, unknown = sorted(expected - set(members)), sorted(set(members) - expected)
    if missing or unknown or len(members) != len(expected):
        words = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        raise ArchiveError(
            "the files are not those of the manifest",
            where=path,
            got="; ".join(words) or "a file occurs twice",
            remedy="use the file as `autoseg export` made it, not unpacked and packed again",
        )


def _stays_inside(name: str) -> bool:
    pure = PurePosixPath(name)
    plain = name == str(pure) and name.isprintable() and not set(name) & set('\\:*?"<>|')
    return plain and not pure.is_absolute() and ".." not in pure.parts and name != "."


def _extract(archive: zipfile.ZipFile, name: str, expected: ArchivedFile, target: Path, path: Path) -> None:
    """Copies one file out, never more than the bytes it should have, and compares its hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with archive.open(name) as source, target.open("wb") as copy:
        while (block := source.read(_BLOCK)) and size <= expected.size:
            copy.write(block)
            digest.update(block)
            size += len(block)
    if size != expected.size or digest.hexdigest() != expected.sha256:
        raise _damaged(path, f"{name} has other bytes than the manifest says")


def _damaged(path: Path, reason: object) -> ArchiveError:
    return ArchiveError(
        "the model file is damaged", where=path, got=str(reason).splitlines()[0], remedy="copy or download it again"
    )
