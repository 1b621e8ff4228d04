"""What may befall a service of several processes, begun and ended on demand."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.life import descendants
from tests.redis_servers.server import RedisServer

MODULES = {"inference": "engine_server", "HTTP": "http_worker"}
"""Kinds of children, and what their command names."""


def children(supervisor: int, kind: str) -> list[int]:
    """Process ids of the living children of a kind, the oldest first."""
    wanted = MODULES[kind].encode()
    return sorted(pid for pid in descendants(supervisor) if wanted in _read(pid, "cmdline"))


def state(pid: int) -> str:
    """A letter as in /proc: S or R lives, T is stopped, Z is dead; empty: gone."""
    return _read(pid, "stat").rpartition(b")")[2].decode()[1:2]


def holds(pid: int, port: int, clients: set[int]) -> bool:
    """Whether a process has the server's end of a connection from one of these client ports to `port`, over IPv4."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {
        f"socket:[{row[9]}]"
        for row in rows
        if int(row[1].rpartition(":")[2], 16) == port and int(row[2].rpartition(":")[2], 16) in clients
    }
    try:
        return any(os.readlink(each) in inodes for each in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it ended, or closed one meanwhile
        return False


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


@dataclass(frozen=True)
class Fault:
    """Something that begins, lasts `seconds` and ends; `breaks` says that connections may break by it."""

    name: str
    begin: Callable[[], object]
    seconds: float = 0.0
    end: Callable[[], object] = lambda: None
    breaks: bool = False


def of_processes(supervisor: int) -> list[Fault]:
    """SIGKILL and SIGSTOP of a child of each kind, SIGSTOP and SIGCONT of the supervisor."""

    def sent(kind: str, index: int, number: int) -> Callable[[], None]:
        return lambda: os.kill(children(supervisor, kind)[index], number)

    return [
        Fault("SIGKILL inference", sent("inference", 0, signal.SIGKILL)),
        Fault("SIGSTOP an HTTP process", sent("HTTP", 0, signal.SIGSTOP), breaks=True),
        Fault(
            "SIGSTOP the supervisor for 5 s",
            lambda: os.kill(supervisor, signal.SIGSTOP),
            5.0,
            lambda: os.kill(supervisor, signal.SIGCONT),
        ),
        Fault("SIGKILL an HTTP process", sent("HTTP", 0, signal.SIGKILL), breaks=True),
        Fault("SIGSTOP inference", sent("inference", 0, signal.SIGSTOP)),
    ]


def of_redis(server: RedisServer) -> list[Fault]:
    """It hangs; it is killed and started again."""
    return [
        Fault("Redis hangs for 6 s", server.pause, 6.0, server.resume),
        Fault("Redis is down for 4 s", server.kill, 4.0, server.start),
    ]


@dataclass(frozen=True)
class Disk:
    """A folder whose disk can be filled; `real` is whether it has a file system of its own."""

    folder: Path
    real: bool

    def fault(self, supervisor: int) -> Fault:
        """No space left for 4 s; without a file system of its own, no file of the service may grow."""
        if self.real:
            ballast = self.folder / "ballast"
            return Fault("disk full (ENOSPC) for 4 s", lambda: _fill(ballast), 4.0, ballast.unlink)
        return Fault(
            "disk full (RLIMIT_FSIZE) for 4 s", lambda: _limit(supervisor, 0), 4.0, lambda: _limit(supervisor, -1)
        )


@contextmanager
def disk(folder: Path, megabytes: int = 64) -> Iterator[Disk]:
    """A small tmpfs at `folder`, where mounting is allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    try:
        mounted = not subprocess.run(command, capture_output=True).returncode
    except FileNotFoundError:
        mounted = False
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def _limit(supervisor: int, most: int) -> None:
    for pid in [supervisor, *descendants(supervisor)]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, -1))
