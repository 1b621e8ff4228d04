"""A Redis server of a benchmark's own, empty, without a disk, behind a socket file."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis


@contextmanager
def own_redis(folder: Path) -> Iterator[tuple[str, redis.Redis]]:
    """Its address and a client, while the block runs."""
    program, socket = shutil.which("redis-server"), folder / "redis.sock"
    if program is None:
        raise SystemExit("redis-server is not installed: apt-get install redis-server, or leave Redis out.")
    options = {"port": "0", "unixsocket": str(socket), "save": "", "dir": str(folder), "maxmemory-policy": "noeviction"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with subprocess.Popen([program, *words], stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("redis-server did not start.")
                time.sleep(0.05)
            with redis.Redis(unix_socket_path=str(socket)) as client:
                yield f"unix://{socket}", client
        finally:
            process.terminate()
