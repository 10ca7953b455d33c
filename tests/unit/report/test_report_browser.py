"""The page in a real browser: no console message, no overflow on a desk or a phone, tables that sort."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from autoseg.workspace import Run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
)
HOST = """<!DOCTYPE html><html><body>
<iframe id="desk" width="1200" height="900" srcdoc="{page}"></iframe>
<iframe id="phone" width="360" height="700" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const overflow = (id) => {{
    const root = document.getElementById(id).contentDocument.documentElement;
    return root.scrollWidth - root.clientWidth;
  }};
  const page = document.getElementById("desk").contentDocument;
  const table = page.querySelector("table.sortable");
  const heading = [...table.querySelectorAll("th button")].find((b) => b.textContent.includes("lesion Dice"));
  const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  heading.click();
  const ascending = order();
  heading.click();
  const descending = order();
  const broken = [...page.images].filter((image) => !image.naturalWidth).length;
  const results = {{ desk: overflow("desk"), phone: overflow("phone"), ascending, descending, broken }};
  console.info("host is ready");
  document.body.textContent = "RESULTS" + JSON.stringify(results) + "END";
}});
</script></body></html>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
@pytest.mark.parametrize("fixture", ["reported_run", "crossvalidated_run"])
def test_page_renders_in_a_browser(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Run = request.getfixturevalue(fixture)
    host = tmp_path / "host.html"
    page = html.escape(run.report.read_text(encoding="utf-8"), quote=True)
    host.write_text(HOST.format(page=page), encoding="utf-8")
    command = [str(BROWSER), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", host.as_uri()]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    messages = [line for line in finished.stderr.splitlines() if "CONSOLE" in line]
    # The host's own message shows that the console is listened to.
    assert len(messages) == 1, messages
    assert "host is ready" in messages[0]
    found = re.search(r"RESULTS(\{.*\})END", finished.stdout)
    assert found is not None, finished.stdout[:2000]
    results = json.loads(html.unescape(found.group(1)))
    assert results["desk"] == 0
    assert results["phone"] == 0
    assert results["broken"] == 0
    if fixture != "reported_run":
        return
    # The lesion's Dice: a 0.85, b 0.65, d 0.0; c has none and stays last either way.
    assert results["ascending"] == ["case_d", "case_b", "case_a", "case_c"]
    assert results["descending"] == ["case_a", "case_b", "case_d", "case_c"]
