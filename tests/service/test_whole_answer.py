"""Answers in one write are, byte for byte, what uvicorn's own two writes would be."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.patience import HOOK, UVICORN, PatientProtocol, check_hook
from service.whole_answer import CLOSE, WHOLE
from triggers.errors import ConfigError

BODY = b'{"a":1}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class App:
    """Answers every request, in one write if it is `whole`; notes whether that was possible."""

    def __init__(self, whole: bool, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.whole, self.headers, self.could = whole, headers, list[bool]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        if self.whole:
            self.could.append(scope["extensions"][WHOLE]["write"](200, self.headers, BODY))
        if not self.whole or not self.could[-1]:
            await send({"type": "http.response.start", "status": 200, "headers": self.headers})
            await send({"type": "http.response.body", "body": BODY})


def answered(
    app: App,
    request: bytes = GET,
    *,
    default: Sequence[tuple[bytes, bytes]] = (),
    paused: bool = False,
    log: bool = False,
) -> Wire:
    async def scenario() -> Wire:
        config = uvicorn.Config(app, http=PatientProtocol, log_config=None, access_log=log, ws="none")
        config.load()
        state, wire = ServerState(), Wire()
        state.default_headers = list(default)
        protocol = PatientProtocol(config=config, server_state=state, app_state={})
        protocol.connection_made(wire)
        if paused:
            protocol.pause_writing()
            asyncio.get_running_loop().call_later(0.05, protocol.resume_writing)
        protocol.data_received(request)
        while state.tasks:
            await asyncio.sleep(0.01)
        assert protocol.cycle.response_complete
        assert state.total_requests == request.count(b"HTTP/1.")
        protocol.connection_lost(None)
        return wire

    return asyncio.run(scenario())


@pytest.mark.parametrize("headers", [HEADERS, [*HEADERS, CLOSE]])
@pytest.mark.parametrize(
    "request_", [GET, GET.replace(b"1.1", b"1.0"), GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]
)
def test_the_same_bytes_in_one_write(request_: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    app, default = App(True, headers), [(b"date", b"today")]
    one, two = answered(app, request_, default=default), answered(App(False, headers), request_, default=default)
    assert app.could == [True] and (len(one.writes), len(two.writes)) == (1, 2)
    assert one.writes[0] == b"".join(two.writes) and one.closed == two.closed


def test_pipelined_requests_are_answered_in_turn() -> None:
    app = App(True, HEADERS)
    assert answered(app, GET * 3).writes == answered(App(True, HEADERS)).writes * 3


def test_a_client_that_does_not_read_is_waited_for_the_usual_way() -> None:
    app = App(True, HEADERS)
    assert len(answered(app, paused=True).writes) == 2 and app.could == [False]


def test_the_access_log_is_written_the_usual_way() -> None:
    app = App(True, HEADERS)
    assert len(answered(app, log=True).writes) == 2 and app.could == [False]


def test_a_header_cannot_smuggle_a_line() -> None:
    split = answered(App(True, [*HEADERS, (b"x-trigger", b"a\r\nset-cookie: b")]))
    assert split.writes[0].startswith(b"HTTP/1.1 500 ") and b"set-cookie" not in b"".join(split.writes)


def test_a_uvicorn_that_never_calls_the_hook_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    check_hook()
    monkeypatch.delattr(HttpToolsProtocol, HOOK)
    with pytest.raises(ConfigError, match=rf"uvicorn [0-9.]+ has no {HOOK}: pip install '{UVICORN}'"):
        check_hook()
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert UVICORN in project["optional-dependencies"]["service"]
