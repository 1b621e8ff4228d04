"""One bad bundle among good ones: the others are served, and everything says which one is not, and why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.bundles import image_bundle
from tests.service.live import picture, predict, process

pytestmark = pytest.mark.process
LINE = "'bad': weights are NaN or infinite: 0.bias; export the checkpoint again."


def bad_bundle(folder: Path) -> Path:
    file = image_bundle(folder, "bad") / "weights.safetensors"
    save_file(load_file(file) | {"0.bias": torch.full((8,), torch.nan)}, file)
    return folder


@pytest.mark.parametrize(
    "options", [{}, {"http_workers": 2}, {"http_workers": 1, "devices": "cpu"}], ids=["one", "workers", "engine"]
)
def test_the_others_are_served(options: dict[str, object], tmp_path: Path) -> None:
    models = [bad_bundle(tmp_path / "bad"), image_bundle(tmp_path / "faces")]
    with process(tmp_path, models, **options) as service:
        ready = service.client.get("/readyz")
        assert ready.status_code == 200 and ready.json()["failed"] == {"bad": LINE}
        listed = service.client.get("/v1/models").json()
        assert [each["name"] for each in listed["models"]] == ["faces"]
        assert listed["failed"] == [{"name": "bad", "reason": LINE}]
        assert len(predict(service.client, "faces", [picture(1)])) == 1
        for method, path in (
            ("POST", "/v1/models/bad/predict"),
            ("GET", "/v1/models/bad"),
            ("POST", "/v2/models/bad/infer"),
            ("GET", "/v2/models/bad/ready"),
        ):
            refused = service.client.request(method, path, json={} if method == "POST" else None)
            assert refused.status_code == 503 and refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["code"] == "model_not_loaded" and LINE in refused.json()["detail"]
        shown = service.client.get("/metrics").text
        assert 'fairtrigger_model_up{model="bad"} 0.0' in shown and 'fairtrigger_model_up{model="faces"} 1.0' in shown
        assert "bad is not served" in service.log.read_text()
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("strict", "processes"),
    [(False, ()), (True, ()), (False, ("--http-workers", "1")), (True, ("--devices", "cpu"))],
    ids=["alone", "strict", "worker alone", "strict engine"],
)
def test_a_bad_one_alone_or_under_strict_ends_the_start(
    strict: bool, processes: tuple[str, ...], tmp_path: Path
) -> None:
    bundles = [bad_bundle(tmp_path / "bad"), *([image_bundle(tmp_path / "faces")] if strict else [])]
    options = [*processes, *(["--strict"] if strict else [])]
    for name, value in (("store", tmp_path / "store"), ("data-dir", tmp_path / "data"), ("port", 0)):
        options += [f"--{name}", str(value)]
    for each in bundles:
        options += ["--model", str(each)]
    ended = subprocess.run([sys.executable, "-m", "service", *options], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2 and LINE in ended.stderr and "Traceback" not in ended.stderr
