"""A real Redis Cluster of three primaries for tests, on free ports; several tests share it."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_servers.server import need_redis


class RedisClusterServers:
    """Three redis-server processes that know each other and share the slots."""

    def __init__(self, folder: Path) -> None:
        self.ports = [_free_port() for _ in range(3)]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self._popen = [_start(folder / str(port), port) for port in self.ports]
        deadline = time.monotonic() + 20
        self._each("PING", b"+PONG", deadline)
        edges = [0, 5461, 10923, 16384]
        for n, port in enumerate(self.ports):
            assert _ask(port, f"CLUSTER ADDSLOTSRANGE {edges[n]} {edges[n + 1] - 1}") == b"+OK"
            assert _ask(port, f"CLUSTER SET-CONFIG-EPOCH {n + 1}") == b"+OK"
        for port in self.ports[1:]:
            assert _ask(self.ports[0], f"CLUSTER MEET 127.0.0.1 {port}") == b"+OK"
        self._each("CLUSTER INFO", b"cluster_state:ok", deadline)
        self._each("CLUSTER INFO", b"cluster_known_nodes:3", deadline)

    def _each(self, command: str, wanted: bytes, deadline: float) -> None:
        for port in self.ports:
            while wanted not in _ask(port, command):
                assert time.monotonic() < deadline, f"the Redis Cluster did not come up: no {wanted!r}"
                time.sleep(0.02)

    def clear(self) -> None:
        """Throw all data away."""
        for port in self.ports:
            assert _ask(port, "FLUSHALL") == b"+OK"

    def kill(self) -> None:
        """End all nodes."""
        for popen in self._popen:
            popen.kill()
            popen.wait()


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    options = {"port": port, "cluster-enabled": "yes", "bind": "127.0.0.1", "save": "", "dir": folder}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([need_redis(), *words], stdout=log, stderr=log)


def _free_port() -> int:
    """Any that is free, and 10,000 above it, where a node talks to the others."""
    for _ in range(1000):
        port = random.randrange(15_000, 30_000)
        try:
            with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 10_000)):
                return port
        except OSError:
            continue
    raise AssertionError("no free port")


def _ask(port: int, command: str) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536).strip()
    except OSError:
        return b""


@pytest.fixture(scope="session")
def one_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisClusterServers]:
    """The cluster that tests share."""
    need_redis()
    cluster = RedisClusterServers(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.kill()


@pytest.fixture
def redis_cluster(one_cluster: RedisClusterServers) -> RedisClusterServers:
    """The shared cluster, empty."""
    one_cluster.clear()
    return one_cluster
