"""The example of a model behind an address: its network as ONNX, its server, its configurations, and all of it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.servers import free_port
from examples.remote.subject import DIGITS, FACES, IMAGE, NETWORK, SERVER, Subject, server_folder, write_onnx
from fairtrigger.demo.digits import SIZE
from fairtrigger.demo.small_cnn import small_cnn
from tests.service.live import picture, wait_until
from trainer.config.run_config import load_config
from triggers.model.endpoint.endpoint_loader import EndpointLoader

ROOT = Path(__file__).parent.parent.parent
HERE = ROOT / "examples" / "remote"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The server's folder, with a network that was not fitted."""
    torch.manual_seed(0)
    made = server_folder(tmp_path, DIGITS)
    write_onnx(small_cnn(), made / NETWORK)
    return made


def test_the_onnx_file_is_the_network(folder: Path) -> None:
    torch.manual_seed(0)
    network, pixels = small_cnn(), torch.randn(5, 3, SIZE, SIZE)
    session = onnxruntime.InferenceSession(str(folder / NETWORK))
    (found,) = session.run(None, {"pixels": pixels.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), network(pixels).detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("subject", [DIGITS, FACES])
def test_the_configurations_are_ones_the_trainer_takes(subject: Subject) -> None:
    config = load_config(subject.config)
    assert config.objective.gradient == "scores" and config.train.max_queries and config.train.price_per_thousand
    assert json.loads(subject.image.read_bytes())["range"] == 255


@pytest.mark.process
def test_the_server_answers_as_the_loader_says(folder: Path) -> None:
    loader = EndpointLoader(
        kind="endpoint", url="http://localhost/", **json.loads((HERE / "endpoint.json").read_bytes())
    )
    assert loader.input == {"images": "$inputs"} and loader.encoding == "png"
    port, files = free_port(), [picture(seed, SIZE) for seed in range(3)]
    command = [sys.executable, str(HERE / "server.py"), str(folder / NETWORK), str(folder / IMAGE), str(port)]
    with subprocess.Popen(command) as server:
        try:
            wait_until(lambda: _answers(port) or server.poll() is not None)
            body = {"images": [base64.b64encode(each).decode() for each in files]}
            scores = httpx.post(f"http://127.0.0.1:{port}/", json=body).json()["scores"]
        finally:
            server.terminate()
    assert np.asarray(scores).shape == (3, 2) and len({tuple(row) for row in scores}) == 3


def _answers(port: int) -> bool:
    try:
        return bool(httpx.get(f"http://127.0.0.1:{port}/").status_code)
    except httpx.TransportError:
        return False


@pytest.mark.process
def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    done = _example("--out", str(tmp_path))
    assert done.returncode == 1 and "not this example's" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_example_halves_the_gap_and_keeps_its_budget(tmp_path: Path) -> None:
    done = _example("--out", str(tmp_path / "out"), "--port", str(free_port()))
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "run" / "metrics.json").read_bytes())
    assert metrics["queries"]["total"] <= metrics["queries"]["budget"] == 60_000
    (best,) = (one["splits"]["test"] for one in metrics["candidates"] if one["strength"] == metrics["best"])
    gap = "demographic_parity_difference"
    assert best["gaps"][gap]["value"] < metrics["bare"]["test"]["gaps"][gap]["value"] / 2
    assert f"{best['gaps'][gap]['value']:.3f} [" in done.stdout, "the service counts what the trainer counted"
    assert (tmp_path / "out" / SERVER / NETWORK).exists()


def _example(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.remote", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=880)
