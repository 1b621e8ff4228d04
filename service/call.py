"""One HTTP request as the hot route reads it: its headers in one pass, its body as it comes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope


class Call:
    """The request of an ASGI scope. `headers` have lower-case names; of one given twice, the first counts."""

    __slots__ = ("headers", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.headers: Mapping[bytes, bytes] = dict(reversed(scope["headers"]))

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
