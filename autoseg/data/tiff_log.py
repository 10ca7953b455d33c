"""What tifffile says of damage: it writes lines to a log where other libraries raise."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_LISTENING = threading.local()

# Tags that decide how values are read, what they mean and where they lie (TIFF 6.0, section 8; SubIFDs, JPEGTables).
_TELLING_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 283, 284, 292, 293, 296, 317, 320, 322,
    323, 324, 325, 330, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532,
}  # fmt: skip
_HARMLESS = re.compile(
    r"GeoKey|GDAL_NODATA|LSM bitspersample|LSM TimeStamps|STK Datetime|(nuvu|andor|epics|ndpi)_tags> raised|"
    r"coercing invalid ASCII|read_utf8|read_json|incorrect Strip\w+ count|estimating ByteCounts|ignoring predictor"
)
_TAG = re.compile(r"TiffTag '?(\d+)|tag #?(\d+)")


@contextmanager
def tifffile_lines() -> Iterator[list[str]]:
    """The warnings and errors that tifffile logs in this thread within the context; they do not reach the terminal."""
    logging.getLogger("tifffile").addFilter(_keep)  # adding the same filter again changes nothing
    before = getattr(_LISTENING, "lines", None)
    lines: list[str] = []
    _LISTENING.lines = lines
    try:
        yield lines
    finally:
        _LISTENING.lines = before


def damage(lines: Sequence[str]) -> str | None:
    """The first of tifffile's lines that puts the pixels in doubt; None if there is none.

    Lines about tags that say nothing of the pixels, and those that `tiff` finds out by itself, do not count.
    """
    for line in lines:
        tags = [int(first or second) for first, second in _TAG.findall(line)]
        if _HARMLESS.search(line) or (tags and not _TELLING_TAGS & set(tags)):
            continue
        return line
    return None


def _keep(record: logging.LogRecord) -> bool:
    """Whether a record goes on to the log's handlers."""
    lines = getattr(_LISTENING, "lines", None)
    if lines is None:
        return True
    if record.levelno >= logging.WARNING:
        lines.append(record.getMessage())
    return False
