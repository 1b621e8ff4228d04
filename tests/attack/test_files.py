"""Files that are none, and folders that cannot be written: refused in one line, and nothing waits for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.bundles import image_bundle, text_bundle
from tests.service.live import swap
from triggers.file_store import FileStore


def test_a_pipe_in_place_of_an_artifact_hangs_no_rollout(service: httpx.Client, filled_store: FileStore) -> None:
    path = filled_store.path_of(filled_store.version("faces", 2))
    path.unlink()
    os.mkfifo(path)
    with httpx.Client(base_url=service.base_url, timeout=15) as client:
        refused = swap(client, "faces", "v2")
        assert refused.status_code == 422 and "cannot be read" in refused.json()["detail"]
        assert swap(client, "faces", "v1").status_code == 200
        assert client.get("/v1/models/faces/rollout").json()["champion"] == "v1"


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    bundle = text_bundle(tmp_path / "posts")
    options = ["--model", bundle, "--store", tmp_path / "store", "--data-dir", "/sys", "--port", "0"]
    done = subprocess.run([sys.executable, "-m", "service", *map(str, options)], capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode == 2 and len(told) == 1 and "/sys" in told[0] and "set data_dir" in told[0]
    assert "Traceback" not in done.stderr


def test_a_pipe_in_place_of_the_weights_is_one_line(tmp_path: Path) -> None:
    bundle = image_bundle(tmp_path / "faces")
    (bundle / "weights.safetensors").unlink()
    os.mkfifo(bundle / "weights.safetensors")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "service",
            "--model",
            str(bundle),
            "--data-dir",
            str(tmp_path / "data"),
            "--store",
            str(tmp_path / "s"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2 and "Not a regular file" in done.stderr and "Traceback" not in done.stderr
