"""deploy/subset-lock: what uv chooses, with the versions and hashes of the lock."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.deploy.environment import ROOT

UV = """#!/bin/sh
[ "$1 $2" = "pip compile" ] || exit 9
case "$*" in *"--extra redis"*) echo redis==1;; *"--extra none"*) exit 3;; esac
printf 'numpy==1\\ntorch==1\\n'
"""


def subset(tmp_path: Path, *extras: str) -> subprocess.CompletedProcess[str]:
    """Run it with a uv that chooses torch and numpy, and redis if asked, and needs no network."""
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    environment = os.environ | {"UV": str(uv)}
    command = [str(ROOT / "deploy/subset-lock"), *extras]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)


def test_versions_and_hashes_are_those_of_the_lock(tmp_path: Path) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    found = subset(tmp_path, "redis").stdout
    assert set(re.findall(r"^([a-z0-9-]+)==", found, re.MULTILINE)) == {"numpy", "torch", "redis"}
    for block in re.split(r"\n(?=[a-z0-9])", found.strip()):
        assert block in lock and "--hash=sha256:" in block


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    assert "redis==" not in subset(tmp_path).stdout


def test_fails_as_uv_fails(tmp_path: Path) -> None:
    assert subset(tmp_path, "none").returncode == 3
