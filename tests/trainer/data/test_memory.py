"""Data larger than memory: building the cache and training take far less than the decoded data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "rows", "decoded_mib", "limit_mib"),
    [
        ("image", 34_000, 398, 100),
        ("text", 400_000, 91, 80),  # as token ids of four bytes; as a list of tuples 200 MiB and more
    ],
)
def test_a_run_needs_far_less_memory_than_its_data(
    tmp_path: Path, kind: str, rows: int, decoded_mib: int, limit_mib: int
) -> None:
    command = [sys.executable, "-m", "tests.trainer.large", str(tmp_path), kind, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    (cached,) = (file for file in tmp_path.iterdir() if file.stat().st_size > decoded_mib * 2**20)
    assert int(done.stdout) < limit_mib, f"{done.stdout.strip()} MiB beside {cached.name}"
