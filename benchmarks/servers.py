"""Starts the servers of the comparison, each as a process of its own, and holds still those that are not measured."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import python_of
from benchmarks.peers.model import SIZES
from benchmarks.serve_models import body, v2_body

ROOT = Path(__file__).parent.parent
OURS = "fairtrigger"
LITSERVE = {"LitServe": (1, 1), "LitServe, 2 API servers": (2, 1), "LitServe, 2 API servers, 2 workers": (2, 2)}
"""API servers, and workers with the model each."""
MLSERVER = {"MLServer": 0, "MLServer, 2 workers": 2}
"""Parallel workers with the model each; 0 is a single process."""
PEER_NAMES = (*LITSERVE, *MLSERVER)


@dataclass(frozen=True)
class Plan:
    """How a server is started (its command, its environment) and asked (url, body)."""

    name: str
    command: Sequence[str]
    url: str
    body: bytes


@dataclass(frozen=True)
class Server:
    """A running server, frozen until it is measured."""

    plan: Plan
    pid: int

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let it run while the block does; the others stay stopped, so that idle ones take no time from it."""
        os.killpg(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.pid, signal.SIGSTOP)


@contextmanager
def started(plans: Sequence[Plan], folder: Path, threads: int) -> Iterator[list[Server]]:
    """Start every server, wait until each answers, stop them all at the end. Logs go to `folder`."""
    with ExitStack() as stack:
        servers = []
        for plan in plans:
            log = stack.enter_context((folder / f"{plan.name}.log").open("w"))
            paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
            environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": paths}
            popen = subprocess.Popen(
                plan.command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True
            )
            stack.callback(_stop, popen)
            _wait_until_it_answers(plan, popen, Path(log.name))
            server = Server(plan, popen.pid)
            os.killpg(server.pid, signal.SIGSTOP)
            servers.append(server)
        yield servers


def our_plan(bundle: Path, store: Path, folder: Path, threads: int, http_workers: int = 0, devices: str = "") -> Plan:
    """Our service under the store's champion: one process, `http_workers` of them, or so many beside `devices`."""
    port, size = free_port(), SIZES[bundle.name]
    name = OURS + (f", {http_workers} HTTP" if http_workers else "") + (f", {devices}" if devices else "")
    options = {"model": bundle, "store": store, "data-dir": folder / f"data {name}", "port": port}
    options |= {"client-trigger": "open", "torch-threads": threads, "max-versions": 32, "http-workers": http_workers}
    command = [sys.executable, "-m", "service", "--allow-factories", "benchmarks"]
    for option, value in (options | ({"devices": devices} if devices else {})).items():
        command += [f"--{option}", str(value)]
    return Plan(name, command, f"http://127.0.0.1:{port}/v1/models/{bundle.name}/predict", body(size))


def peer_plan(name: str, bundle: Path, folder: Path) -> Plan:
    """A peer, in its own environment, with the settings that its documentation recommends for batching."""
    port, size = free_port(), SIZES[bundle.name]
    if name in MLSERVER:
        runtime = "benchmarks.peers.mlserver_runtime.Runtime"
        return _mlserver(name, bundle, folder / name, port, v2_body(size), runtime)
    script, counts = ROOT / "benchmarks" / "peers" / "litserve_server.py", [str(each) for each in LITSERVE[name]]
    command = [str(python_of("litserve")), str(script), str(bundle), str(port), *counts, "0.002"]
    return Plan(name, command, f"http://127.0.0.1:{port}/predict", body(size))


def endpoint_plan(name: str, bundle: Path, folder: Path, asked: bytes) -> Plan:
    """An endpoint of a bundle's network, `plain` or MLServer's, and what it is asked."""
    port = free_port()
    if name in MLSERVER:
        return _mlserver(name, bundle, folder / name, port, asked, "benchmarks.peers.mlserver_endpoint.ScoringModel")
    command = [sys.executable, "-m", "benchmarks.peers.endpoint_server", str(bundle), str(port)]
    return Plan(name, command, f"http://127.0.0.1:{port}/v2/models/{bundle.name}/infer", asked)


def proxy_plan(bundle: Path, store: Path, folder: Path, threads: int, hosts: str, asked: bytes) -> Plan:
    """Our service in front of an endpoint, and what it is asked."""
    port = free_port()
    options = {"model": bundle, "store": store, "data-dir": folder / "data", "port": port, "endpoint-hosts": hosts}
    command = [sys.executable, "-m", "service"]
    for option, value in (options | {"torch-threads": threads}).items():
        command += [f"--{option}", str(value)]
    return Plan(f"{OURS} in front", command, f"http://127.0.0.1:{port}/v1/models/{bundle.name}/predict", asked)


def _mlserver(name: str, bundle: Path, folder: Path, port: int, asked: bytes, runtime: str) -> Plan:
    folder.mkdir()
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "host": "127.0.0.1"}
    settings |= {"parallel_workers": MLSERVER[name], "debug": False, "access_log": False}
    model: dict[str, Any] = {"name": bundle.name, "implementation": runtime}
    model |= {"max_batch_size": 32, "max_batch_time": 0.002, "parameters": {"uri": str(bundle)}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    python = python_of("mlserver")
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    return Plan(name, command, f"http://127.0.0.1:{port}/v2/models/{bundle.name}/infer", asked)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait_until_it_answers(plan: Plan, popen: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    request = urllib.request.Request(plan.url, plan.body, {"Content-Type": "application/json"})
    end = time.monotonic() + seconds
    while time.monotonic() < end and popen.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"{plan.name} does not answer at {plan.url}:\n{log.read_text()[-3000:]}")


def _stop(popen: subprocess.Popen[bytes]) -> None:
    """End the whole process group: some peers leave children behind when they are only asked to stop."""
    for sent in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(popen.pid, sent)
        if sent == signal.SIGTERM:
            with suppress(subprocess.TimeoutExpired):
                popen.wait(10)
    popen.wait()
