"""Load for a running service: raw HTTP/1.1 over sockets, so that the generator costs far less than what it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BROKEN, REFUSED = 0, -1
"""Instead of a status: the connection broke before the answer was whole; nobody listens."""


@dataclass(frozen=True)
class Target:
    """Where to send one fixed request."""

    host: str
    port: int
    path: str
    body: bytes
    content_type: str = "application/json"

    def request(self) -> bytes:
        """The bytes of the request."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass(frozen=True)
class Answer:
    """One answer: its status (BROKEN, REFUSED or of HTTP), seconds since the request was due, the Retry-After."""

    status: int
    seconds: float
    retry_after: int | None = None


@dataclass
class Connections:
    """Connections that are kept alive; one is opened when none is idle, as many clients would."""

    target: Target
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, due: float) -> Answer:
        """Send the request and read its answer; `due` is on the clock of time.perf_counter()."""
        try:
            reader, writer = self.idle.pop() if self.idle else await self._connect()
        except ConnectionError:  # refused, or reset in the middle of the handshake: nothing was sent yet
            return Answer(REFUSED, time.perf_counter() - due)
        try:
            writer.write(self.target.request())
            status, headers = await read_answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return Answer(BROKEN, time.perf_counter() - due)
        if headers.get("connection") == "close":
            writer.close()
        else:
            self.idle.append((reader, writer))
        retry = headers.get("retry-after")
        return Answer(status, time.perf_counter() - due, int(retry) if retry else None)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.target.host, self.target.port)


@asynccontextmanager
async def connections(target: Target) -> AsyncIterator[Connections]:
    """A pool that is closed when the block ends."""
    pool = Connections(target)
    try:
        yield pool
    finally:
        for _, writer in pool.idle:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in pool.idle), return_exceptions=True)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of one answer whose body is read and dropped. Raises IncompleteReadError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
    await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers


async def at_rate(target: Target, rate: float, seconds: float) -> list[Answer]:
    """An open loop: `rate` requests a second, sent when they are due, whether or not the ones before were answered."""
    async with connections(target) as pool:
        start, tasks = time.perf_counter(), []
        for number in range(round(rate * seconds)):
            due = start + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.ensure_future(pool.ask(time.perf_counter())))
        return list(await asyncio.gather(*tasks))


async def by_clients(target: Target, clients: int, seconds: float) -> list[Answer]:
    """A closed loop: every client sends its next request when the one before is answered, until nobody listens."""
    end = time.perf_counter() + seconds

    async def client(pool: Connections) -> list[Answer]:
        answers: list[Answer] = []
        while time.perf_counter() < end:
            answer = await pool.ask(time.perf_counter())
            if answer.status == REFUSED:
                break
            answers.append(answer)
        return answers

    async with connections(target) as pool:
        found = await asyncio.gather(*(client(pool) for _ in range(clients)))
    return [answer for answers in found for answer in answers]


async def leave_at_once(target: Target, clients: int, stay_seconds: float) -> None:
    """So many clients send their request and go away without waiting for the answer."""

    async def client() -> None:
        _, writer = await asyncio.open_connection(target.host, target.port)
        writer.write(target.request())
        await writer.drain()
        await asyncio.sleep(stay_seconds)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(clients)))
