"""A real redis-server for tests, on a free port and without a disk; several tests share it, each with its own data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class RedisServer:
    """A running redis-server that a test may stop, continue and kill."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._folder, self._durable = folder, durable
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, also again after `kill`: on the same port, empty unless it is durable (an append-only file)."""
        keep = ["--appendonly", "yes" if self._durable else "no", "--appendfsync", "everysec"]
        command = [need_redis(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *keep]
        log = (self._folder / "redis.log").open("ab")
        self.popen = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self.popen.poll() is None and time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def clear(self) -> None:
        """Throw all data away."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(5) == b"+OK\r\n"

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self.popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.popen.kill()
        self.popen.wait()


def need_redis() -> str:
    """The path of redis-server. Where there is none the test is skipped with the reason; in CI (CI=true) it fails."""
    found = shutil.which("redis-server")
    if found:
        return found
    text = "This test needs a real redis-server and there is none: install it (apt-get install redis-server)."
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server that tests share."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis_server(one_redis: RedisServer) -> RedisServer:
    """The shared server, empty."""
    one_redis.clear()
    return one_redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that one test may kill."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()
