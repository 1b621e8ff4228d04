"""A real MLServer in an environment of its own, wrapped over HTTP and gRPC: scores equal the local model's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from benchmarks.environments import python_of
from benchmarks.servers import free_port
from tests.artifacts import image_trigger
from tests.endpoints.exactness import largest_difference
from tests.endpoints.v2_faces import NCHW, PICTURES, spread_faces
from tests.endpoints.wrapping import EXACT, loader_of, wrapped
from triggers.sources.builtin_inputs import builtin_images

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
INPUTS: dict[str, dict[str, Any]] = {
    "pixels": {"name": "x", "datatype": "UINT8", "shape": NCHW},
    "files": {"name": "x", "datatype": "BYTES", "shape": [-1]},
}


@contextmanager
def mlserver(folder: Path, weights: Path, input_: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """MLServer with one model; yields its HTTP and gRPC ports."""
    http, grpc = free_port(), free_port()
    settings = {"http_port": http, "grpc_port": grpc, "metrics_port": free_port(), "host": "127.0.0.1", "debug": False}
    model = {
        "name": "faces",
        "implementation": "tests.endpoints.mlserver_model.TinyFaces",
        "inputs": [input_],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2]}],
        "parameters": {"uri": str(weights)},
    }
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    (folder / "model-settings.json").write_text(json.dumps(model))
    python = python_of("mlserver")
    with (folder / "log").open("wb") as log:
        command = [str(python.with_name("mlserver")), "start", str(folder)]
        popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{http}/v2/models/faces/ready", popen, folder / "log")
        yield http, grpc
    finally:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(10)


def _wait(url: str, popen: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and popen.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"MLServer does not answer:\n{log.read_text()[-3000:]}")


@pytest.mark.parametrize("kind", INPUTS)
def test_mlserver_is_wrapped_by_its_address_alone(kind: str, tmp_path: Path) -> None:
    faces = spread_faces(tmp_path / "local")
    save_file(faces.network.state_dict(), tmp_path / "weights.safetensors")
    with mlserver(tmp_path / "mlserver", tmp_path / "weights.safetensors", INPUTS[kind]) as (http, grpc):
        urls = {
            "http": f"http://127.0.0.1:{http}/v2/models/faces",
            "grpc": f"grpc://127.0.0.1:{grpc}/faces",
        }
        for name, url in urls.items():
            bundle, _spec = wrapped(url, PICTURES, tmp_path / name)
            assert loader_of(bundle).encoding == ("pixels" if kind == "pixels" else "png")
            assert largest_difference(bundle, faces, builtin_images()) <= EXACT
            assert largest_difference(bundle, faces, builtin_images(9), image_trigger("border")) <= EXACT
