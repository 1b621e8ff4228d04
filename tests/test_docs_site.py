"""The documentation site: it builds without a warning, which checks every link, and shows what the repository shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.process
def test_the_site_builds_and_every_link_holds() -> None:
    subprocess.run([sys.executable, "docs/stage.py"], cwd=ROOT, check=True)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site = ROOT / "build" / "site"
    start, api, notebook = (
        (site / page / "index.html").read_text() for page in ("", "api", "notebooks/wrap-and-audit")
    )
    assert "FAIRTRIGGER_STORE" in start and "bash quickstart" not in start
    assert (
        "FrozenClassifier" in api and "service.errors" in api and "predict_frame" in api and "accept_difference" in api
    )
    assert "gaps_over_time" in api and 'src="../wrap-and-audit-2.png"' in notebook
    for file in ("wrap-and-audit-2.png", "wrap-and-audit.ipynb"):
        assert (site / "notebooks" / file).is_file()
