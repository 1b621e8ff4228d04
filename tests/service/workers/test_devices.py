"""Which devices there are to be inference processes for, and settings that do not fit together."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from service.config.cli import read_settings
from service.config.settings import Settings
from service.workers.devices import devices_of, isolated_env
from service.workers.supervisor import Supervisor
from triggers.errors import ConfigError


def test_devices_are_separated_by_commas_and_device_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(["--devices", "cuda:0, cuda:1"]).devices == ("cuda:0", "cuda:1")
    assert devices_of(read_settings(["--device", "cuda:1", "--http-workers", "2"])) == ("cuda:1",), "one copy on a GPU"
    monkeypatch.setenv("FAIRTRIGGER_DEVICES", "cpu,cpu")
    assert devices_of(Settings()) == ("cpu", "cpu")
    monkeypatch.setenv("FAIRTRIGGER_DEVICES", "")
    assert devices_of(Settings()) == devices_of(Settings(http_workers=2)) == (), "each process has its own"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"devices": "cpu,cpu", "device": "cpu"}, "device is cpu and devices is cpu,cpu: leave one of them out"),
        ({"devices": "cuda:0,all"}, "devices has 'all'"),
        ({"devices": "0,1"}, "devices has '0': name each as cpu, cuda or cuda:1"),
    ],
)
def test_what_does_not_fit_together_says_so(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(**fields)


@pytest.mark.slow
def test_all_devices_are_those_that_torch_sees() -> None:
    count = torch.accelerator.device_count()
    if count:
        assert len(devices_of(Settings(devices="all"))) == count
    else:
        with pytest.raises(ConfigError, match="torch sees no GPU here"):
            devices_of(Settings(devices="all"))


def test_a_process_sees_its_own_gpu_alone() -> None:
    assert isolated_env("cpu", {"A": "b"}) == ("cpu", {"A": "b"})
    assert isolated_env("cuda:2", {"A": "b"}) == ("cuda", {"A": "b", "CUDA_VISIBLE_DEVICES": "2"})
    assert isolated_env("cuda", {"CUDA_VISIBLE_DEVICES": "5,3"}) == ("cuda", {"CUDA_VISIBLE_DEVICES": "5"})
    assert isolated_env("cuda:1", {"CUDA_VISIBLE_DEVICES": "5, GPU-3"}) == ("cuda", {"CUDA_VISIBLE_DEVICES": "GPU-3"})
    with pytest.raises(ConfigError, match="devices names cuda:2, but CUDA_VISIBLE_DEVICES=5,3 leaves 2"):
        isolated_env("cuda:2", {"CUDA_VISIBLE_DEVICES": "5,3"})
    with pytest.raises(ConfigError, match="leaves 0"):
        isolated_env("cuda:0", {"CUDA_VISIBLE_DEVICES": ""})


@pytest.mark.parametrize(("options", "inference", "http"), [("cpu,cpu", 2, 4), ("cpu", 1, 2)])
def test_two_http_processes_stand_before_each_device_unless_told_otherwise(
    options: str, inference: int, http: int, tmp_path: Path
) -> None:
    settings = Settings(models=(tmp_path,), port=0, devices=options)
    supervisor = Supervisor(settings, [])
    with supervisor._counts, contextlib.closing(supervisor._listening[0]):
        modules = [child.module for child in supervisor._children]
        assert modules == ["service.workers.engine_server"] * inference + ["service.workers.http_worker"] * http
        options_read = read_settings([*supervisor._http[0]._arguments[1:]])
        assert (options_read.devices, options_read.http_workers) == (settings.devices, http)
