"""How long a client may take, to the byte and the moment: a real connection, and a sweep at any time we like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from service.patience import BYTES_PER_SECOND, PatientProtocol

PATIENCE = 20.0
MOMENT = 0.001


async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, and answers nothing."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[PatientProtocol, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the protocol, seen from both ends."""
    config, made = uvicorn.Config(swallow, lifespan="off", log_config=None), list[PatientProtocol]()
    config.load()

    def protocol() -> PatientProtocol:
        made.append(PatientProtocol(config, ServerState(), {}))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            await until(lambda: made and made[0].transport is not None)
            yield made[0], reader, writer
        finally:
            writer.close()


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("received", [0, 1, BYTES_PER_SECOND, 10 * BYTES_PER_SECOND])
def test_a_body_earns_a_second_for_64_kib(received: int) -> None:
    async def scenario() -> None:
        async with connected() as (protocol, reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + b"x" * received)
            await until(lambda: protocol.cycle is not None and protocol._received == received)
            await until(lambda: not protocol.flow.read_paused)
            assert protocol.waiting_since is not None
            due = protocol.waiting_since + PATIENCE + received / (64 * 1024)
            protocol.lose_patience(due - MOMENT, PATIENCE)
            assert not protocol.transport.is_closing()
            protocol.lose_patience(due + MOMENT, PATIENCE)
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")

    asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
def test_a_head_that_does_not_end_may_have_64_kib(size: int) -> None:
    async def scenario() -> None:
        async with connected() as (protocol, reader, writer):
            start = b"GET / HTTP/1.1\r\nX: "
            writer.write(start + b"x" * (size - len(start)))
            if size > 64 * 1024:
                assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
            else:
                await until(lambda: protocol._unparsed == size)
                assert not protocol.transport.is_closing()

    asyncio.run(asyncio.wait_for(scenario(), 30))
