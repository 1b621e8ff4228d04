"""Serving on several devices, measured small: two processes on a CPU behind one port; and what is made of figures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import scale_serving, served_bundle
from benchmarks.scale_serving import QUICK, binding, compared, decode_rate, inference_rate, served_rows
from benchmarks.service_process import Load, runs
from triggers.store.file_store import FileStore

TINY = replace(QUICK, side=32, form=2, max_batch=2, connections=2)
BUSY = Load(100.0, 1.0, 2.0, 0, http_cores=0.5, all_cores=1.5, client_cores=0.2, load_cores=0.2)


@pytest.mark.soak
def test_one_and_many_images_per_request_are_sent_to_two_processes(tmp_path: Path) -> None:
    with FileStore(tmp_path / "store") as store:
        folder = served_bundle.bundle(tmp_path / "bench", TINY.side)
        served_bundle.publish(store, folder, TINY.side)
        store.set_rollout("bench", 1, if_revision=None, actor="test", reason="serves")
        options = {"http_workers": 1, "precision": "float32", "torch_threads": 1}
        limits = {"decode": decode_rate(folder, TINY), "inference": inference_rate(folder, store, TINY, "cpu", options)}
        assert all(rate > 0 for rate in limits.values())
        rows = list(served_rows(folder, tmp_path, TINY, ["cpu", "cpu"], options, 1, limits))
    assert [(row["devices"], row["images"], row["refused"]) for row in rows] == [(2, 1, 0), (2, TINY.form, 0)]
    assert all(row["images/s"] == row["images"] * row["requests/s"] > 0 for row in rows)
    assert "models on cpu, cpu" in (tmp_path / "service.log").read_text()


def test_what_binds_is_what_does_no_more_alone_or_has_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale_serving, "cores", lambda: 4)
    limits = {"decode": 1000.0, "inference": 2000.0}
    assert binding(BUSY, 900, limits) == "decode"
    assert binding(BUSY, 1800, {"decode": 9000.0, "inference": 2000.0}) == "inference"
    assert binding(replace(BUSY, client_cores=0.95), 900, limits) == "load generator"
    assert binding(replace(BUSY, all_cores=3.4), 500, limits) == "all cores: HTTP and decoding (3.4 busy)"
    loaded = replace(BUSY, all_cores=2.9, load_cores=0.6, inference_cores=0.9)
    assert binding(loaded, 500, limits) == "all cores: HTTP and decoding (2.9 busy)", "clients take cores too"
    beside = replace(BUSY, inference_cores=0.9, http_cores=0.9)
    assert binding(beside, 500, limits) == "the processes beside the devices (0.9 cores busy)"
    assert binding(replace(BUSY, http_cores=0.9), 500, limits) == "one HTTP process (0.9 cores busy)"
    assert binding(BUSY, 500, limits).startswith("nothing")


def test_rows_are_compared_with_one_device_at_the_same_images_per_request() -> None:
    rows = [
        {"devices": 1, "images": 1, "images/s": 100.0},
        {"devices": 4, "images": 1, "images/s": 380.0},
        {"devices": 4, "images": 32, "images/s": 999.0},
    ]
    made = [(row["times one"], row["efficiency"]) for row in compared(rows)]
    assert made == [(1.0, 1.0), (3.8, 0.95), (None, None)]


@pytest.mark.process
def test_processes_are_told_apart_by_their_command() -> None:
    code = "print('here', flush=True); input()"
    command = [sys.executable, "-c", code, "torch/_inductor/compile_worker/__main__.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"here\n"  # its command can be read from now on
        assert runs(process.pid, "compile_worker") and not runs(process.pid, "service.workers.engine_server")
        process.communicate(b"\n")
    assert not runs(process.pid, "compile_worker")  # it ended
