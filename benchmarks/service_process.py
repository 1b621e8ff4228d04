"""`python -m service` as a process under load, and the processes that load it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

START_SECONDS = 420


@dataclass(frozen=True)
class Service:
    """A running service."""

    popen: subprocess.Popen[str]
    port: int


@dataclass(frozen=True)
class Load:
    """What clients saw: requests per second, milliseconds, refusals; cores that they and the service's processes used.

    `http_cores` is the busiest process of the service that speaks HTTP (or the supervisor), `inference_cores` the
    busiest beside a device, `client_cores` the busiest client, `load_cores` all of them.
    """

    requests_per_second: float
    p50: float
    p99: float
    refused: int
    http_cores: float
    all_cores: float
    client_cores: float
    inference_cores: float = 0.0
    load_cores: float = 0.0


@contextmanager
def service(folder: Path, options: dict[str, object], log: Path) -> Iterator[Service]:
    """Start it, wait until it says where it listens, end it with SIGTERM."""
    command = [sys.executable, "-m", "service", "--model", str(folder), "--port", "0", "--client-trigger", "open"]
    command += ["--allow-factories", "benchmarks"]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, text=True) as popen:
        try:
            yield Service(popen, _port(popen, log))
        finally:
            popen.send_signal(signal.SIGTERM)
            try:
                popen.wait(60)
            except subprocess.TimeoutExpired:
                popen.kill()


def _port(popen: subprocess.Popen[str], log: Path) -> int:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and popen.poll() is None:
        if found := re.search(r"docs http://[^/]*:(\d+)/docs", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start:\n{log.read_text()[-3000:]}")


def load(target: Service, requests: Sequence[Path], *, processes: int, connections: int, seconds: float) -> Load:
    """Load it from several processes at once, so many connections in all."""
    order: dict[str, Any] = {"host": "127.0.0.1", "port": target.port, "seconds": seconds}
    order |= {"requests": [str(path) for path in requests], "connections": max(1, connections // processes)}
    command = [sys.executable, "-m", "benchmarks.load_client", json.dumps(order)]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    time.sleep(1.3)  # about when the clients have warmed up
    before, began = _cpu_seconds(target.popen.pid), time.monotonic()
    time.sleep(0.8 * seconds)
    after, wall = _cpu_seconds(target.popen.pid), time.monotonic() - began
    found = [json.loads(client.communicate(timeout=seconds + 120)[0]) for client in clients]
    times = sorted(value for each in found for value in each["milliseconds"])
    if not times:
        raise RuntimeError(f"no request was answered with 200; {sum(each['refused'] for each in found)} were refused")
    used = {pid: (after[pid] - before.get(pid, 0)) / wall for pid in after}
    infers = {pid for pid in used if runs(pid, "service.inference_process")}
    compiles = {pid for pid in used if runs(pid, "compile_worker")}  # torch's, for some seconds after the start
    spent = [each["cpu_seconds"] / each["seconds"] for each in found]
    p99 = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
    return Load(
        len(times) / seconds,
        median(times),
        p99,
        sum(each["refused"] for each in found),
        max(cores for pid, cores in used.items() if pid not in infers | compiles),
        sum(used.values()),
        max(spent),
        max([used[pid] for pid in infers], default=0.0),
        sum(spent),
    )


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def runs(pid: int, module: str) -> bool:
    """Whether this is named in a process's command."""
    try:
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return False


def _cpu_seconds(root: int) -> dict[int, float]:
    """CPU seconds of a process and all below it (Linux's /proc)."""
    ticks = os.sysconf("SC_CLK_TCK")
    parents, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, fields = int(path.parent.name), path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents[pid], spent[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: spent[pid] for pid in family if pid in spent}


def write_requests(folder: Path, files: Sequence[bytes], versions: int, batch: int) -> dict[str, list[Path]]:
    """HTTP requests as files: one image as a raw body, `batch` images as a form; triggers v1, v2, ... in turn.

    Without `versions` they name none, and the champion answers.
    """
    singles, forms = [], []
    for n, data in enumerate(files):
        path = "/v1/models/bench/predict" + (f"?trigger=v{n % versions + 1}" if versions else "")
        single = folder / f"single-{n}.http"
        single.write_bytes(_request(path, "image/jpeg", data))
        form = folder / f"form-{n}.http"
        body = b"".join(_part(files[(n + k) % len(files)]) for k in range(batch)) + b"--edge--\r\n"
        form.write_bytes(_request(path, "multipart/form-data; boundary=edge", body))
        singles.append(single)
        forms.append(form)
    return {"single": singles, "form": forms}


def _request(path: str, media: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _part(data: bytes) -> bytes:
    head = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
    return head + b"Content-Type: image/jpeg\r\n\r\n" + data + b"\r\n"
