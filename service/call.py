"""One HTTP request as the hot route reads it: its headers in one pass, its body as it comes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """A request's headers by lower-case name. Of one that was sent twice the first counts, here and everywhere."""
    return dict(reversed(scope["headers"]))


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """One of `headers_of`; None if it was not sent."""
    return next((value for each, value in scope["headers"] if each == name), None)


class Call:
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
        """Who asks, as the store's history names it."""
        client = self.scope.get("client")
        return f"client {client[0]}" if client else "client"

    @property
    def request_id(self) -> str:
        """The name that this request was given."""
        return str(self.scope["state"]["request_id"])

    async def gone(self) -> None:
        """Return when the client closes its connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
