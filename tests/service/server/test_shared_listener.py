"""Doors of one listening socket, two of them as two processes would have them."""

from __future__ import annotations

import asyncio
import socket

import pytest

from service.server.shared_listener import SharedListener, listen, url_of
from triggers.errors import ConfigError


def test_two_doors_share_the_clients_and_one_takes_over_when_the_other_closes() -> None:
    async def scenario() -> None:
        listening = listen("127.0.0.1", 0)
        address = listening.getsockname()
        doors = [SharedListener(listening), SharedListener(listening.dup())]
        came: list[list[socket.socket]] = [[], []]
        clients = [socket.create_connection(address) for _ in range(40)]  # all of them wait before a door opens
        for door, into in zip(doors, came, strict=True):
            door.open(into.append)
        while len(came[0]) + len(came[1]) < 40:
            await asyncio.sleep(0.01)
        assert min(map(len, came)) >= 10, "one took nearly all"
        assert doors[0].close() == []
        clients.append(socket.create_connection(address))
        while len(came[1]) + len(came[0]) < 41:
            await asyncio.sleep(0.01)
        late = socket.create_connection(address)
        waiting = doors[1].close()
        assert len(waiting) == 1, "who stood at the door was let in"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        for connection in (*clients, late, *waiting, *came[0], *came[1]):
            connection.close()

    asyncio.run(scenario())


def test_an_address_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert url_of(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
            listen("127.0.0.1", port)
