"""A container with too little shared memory: the service says so and ends, rather than being killed again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import image_bundle

SERVE = """
mount -t tmpfs -o size={size}k tmpfs /dev/shm || exit 77
exec "$@"
"""


def test_a_small_dev_shm_is_one_line_and_an_end(tmp_path: Path) -> None:
    bundle = image_bundle(tmp_path / "bundle")
    where = ["--store", str(tmp_path / "store"), "--data-dir", str(tmp_path / "data"), "--port", "0"]
    command = [sys.executable, "-m", "service", "--model", str(bundle), *where, "--http-workers", "1"]
    shell = ["unshare", "--mount", "sh", "-c", SERVE.format(size=48), "sh", *command]
    ran = subprocess.run(shell, capture_output=True, text=True, timeout=120)
    if ran.returncode == 77 or "unshare" in ran.stderr[:20]:
        pytest.skip("This test mounts a file system of its own, which takes root.")
    assert ran.returncode == 2, ran.stderr
    assert "The processes share their counts in /dev/shm: 128 KiB cannot be had (No space left on device)" in ran.stderr
    assert "--shm-size" in ran.stderr and "lower http_workers" in ran.stderr and "Traceback" not in ran.stderr
