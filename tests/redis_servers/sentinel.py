"""A primary, its replica and a Sentinel that watches them, for tests of a failover."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.redis_servers.server import need_redis

SERVICE = "triggers"


class Sentinels:
    """Three processes on free ports."""

    def __init__(self, folder: Path) -> None:
        primary, replica, self._sentinel = (_free_port() for _ in range(3))
        self._popen = [_start(folder, primary), _start(folder, replica, "--replicaof", f"127.0.0.1 {primary}")]
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {self._sentinel}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 1500\nsentinel failover-timeout {SERVICE} 5000\n"
        )
        with (folder / "sentinel.log").open("wb") as log:
            command = [need_redis(), str(configuration), "--sentinel"]
            self._popen.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
        self.url = f"redis+sentinel://127.0.0.1:{self._sentinel}/{SERVICE}/0"
        self._client = redis.Redis(port=self._sentinel, decode_responses=True)
        self._wait(lambda: len(self._replicas()) == 1 and self._replicas()[0]["master-link-status"] == "ok")

    def _replicas(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._client.sentinel_slaves(SERVICE)
        return found

    def _wait(self, condition: object) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                if condition():  # type: ignore[operator]
                    return
            except redis.RedisError:
                pass
            assert time.monotonic() < deadline, "the Sentinel did not come up"
            time.sleep(0.1)

    def fail_over(self) -> None:
        """Kill the primary and wait until another one is named."""
        before: Any = self._client.sentinel_get_master_addr_by_name(SERVICE)
        host, port = before
        with redis.Redis(host, port) as primary:
            primary.set("last", "write")
            assert primary.wait(1, 10_000) == 1, "the replica lags behind"
        self._popen[0].kill()
        self._popen[0].wait()
        self._wait(lambda: self._client.sentinel_get_master_addr_by_name(SERVICE) != before)

    def stop(self) -> None:
        """End all."""
        self._client.close()
        for popen in self._popen:
            popen.kill()
            popen.wait()


def _start(folder: Path, port: int, *more: str) -> subprocess.Popen[bytes]:
    command = [
        need_redis(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--repl-diskless-sync-delay",
        "0",
    ]
    with (folder / f"{port}.log").open("wb") as log:
        return subprocess.Popen([*command, "--dir", str(folder), *more], stdout=log, stderr=log)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """A fresh one, which the test may fail over."""
    need_redis()
    running = Sentinels(tmp_path)
    yield running
    running.stop()
