"""Messages between processes, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from service.shared_slots import shared_memory
from service.wire import Wire, framed, receive_hello, send_hello


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_hello_that_is_larger_than_the_buffer_of_the_socket_arrives_whole_and_before_all_else() -> None:
    hello, seen = {"models": "x" * 3_000_000}, list[Any]()

    async def scenario() -> None:
        here, there = socket.socketpair()
        memory = shared_memory(4096)
        rest = send_hello(here, hello, memory)
        os.close(memory)
        assert rest, "it did not fit, and nobody waited"
        sender, receiver = Wire(seen.append, lambda: None), Wire(seen.append, lambda: None)
        receiving = asyncio.ensure_future(asyncio.to_thread(receive_hello, there))
        await sender.connect(here, rest)
        sender.send({"second": 1})
        received, descriptor = await asyncio.wait_for(receiving, 20)
        assert received == hello
        os.close(descriptor)
        await receiver.connect(there)
        async with asyncio.timeout(20):
            while not seen:
                await asyncio.sleep(0.01)
        assert seen == [{"second": 1}]
        sender.close()
        receiver.close()
        await asyncio.sleep(0.05)

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [b"\x05\x00\x00\x00nope!", framed({"models": 1})[:-2]])
def test_a_hello_that_is_cut_off_or_no_json_leaves_no_descriptor_behind(sent: bytes) -> None:
    here, there = socket.socketpair()
    with here, there:
        memory = shared_memory(4096)
        socket.send_fds(here, [sent], [memory])
        os.close(memory)
        here.shutdown(socket.SHUT_WR)
        before = descriptors()
        with pytest.raises((EOFError, ValueError)):
            receive_hello(there)
        assert descriptors() == before
