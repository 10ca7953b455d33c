"""docs/plugins.md: its files keep their contracts, and its commands work, as they stand on the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from autoseg import plugins
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.testing import check_plugin

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
FILES = {text.splitlines()[0].removeprefix("# "): text for language, text in BLOCKS if language in ("python", "toml")}
SINGLE = [name for name in FILES if "/" not in name and name not in ("test_mine.py", "pyproject.toml")]
NEEDS = {"in_place.py": ("shift_only.py",)}
"""Files that use the plug-ins of others."""


def save(folder: Path) -> None:
    """The files of the page, and the guest as an installer would leave it."""
    for name, text in FILES.items():
        path = folder / "site" / name if "/" in name else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(FILES["pyproject.toml"])["project"]
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {address}" for name, address in entries.items()), ""]
    about = folder / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(metadata, encoding="utf-8")


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the folder, where the guest is installed."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    packages = os.pathsep.join((str(ROOT), str(folder / "site")))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_every_kind_has_an_example() -> None:
    shown = set(re.findall(r'register\("([a-z ]+)"', PAGE))
    assert shown == set(plugins.BUILT_IN)


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_file_keeps_the_contract_of_its_kind(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    for file in (*NEEDS.get(name, ()), name):
        (tmp_path / file).write_text(FILES[file], encoding="utf-8")
        plugins.load_file(tmp_path / file)
    own = re.findall(r'register\("([a-z ]+)", "([\w-]+)"\)', FILES[name])
    assert own
    for kind, plug_in in own:
        check_plugin(kind, plug_in)


@pytest.mark.slow
def test_the_commands_and_the_guest_work_as_they_stand(tmp_path: Path) -> None:
    save(tmp_path)
    write_phantom(tmp_path / "dataset", PhantomOptions(cases=5, shape=(12, 24, 24), classes=2))
    script = "\n".join(["set -euo pipefail", *(text for language, text in BLOCKS if language == "bash")])
    done = call(tmp_path, "bash", "-c", script)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    page = (tmp_path / "two-layers" / "report.html").read_text(encoding="utf-8")
    (plan,) = re.findall(r'<section id="plan">.*?</section>', page, flags=re.DOTALL)
    assert ">not known<" in plan
    assert "<svg" not in plan
    assert "receptive field of" not in page
    code = (
        "from autoseg.testing import check_plugin\n"
        "from pathlib import Path\n"
        "check_plugin('trainer', 'foreground-share')\n"
        "check_plugin('command', 'foreground-share')\n"
        "check_plugin('report section', 'foreground-share', run=Path('consistent'))\n"
    )
    done = call(tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, sys.executable, "-m", "pytest", "-q", "test_mine.py", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
