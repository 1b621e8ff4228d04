"""axe-core from npm, which looks for what shuts people out of a page."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.dashboard.chromium import missing

VERSION = "4.14.1"
SERIOUS = ("serious", "critical")


def axe_script(cache: pytest.Cache) -> str:
    """The script, fetched once into pytest's cache. Where it cannot be had the test is skipped; in CI it fails."""
    folder = Path(cache.mkdir("axe-core"))
    archive = folder / f"axe-core-{VERSION}.tgz"
    if not archive.is_file():
        _fetch(folder)
    with tarfile.open(archive) as opened:
        member = opened.extractfile("package/axe.min.js")
        assert member
        return member.read().decode()


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        missing("This test needs axe-core from npm and there is no npm: install it (apt-get install npm).")
    command = [str(npm), "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    except subprocess.TimeoutExpired:
        missing("This test needs axe-core from npm and npm did not answer within a minute.")
    if done.returncode:
        missing(f"This test needs axe-core from npm, which could not be had: {done.stderr[-300:]}")


def serious_findings(page: Page, script: str) -> list[str]:
    """What axe finds to be serious or critical: rule, and the elements."""
    page.evaluate(script)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 10
    return [
        f"{each['id']}: {node['html'][:150]} - {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
