"""A load generator of the standard library alone: keep-alive connections that send one of several requests each time.

python -m benchmarks.load_client '{"host": ..., "port": ..., "requests": [files], "connections": 8, "seconds": 5}'

Prints JSON: milliseconds of every answered request after a second to warm up, other statuses, its own CPU seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WARM_SECONDS = 1.0


@dataclass
class Found:
    """What one process measured."""

    milliseconds: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Connection(asyncio.Protocol):
    """Sends a request whenever the answer to the last one is complete."""

    def __init__(self, requests: list[bytes], found: Found, start: float, end: float) -> None:
        self._requests, self._found, self._start, self._end = requests, found, start, end
        self._answer, self._length, self._sent = bytearray(), -1, 0.0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Gather the answer; its length is known once its head is there."""
        self._answer += data
        if self._length < 0 and (end := self._answer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._answer[:end]).lower()
            self._length = end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if 0 <= self._length <= len(self._answer):
            self._note()
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """The end, wanted or not."""
        if not self.closed.done():
            self.closed.set_result(None)

    def _note(self) -> None:
        now = time.perf_counter()
        if self._start <= now <= self._end:
            if self._answer.startswith(b"HTTP/1.1 200"):
                self._found.milliseconds.append((now - self._sent) * 1e3)
            else:
                self._found.refused += 1
        self._answer.clear()
        self._length = -1

    def _send(self) -> None:
        self._sent = time.perf_counter()
        if self._sent > self._end:
            self._transport.close()
        else:
            self._transport.write(random.choice(self._requests))


async def load(host: str, port: int, requests: list[bytes], connections: int, seconds: float) -> Found:
    """Keep so many connections busy for `seconds` after warming up."""
    found, loop = Found(), asyncio.get_running_loop()
    start = time.perf_counter() + WARM_SECONDS
    opened = await asyncio.gather(
        *(
            loop.create_connection(lambda: Connection(requests, found, start, start + seconds), host, port)
            for _ in range(connections)
        )
    )
    await asyncio.sleep(start - time.perf_counter())
    cpu = time.process_time()
    await asyncio.wait([connection.closed for _, connection in opened], timeout=seconds + 30)
    found.seconds, found.cpu_seconds = seconds, time.process_time() - cpu
    return found


def main() -> None:
    """Read the order, make the load, print what was found."""
    order = json.loads(sys.argv[1])
    requests = [Path(name).read_bytes() for name in order["requests"]]
    found = asyncio.run(load(order["host"], order["port"], requests, order["connections"], order["seconds"]))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
