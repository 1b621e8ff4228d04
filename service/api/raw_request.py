"""A light view of an ASGI request for the predict path: headers in one pass, the body as a stream."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """A request's headers by lower-case name. Of a repeated header the first counts, here and everywhere."""
    return dict(reversed(scope["headers"]))


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """One of `headers_of`; None if it was not sent."""
    return next((value for each, value in scope["headers"] if each == name), None)


class RawRequest:
    """The request of an ASGI scope, with its headers as `headers_of` reads them."""

    __slots__ = ("headers", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.headers = headers_of(scope)

    def header(self, name: bytes) -> str | None:
        """A header's text; None if it was not sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def actor(self) -> str:
        """The client's name in the store's history."""
        client = self.scope.get("client")
        return f"client {client[0]}" if client else "client"

    @property
    def request_id(self) -> str:
        """The id assigned to this request."""
        return str(self.scope["state"]["request_id"])

    async def wait_for_disconnect(self) -> None:
        """Return when the client closes its connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
