"""Files that are no data: what operating systems and editors leave behind."""

from __future__ import annotations

import re
from pathlib import Path

_JUNK = re.compile(r"^\.|^thumbs\.db$|^desktop\.ini$|~$|\.(bak|swp|swo|tmp|orig)$|^#.*#$", re.IGNORECASE)


def is_junk(path: Path) -> bool:
    """Whether a name is an operating system's or an editor's left-over."""
    return _JUNK.search(path.name) is not None
