"""What is installed is complete: data files beside the code, and versions for everything that an extra asks for."""

from __future__ import annotations

import configparser
import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("autoseg", "planners", "datasets_spec")
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def test_every_data_file_is_installed() -> None:
    patterns = {
        f"{package.replace('.', '/')}/{pattern}"
        for package, written in SETUP["options.package_data"].items()
        for pattern in written.split()
    }
    files = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(files) > 30
    assert not [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)]


def test_every_package_says_that_it_is_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)


def test_what_the_set_up_installs_has_a_version() -> None:
    """Of extras, those that `make` installs; the others are asked for by users, who choose."""
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    asked = [
        SETUP["options"]["install_requires"],
        *(SETUP["options.extras_require"][one] for one in ("develop", "docs")),
    ]
    names = [re.split(r"[^\w.-]", line)[0] for text in asked for line in text.split("\n") if line]
    assert len(names) > 20
    assert not set(names) - pinned
