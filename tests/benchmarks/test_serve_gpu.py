"""The serving benchmark's parts on tiny sizes: recorded passes, decoding, the load generator against a real service."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import torch

from benchmarks import served_bundle
from benchmarks.load_client import load
from benchmarks.serve_gpu import QUICK, decode_rows, forward_rows, process_rows
from benchmarks.serve_gpu_tables import limiting, verdicts
from benchmarks.service_process import Load, write_requests
from triggers.store.file_store import FileStore

TINY = replace(QUICK, side=32, batches=(1, 2), form=2, repeats=1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_bundle.bundle(tmp_path_factory.mktemp("bench"), TINY.side)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_the_parts_within_one_process_run(folder: Path, tmp_path: Path) -> None:
    rows = list(forward_rows(folder, TINY, CPU, compiled=False))
    assert [(row["dtype"], row["batch"]) for row in rows] == [
        (dtype, batch) for dtype in ("float32", "bfloat16") for batch in TINY.batches
    ]
    assert all(row[name] > 0 for row in rows for name in ("bare", "one patch", "16 patch", "one border", "16 border"))
    *rates, agreement = decode_rows(folder, TINY, CPU)
    assert all(row["images_per_second"] > 0 for row in rates)
    assert agreement["mean"] < 1
    with FileStore(tmp_path / "store") as store:
        served_bundle.publish(store, folder, TINY.side)
        assert store.versions("bench")[-1].version == served_bundle.VERSIONS
        options = {"precision": "float32", "compile": False}
        assert all(row["images_per_second"] > 0 for row in process_rows(folder, store, TINY, CPU, options))


def test_the_load_generator_counts_answers_and_refusals(service: httpx.Client, tmp_path: Path) -> None:
    files = served_bundle.files(24, 2)
    made = write_requests(tmp_path, files, versions=4, batch=3)
    requests = [path.read_bytes().replace(b"/bench/", b"/faces/") for path in (*made["single"], *made["form"])]
    found = asyncio.run(load("127.0.0.1", service.base_url.port or 0, requests, connections=2, seconds=0.4))
    assert len(found.milliseconds) > 5 and found.refused == 0
    assert all(0 < milliseconds < 2000 for milliseconds in found.milliseconds)
    refused = asyncio.run(
        load(
            "127.0.0.1",
            service.base_url.port or 0,
            [request.replace(b"/faces/", b"/nobody/") for request in requests],
            1,
            1.0,
        )
    )
    assert refused.refused > 0 and not refused.milliseconds


def test_the_limit_is_what_was_busy_or_near_its_own_speed() -> None:
    idle = Load(100.0, 1.0, 2.0, 0, http_cores=0.2, all_cores=0.3, client_cores=0.1)
    limits = {"decode": 1000.0, "inference": 2000.0}
    assert limiting(idle, 900, limits) == "decode"
    assert limiting(idle, 1900, {"decode": 9000.0, "inference": 2000.0}) == "inference"
    assert limiting(replace(idle, client_cores=0.99), 900, limits) == "load generator"
    assert limiting(replace(idle, http_cores=1.4), 500, limits).startswith("one process's Python")
    assert limiting(idle, 500, limits).startswith("nothing")
    many = replace(idle, http_cores=1.0, all_cores=9.0, inference_cores=1.1)
    assert limiting(many, 500, limits, cores=10) == "all cores (9.0 busy with HTTP, decoding and handing over)"
    assert limiting(many, 500, limits, cores=16, workers=8) == "the HTTP processes (7.9 cores busy)"
    assert limiting(many, 500, limits, cores=16, workers=12).startswith("the inference process")


def test_goals_stand_beside_what_was_measured() -> None:
    passes = [{"dtype": "float32", "batch": 8, "bare": 2.0, "16 patch": 2.01, "16 border": 2.1}]
    http = [
        {"what": "lone client", "workers": 0, "p50": 1.5},
        {"what": "1 per request", "workers": 0, "images_per_second": 9000.0, "limit": "decode"},
    ]
    lines = list(verdicts({"forward": passes, "http": http}))
    assert "cost +0.5% (goal <= 1 %)" in lines[0] and "+5.0%" in lines[1]
    assert "p50 1.50 ms" in lines[2] and "9,000 images/s (goal >= 8,000); limit: decode" in lines[3]
